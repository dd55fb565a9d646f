"""What an experiment says: against simulations and against known figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recsys.experiments.results import arm_results, crossed, duel, holm, sample_ratio, sign_test, welch


def test_welch_is_what_an_independent_library_finds() -> None:
    draw = np.random.default_rng(1)
    a, b = draw.normal(1, 2, 50), draw.normal(0.5, 1, 80)
    value, low, high, p = welch(a, b)
    other = stats.ttest_ind(a, b, equal_var=False)
    interval = other.confidence_interval(0.95)
    assert (value, p) == pytest.approx((a.mean() - b.mean(), other.pvalue))
    assert (low, high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(("a", "b"), [(5, 5), (9, 1), (0, 7), (30, 50), (0, 0)])
def test_the_sign_test_is_what_an_independent_library_finds(a: int, b: int) -> None:
    assert sign_test(a, b) == pytest.approx(stats.binomtest(a, a + b).pvalue if a + b else 1.0)


def test_holm_is_what_it_should_be_on_a_textbook_case() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


def simulated(seed: int, lift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users with few or many recommendations, who differ in what they take."""
    draw = np.random.default_rng(seed)
    visits = draw.integers(1, 10, 400)
    arm, taste = draw.integers(0, 2, 400), draw.beta(2, 8, 400)
    users = np.repeat(np.arange(400), visits)
    return users, arm[users], (draw.random(len(users)) < taste[users] + lift * arm[users]).astype(float)


def test_intervals_of_rates_and_differences_hold_and_p_is_even_where_arms_are_equal() -> None:
    held_rate, held, alarms = [], [], []
    for seed in range(400):
        results, differences = arm_results(*simulated(seed, 0.0), ["main", "new"])
        held_rate.append(results[0].low <= 0.2 <= results[0].high)
        held.append(differences[0].low <= 0 <= differences[0].high)
        alarms.append(differences[0].p < 0.05)
    assert 0.92 <= np.mean(held_rate) <= 0.98
    assert 0.92 <= np.mean(held) <= 0.98
    assert np.mean(alarms) == pytest.approx(1 - np.mean(held))


def test_a_difference_is_found_and_its_interval_holds_it() -> None:
    found = [arm_results(*simulated(seed, 0.1), ["main", "new"])[1][0] for seed in range(200)]
    assert 0.9 <= np.mean([d.low <= 0.1 <= d.high for d in found]) <= 0.99
    assert np.mean([d.p < 0.05 for d in found]) > 0.85
    assert {(d.name, d.baseline) for d in found} == {("new", "main")}


def test_several_arms_are_compared_with_main_and_adjusted() -> None:
    draw = np.random.default_rng(3)
    users = np.arange(3000)
    results, differences = arm_results(users, users % 3, draw.random(3000), ["zeta", "main", "alpha"])
    assert [r.name for r in results] == ["main", "alpha", "zeta"]
    assert [d.name for d in differences] == ["alpha", "zeta"]
    assert all(d.adjusted >= d.p for d in differences)


def test_the_sample_ratio_check_alarms_on_a_lost_share_and_not_on_chance() -> None:
    alarms = 0
    for seed in range(300):
        arms = (np.random.default_rng(seed).random(2000) < 0.3).astype(int)
        found = sample_ratio(np.arange(2000), arms, ["main", "new"], {"main": 0.7, "new": 0.3})
        assert found is not None
        alarms += found.p < 0.01
    assert alarms <= 9
    lost = np.arange(2000) % 10 < 2  # a third of the arm got lost
    found = sample_ratio(np.arange(2000), lost.astype(int), ["main", "new"], {"main": 0.7, "new": 0.3})
    assert found is not None
    assert found.p < 0.001


def test_an_arm_that_nobody_was_in_is_an_alarm_too() -> None:
    found = sample_ratio(np.arange(100), np.zeros(100, int), ["main"], {"main": 0.5, "gone": 0.5})
    assert found is not None
    assert (found.counted, found.p < 1e-6) == ({"main": 100, "gone": 0}, True)


def test_a_duel_is_between_users_and_not_between_clicks() -> None:
    users = np.array([1] * 50 + [2, 3, 4, 5])
    credit = np.array([1] * 50 + [-1, -1, -1, 0])
    found = duel(users, credit, "a", "b")
    assert (found.wins_first, found.wins_second, found.ties, found.users) == (1, 3, 1, 5)
    assert (found.slates_first, found.slates_second) == (50, 3)
    assert found.p == pytest.approx(0.625)


def test_users_in_two_arms_are_found() -> None:
    assert crossed(np.array([1, 1, 2, 3, 3]), np.array([0, 1, 0, 1, 1])).tolist() == [True, True, False, False, False]
