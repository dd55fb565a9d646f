"""On a GPU the same candidates and the same order come out. Skipped without one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys.features import CONTEXT, FEATURES
from recsys.index.dense import DenseIndex
from recsys.rank import Ranker

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


def test_scores_are_those_of_the_processor():
    x = np.random.default_rng(0).standard_normal((16, 200, len(FEATURES))).astype(np.float32)
    context = np.ones((16, len(CONTEXT)), np.float32)
    assert np.abs(Ranker("cuda").scores(x, context) - Ranker("cpu").scores(x, context)).max() <= 2e-5


def test_the_index_finds_what_the_exact_one_finds():
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((30_000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.arange(len(vectors), dtype=np.int32)
    index = DenseIndex.empty(64, "cuda").grown(len(rows)).with_vectors(rows, vectors).rebuilt(np.ones(len(rows), bool))
    found = index.search(vectors[:40], 50)
    exact = np.argsort(-(vectors[:40] @ vectors.T), axis=1)[:, :50]
    assert np.mean([len(set(a) & set(b)) / 50 for a, b in zip(found, exact, strict=True)]) > 0.99
