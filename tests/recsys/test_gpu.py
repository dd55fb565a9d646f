"""On a GPU the same candidates and the same order come out. Skipped without one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys.features import CONTEXT, FEATURES
from recsys.index.dense import DenseIndex
from recsys.learning.sequence import Rates, SequenceLearner
from recsys.rank import Ranker
from recsys.sequence import LENGTH

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


@pytest.mark.parametrize("sampled_from", [1, 10**9], ids=["sampled", "full"])
def test_a_sequence_model_learns_there_too_and_goes_on_from_its_checkpoint_on_the_processor(sampled_from):
    items, rng = 40, np.random.default_rng(2)
    keys, texts = np.arange(1, items + 1, dtype=np.uint64), rng.standard_normal((items, 16)).astype(np.float32) / 4
    rates = Rates(fit=1e-2, update=1e-2, epochs=25, positions=256, sampled_from=sampled_from, negatives=16)
    learner = SequenceLearner(keys, texts, rates, device="cuda")

    def rounds(one, since):
        start = rng.integers(items, size=60)
        for turn in range(12):
            at = np.full(60, since + turn * 60)
            one.take(np.arange(60), (start + turn * 7) % items, at, np.ones(60, np.float32))

    def hits(model):
        into, out, bias = model.items(keys, texts)
        latest = np.full((items, LENGTH), -1, np.int32)
        latest[:, -1] = np.arange(items)
        found = model.users(into, latest, np.zeros(items, np.int64)) @ out.T + bias
        return np.mean(found.argmax(axis=1) == (np.arange(items) + 7) % items)

    rounds(learner, 0)
    learner.fit()
    assert hits(learner.snapshot()) > 0.9
    rounds(learner, 10_000)
    learner.update()
    learner.update_users()
    again = SequenceLearner.restore(*learner.dump(), rates)
    assert np.array_equal(again.snapshot().out, learner.snapshot().out)
    again.stock(keys, texts)
    rounds(again, 20_000)
    again.update()
    assert hits(again.snapshot()) > 0.9
    learner.adopt(again.snapshot())
    assert hits(learner.snapshot()) > 0.9
