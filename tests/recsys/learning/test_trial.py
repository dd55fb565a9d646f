"""A canary's trial: equal ones get to serve all, bad ones go, whatever else happens in the shop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.learning.trial import Terms, Trial

TERMS = Terms(outcomes=150, settled_ms=1000, limit_ms=10_000_000)
STEP_MS = 10


def run(rng, own, others, terms=TERMS, share=0.2, users=5000, most=4000, shop=lambda _: 1.0):
    """(decision, verdict, recommendations made) of a trial in which the canary's recommendations are acted on with
    chance `own`, others' with `others`; `shop` scales both over time."""
    trial = Trial(terms, 0)
    for n in range(most):
        now, user = n * STEP_MS, int(rng.integers(users))
        canary = user < users * share
        trial.made(f"r{n}", user, canary, now, asked=True)
        if rng.random() < (own if canary else others) * shop(n):
            trial.acted(f"r{n}", 1.0)
        trial.until(now)
        if n % 50 == 49 and (verdict := trial.verdict(now)).decision != "wait":
            return verdict.decision, verdict, n
    return "wait", trial.verdict(most * STEP_MS), most


def decisions(own, others, runs=40, **more):
    return [run(np.random.default_rng(seed), own, others, **more)[0] for seed in range(runs)]


def test_an_equal_or_better_canary_gets_to_serve_all():
    assert decisions(0.4, 0.4).count("promote") >= 36
    assert decisions(0.5, 0.4, 20).count("hold") == 0


def test_one_that_is_half_as_good_goes_before_it_could_serve_all():
    found = [run(np.random.default_rng(seed), 0.2, 0.4) for seed in range(40)]
    assert [decision for decision, *_ in found].count("hold") >= 38
    assert all(f["live_upper"] < 0 for f in (v.figures for d, v, _ in found if d == "hold"))


def test_a_slump_of_the_whole_shop_is_not_the_canary_s_fault():
    found = decisions(0.5, 0.5, shop=lambda n: 1.0 if n < 300 else 0.3)
    assert found.count("hold") <= 3


def test_one_user_cannot_decide():
    """A flooder among the canary's users who never acts on anything."""
    rng, trial = np.random.default_rng(1), Trial(TERMS, 0)
    for n in range(3000):
        flooder = n % 2
        user = 7 if flooder else int(rng.integers(100, 5000))
        canary = bool(flooder) or user < 600
        trial.made(f"r{n}", user, canary, n, asked=True)
        if not flooder and rng.random() < 0.5:
            trial.acted(f"r{n}", 1.0)
    trial.until(10_000)
    assert trial.verdict(10_000).decision != "hold"


def test_an_act_that_is_heard_of_before_its_recommendation_counts_and_one_after_its_time_does_not():
    trial = Trial(TERMS, 0)
    trial.acted("early", 3.0)
    for n, rec_id in enumerate(("early", "late")):
        trial.made(rec_id, n, True, 0, asked=True)
        trial.made(f"other-{rec_id}", 100 + n, False, 0, asked=True)
    trial.until(999)
    assert trial.settled == {True: 0, False: 0}
    trial.until(1000)
    trial.acted("late", 1.0)
    trial.until(5000)
    figures = trial.verdict(5000).figures
    assert figures["live_outcomes"] == 2
    assert figures["live_difference"] == pytest.approx(0.5), "one of two, others none; 3 counts as 1"


def test_what_nobody_asked_for_or_saw_counts_only_where_there_is_nothing_else():
    asked, unasked = Trial(TERMS, 0), Trial(TERMS, 0)
    for n in range(10):
        asked.made(f"a{n}", n, True, 0, asked=n < 3)
        unasked.made(f"a{n}", n, True, 0, asked=False)
    asked.shown("a9")
    asked.until(2000)
    unasked.until(2000)
    assert (asked.settled[True], unasked.settled[True]) == (4, 10)


def test_while_nobody_acts_on_anything_nothing_is_known():
    decision, verdict, _ = run(np.random.default_rng(1), 0.0, 0.0)
    assert decision == "wait"
    assert verdict.figures["live_outcomes"] > TERMS.outcomes
    assert "nothing came of it" in verdict.why


@pytest.mark.parametrize(
    ("own", "others", "most", "decides"),
    [(0.4, 0.4, 60, "promote"), (0.1, 0.4, 60, "hold"), (0.0, 0.0, 60, "promote"), (0.4, 0.4, 0, "promote")],
)
def test_when_its_time_is_over_it_is_decided_by_what_there_is(own, others, most, decides):
    trial, rng = Trial(Terms(outcomes=10_000, settled_ms=10, limit_ms=5000), 0), np.random.default_rng(3)
    for n in range(most):
        trial.made(f"r{n}", n, n % 5 == 0, n, asked=True)
        if rng.random() < (own if n % 5 == 0 else others):
            trial.acted(f"r{n}", 1.0)
    trial.until(4999)
    if decides == "promote":
        assert trial.verdict(4999).decision == "wait"
    assert trial.verdict(5000).decision == decides


def test_one_that_reaches_far_fewer_users_than_its_share_does_not_serve_all():
    trial = Trial(Terms(settled_ms=10, limit_ms=5000), 0)
    for n in range(300):
        trial.made(f"r{n}", n, n == 0, n, asked=True)
        trial.acted(f"r{n}", 1.0)
    trial.until(1000)
    assert trial.verdict(1000).decision == "wait"
    over = trial.verdict(5000)
    assert over.decision == "hold"
    assert "fewer users than its share" in over.why


@settings(max_examples=25)
@given(data=st.data())
def test_when_it_is_asked_and_in_which_portions_it_hears_changes_nothing(data):
    """Only what was settled counts: not how often somebody looked."""
    n = data.draw(st.integers(20, 80))
    made = [(f"r{i}", i % 17, i % 3 == 0, i * 100, i % 2 == 0) for i in range(n)]
    acts = data.draw(st.lists(st.integers(0, n - 1), max_size=n))
    looks = data.draw(st.sets(st.integers(0, n - 1)))
    once, often = Trial(TERMS, 0), Trial(TERMS, 0)
    for at, one in enumerate(made):
        for trial in (once, often):
            trial.made(*one)
            if at in acts:
                trial.acted(one[0], 0.5)
        if at in looks:
            often.until(at * 100)
            often.verdict(at * 100)
    for trial in (once, often):
        trial.until(10**6)
    assert once.verdict(10**6) == often.verdict(10**6)
