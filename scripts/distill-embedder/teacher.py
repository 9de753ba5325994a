# SPDX-License-Identifier: Apache-2.0
"""The teacher: all-MiniLM-L6-v2's forward pass in NumPy.

A BERT encoder of six layers (Devlin et al. 2019; Wang et al. 2020), mean
pooling and normalisation, as the model's own configuration says. It is written
out here, rather than called through a framework, so that the script's only
dependencies are array libraries whose results can be pinned.
"""

import numpy as np
from safetensors.numpy import load_file
from scipy.special import erf
from tokenizers import Tokenizer

LAYERS, HEADS, WIDTH = 6, 12, 384
MAX_TOKENS = 256  # what the model was trained with


class Teacher:
    """Embeds texts as the model does. Vectors have length one."""

    def __init__(self, folder):
        weights = load_file(folder / "model.safetensors")
        self.w = {k.removeprefix("bert."): v.astype(np.float32) for k, v in weights.items() if v.dtype.kind == "f"}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)

    def embed(self, texts, budget=4096):
        """One row a text. Texts of equal length are computed together: no padding, so no masks."""
        return self.embed_ids([e.ids for e in self.tokenizer.encode_batch(list(texts))], budget)

    def embed_ids(self, ids, budget=4096):
        """The same for token ids that already carry [CLS] and [SEP]."""
        out = np.empty((len(ids), WIDTH), np.float32)
        by_length = {}
        for i, row in enumerate(ids):
            by_length.setdefault(len(row), []).append(i)
        for length in sorted(by_length):
            rows = by_length[length]
            step = max(1, budget // length)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                out[part] = self._forward(np.array([ids[i] for i in part]))
        return out

    def _forward(self, ids):
        batch, length = ids.shape
        x = self.w["embeddings.word_embeddings.weight"][ids]
        x = x + self.w["embeddings.position_embeddings.weight"][:length]
        x = x + self.w["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm").reshape(-1, WIDTH)
        for layer in range(LAYERS):
            x = self._layer(x, f"encoder.layer.{layer}.", batch, length)
        pooled = x.reshape(batch, length, WIDTH).mean(axis=1)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def _layer(self, x, name, batch, length):
        heads = lambda part: (
            self._linear(x, name + "attention.self." + part)
            .reshape(batch, length, HEADS, WIDTH // HEADS)
            .transpose(0, 2, 1, 3)
        )
        q, k, v = heads("query"), heads("key"), heads("value")
        scores = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(WIDTH // HEADS))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = (scores @ v).transpose(0, 2, 1, 3).reshape(-1, WIDTH)
        x = self._norm(x + self._linear(mixed, name + "attention.output.dense"), name + "attention.output.LayerNorm")
        h = self._linear(x, name + "intermediate.dense")
        h *= 0.5 * (1 + erf(h * np.float32(np.sqrt(0.5))))
        return self._norm(x + self._linear(h, name + "output.dense"), name + "output.LayerNorm")

    def _linear(self, x, name):
        return x @ self.w[name + ".weight"].T + self.w[name + ".bias"]

    def _norm(self, x, name):
        x = x - x.mean(axis=-1, keepdims=True)
        x /= np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(1e-12))
        return x * self.w[name + ".weight"] + self.w[name + ".bias"]
