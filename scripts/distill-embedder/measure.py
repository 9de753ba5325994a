# SPDX-License-Identifier: Apache-2.0
"""Measures tables on the fifth of BANKING77 that distill.py leaves out.

    measure.py --data DIR --cache DIR TABLE…

Prints, for each table and for the teacher: how often the nearest centroid of
the other rows is that of the right class, first and among three; and Spearman's
correlation with the teacher's similarities on random pairs.
"""

import argparse
import csv
import struct
from pathlib import Path

import distill  # sets the environment that makes results repeat

import numpy as np
from scipy.stats import spearmanr

from teacher import Teacher

RANDOM_PAIRS = 20000


def read(path):
    """The rows, scaled, and the pairs of a table."""
    data = path.read_bytes()
    dim, tokens, pairs, spelled = struct.unpack("<IIII", data[8:24])
    at = 24 + spelled
    ordered = np.frombuffer(data, np.uint32, 2 * pairs, at).reshape(-1, 2)
    at += 8 * pairs
    scales = np.frombuffer(data, np.float32, dim, at)
    rows = np.frombuffer(data, np.uint8, (tokens + pairs) * dim, at + 4 * dim).reshape(-1, dim)
    return (rows.astype(np.float32) - 128) * scales, tokens, {(int(a), int(b)): i for i, (a, b) in enumerate(ordered)}


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)


def measure(name, vectors, teacher, classes, held, pairs):
    labels = sorted(set(classes))
    index = np.array([labels.index(c) for c in classes])
    centroids = unit(np.stack([vectors[~held & (index == k)].mean(axis=0) for k in range(len(labels))]))
    order = np.argsort(-(vectors[held] @ centroids.T), axis=1)
    right = order == index[held][:, None]
    similar = lambda v: (v[pairs[:, 0]] * v[pairs[:, 1]]).sum(axis=1)
    rank = spearmanr(similar(vectors), similar(teacher)).statistic
    print(f"{name}: top 1 {right[:, 0].mean():.4f}, top 3 {right[:, :3].any(axis=1).mean():.4f}, Spearman {rank:.4f}")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--model", type=Path)
    arguments.add_argument("--cache", type=Path, required=True)
    arguments.add_argument("tables", type=Path, nargs="+")
    a = arguments.parse_args()
    a.cache.mkdir(parents=True, exist_ok=True)
    teacher = Teacher(a.model or distill.installed())
    with open(a.data / "banking77/train.csv", encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    texts, classes = [r["text"] for r in rows], [r["category"] for r in rows]
    taught = distill.cached(a.cache, "banking77", teacher, texts)
    held = distill.held_out(len(texts))
    pairs = np.flatnonzero(held)[np.random.default_rng(5).integers(0, held.sum(), (RANDOM_PAIRS, 2))]
    ids = distill.tokenized(teacher, texts)
    for path in a.tables:
        table, tokens, known = read(path)
        measure(path, unit(distill.bags(ids, tokens, known) @ table), taught, classes, held, pairs)
    measure("the teacher", taught, taught, classes, held, pairs)


if __name__ == "__main__":
    main()
