"""The ranker lane learns what users choose by, and cannot be thrown off by a bad number."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.features import CONTEXT, FEATURES, INDEX
from recsys.learning.moments import Choices
from recsys.learning.ranker import RankerLearner
from recsys.rank import AdditiveRanker, Ranker, prior_weights

B, C = 64, 40


def choices(weights, rng, n=B):
    """Choices of users who choose by a softmax over these weights; half of them are strangers."""
    x = rng.normal(0, 0.3, (n, C, len(FEATURES))).astype(np.float32)
    context = np.zeros((n, len(CONTEXT)), np.float32)
    context[:, 0] = 1
    context[n // 2 :, 1] = 1
    there = rng.random((n, C)) < 0.9
    scores = np.einsum("bcf,bf->bc", x, context @ weights) + rng.gumbel(size=(n, C))
    target = np.where(there, scores, -np.inf).argmax(axis=1)
    return Choices(x, context, there, np.zeros((n, C), np.float32), target)


def test_it_finds_the_weights_that_users_choose_by_at_each_moment():
    rng = np.random.default_rng(1)
    truth = np.zeros((len(CONTEXT), len(FEATURES)))
    truth[0, INDEX["similarity_best"]] = 6.0
    truth[0, INDEX["popularity_year_log"]] = -4.0
    truth[1, INDEX["similarity_best"]] = -6.0  # strangers don't care
    learner = RankerLearner()
    losses = []
    for _ in range(80):
        learner.learn(choices(truth, rng))
        losses.append(learner.loss)
    learnt = learner.weights
    assert losses[-1] < 0.85 * max(losses)
    assert learnt[0, INDEX["similarity_best"]] > 3
    assert learnt[0, INDEX["popularity_year_log"]] < -2
    assert abs(learnt[:2, INDEX["similarity_best"]].sum()) < 1.5
    served = Ranker(module=AdditiveRanker(learner.snapshot()))
    seen = choices(truth, rng, 256)
    mine = np.where(seen.there, served.scores(seen.x, seen.context), -np.inf).argmax(axis=1)
    prior = np.where(seen.there, Ranker().scores(seen.x, seen.context), -np.inf).argmax(axis=1)
    assert (mine == seen.target).mean() > 1.5 * (prior == seen.target).mean()


def test_before_it_has_seen_enough_the_prior_holds():
    learner = RankerLearner()
    learner.learn(choices(np.zeros((len(CONTEXT), len(FEATURES))), np.random.default_rng(2)))
    assert (learner.snapshot() == prior_weights()).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_number_that_is_none_moves_nothing_for_good(bad):
    rng = np.random.default_rng(3)
    learner = RankerLearner()
    for _ in range(10):
        learner.learn(choices(prior_weights().astype(np.float64), rng))
    before = learner.weights.copy()
    spoilt = choices(prior_weights().astype(np.float64), rng, 16)
    spoilt.x[:, 0, 0] = bad
    learner.learn(spoilt)
    assert np.isfinite(learner.weights).all()
    assert np.abs(learner.weights - before).max() <= learner.most / 0.02


def test_a_drawn_item_counts_for_all_that_it_stands_for():
    """Two copies of a candidate, or one that stands for two: the same step."""
    rng = np.random.default_rng(4)
    one, other = RankerLearner(), RankerLearner()
    for _ in range(12):
        made = choices(np.zeros((len(CONTEXT), len(FEATURES))), rng)
        made.target[:] = 0
        made.there[:, 0] = True
        twice = Choices(
            np.concatenate([made.x, made.x[:, -1:]], axis=1), made.context,
            np.concatenate([made.there, made.there[:, -1:]], axis=1),
            np.concatenate([made.many, made.many[:, -1:]], axis=1), made.target,
        )  # fmt: skip
        heavy = made.many.copy()
        heavy[:, -1] = np.log(2)
        one.spread = other.spread = np.ones(len(FEATURES))
        one.measured = other.measured = 10_000
        one.learn(twice)
        other.learn(Choices(made.x, made.context, made.there, heavy, made.target))
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-4, atol=1e-6)
