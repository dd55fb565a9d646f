"""A score is the sum of what its features add, whoever else is scored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.features import CONTEXT, FEATURES
from recsys.rank import ROUND, AdditiveRanker, Ranker


def _case(seed: int, queries: int = 5, candidates: int = 30):
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 1, (len(CONTEXT), len(FEATURES))).astype(np.float32)
    x = rng.uniform(-1, 1, (queries, candidates, len(FEATURES))).astype(np.float32)
    context = (rng.random((queries, len(CONTEXT))) < 0.4).astype(np.float32)
    return Ranker(module=AdditiveRanker(weights)), x, context


@given(st.integers(0, 2**32 - 1))
def test_a_score_is_the_sum_of_its_contributions_as_torch_has_them(seed):
    ranker, x, context = _case(seed)
    scores, parts = ranker.scores(x, context), ranker.contributions(x, context)
    assert np.abs(scores - parts.sum(axis=2, dtype=np.float64).round(ROUND)).max() < 1e-9
    with torch.inference_mode():
        of_torch = ranker.module(torch.from_numpy(x), torch.from_numpy(context)).numpy()
    assert np.allclose(parts, of_torch, rtol=0, atol=2e-6)
    assert np.allclose(parts[0, 0], x[0, 0] * ranker.weights_at(context[0]), rtol=0, atol=2e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_company_changes_no_bit(seed, cut):
    ranker, x, context = _case(seed)
    for work in (ranker.scores, ranker.contributions):
        apart = [work(x[some], context[some]) for some in (slice(None, cut), slice(cut, None))]
        assert (work(x, context) == np.concatenate(apart)).all()


def test_weights_that_are_trained_are_those_that_score():
    ranker, x, context = _case(1)
    context[:, 0] = 1
    before = ranker.scores(x, context)
    with torch.no_grad():
        ranker.module.weight[0] += 1
    assert np.allclose(ranker.scores(x, context) - before, x.sum(axis=2), atol=1e-4)


def test_features_of_another_table_are_refused():
    ranker, x, context = _case(1)
    with pytest.raises(ValueError, match="features"):
        ranker.scores(np.ascontiguousarray(x[:, :, :-1]), context)
    with pytest.raises(ValueError, match="features"):
        ranker.contributions(x, np.ascontiguousarray(context[:, :-1]))
