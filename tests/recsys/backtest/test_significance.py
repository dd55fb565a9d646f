"""Intervals and differences on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.backtest.significance import differences, holm, intervals


def draw(random: np.random.Generator, users: int, gap: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Two policies that hit by chance; what a user's events have in common moves both."""
    user = np.repeat(np.arange(users), random.integers(1, 6, users))
    ease = random.beta(2, 6, users)[user]
    a = (random.random(len(user)) < ease).astype(float)
    b = (random.random(len(user)) < np.clip(ease + gap, 0, 1)).astype(float)
    return {"a": a, "b": b}, user


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    random = np.random.default_rng(5)
    runs = 200
    held = 0
    for run in range(runs):
        values, user = draw(random, 150, 0.0)
        found = intervals(values, user, seed=run, resamples=300)["a"]
        held += found.low <= 0.25 <= found.high
    assert 0.88 * runs <= held <= 0.99 * runs


def test_no_difference_is_called_one_about_as_seldom_as_p_says():
    random = np.random.default_rng(6)
    runs = 200
    called = 0
    for run in range(runs):
        values, user = draw(random, 100, 0.0)
        called += differences(values, user, seed=run, resamples=50, flips=199)[0].p < 0.05
    assert called <= 0.1 * runs


def test_a_real_difference_is_found_and_the_better_named_first():
    values, user = draw(np.random.default_rng(7), 1500, 0.1)
    (found,) = differences(values, user)
    assert (found.better, found.worse) == ("b", "a")
    assert found.p < 0.01
    assert 0 < found.low <= found.mean <= found.high
    assert found.mean == pytest.approx(float((values["b"] - values["a"]).mean()))


def test_holm_raises_each_p_by_how_many_are_left():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_the_same_seed_gives_the_same_figures():
    values, user = draw(np.random.default_rng(8), 50, 0.05)
    assert intervals(values, user, seed=1) == intervals(values, user, seed=1)
    assert differences(values, user, seed=1) == differences(values, user, seed=1)
