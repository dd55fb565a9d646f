"""The laws of the fold, and brute-force oracles for what it sums up."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.counting import Counts, Limits
from recsys.decay import DAY_MS, WINDOWS_DAYS
from recsys.keys import item_key
from recsys.policy import Policy
from recsys.statistics import NEVER, Statistics
from recsys.tallies import overlay
from schemas.events import Forget, Impression, Interaction

NOW = 1_760_000_000_000
POLICY = Policy()
TIGHT = Limits(users=3, event_ids=20, items=12)


def act(n: int, user: str, item: str, ts: int = NOW, action: str = "click", value: float | None = None) -> Any:
    return Interaction(
        event_id=f"e{n}", type="interaction", user_id=user, ts=ts, action=action, item_id=item, value=value
    )


@st.composite
def logs(draw: st.DrawFn, items: int = 30) -> list[Any]:
    """Logs with pauses, steps back in time, wrong clocks, impressions and erasures."""
    ts, log = NOW, []
    for n in range(draw(st.integers(1, 60))):
        user = f"u{draw(st.integers(0, 5))}"
        ts += draw(st.sampled_from([0, 1000, 60_000, DAY_MS, 40 * DAY_MS, -DAY_MS]))
        stamp = draw(st.sampled_from([ts] * 8 + [5, ts + 3000 * DAY_MS]))
        names = st.integers(0, items - 1).map(lambda i: f"i{i}")
        kind = draw(st.sampled_from(["act"] * 8 + ["shown", "forget"]))
        if kind == "shown":
            shown = draw(st.lists(names, max_size=4))
            log.append(
                Impression(event_id=f"e{n}", type="impression", user_id=user, ts=stamp, rec_id="r", item_ids=shown)
            )
        elif kind == "forget":
            log.append(Forget(event_id=f"e{n}", type="forget", user_id=user, ts=stamp, scope="all"))
        else:
            action = draw(st.sampled_from(["click", "purchase", "skip", "rate", "unheard-of"]))
            value = draw(st.sampled_from([1.0, 3.0, 5.0])) if action == "rate" else None
            log.append(act(n, user, draw(names), stamp, action, value))
    return log


def folded(log: list[Any], cuts: list[int], limits: Limits | None = None) -> Counts:
    counts = Counts(POLICY, limits)
    for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        counts.learn(log[start:end])
    return counts


def same(one: Counts, other: Counts) -> None:
    a, b = one.dump(), other.dump()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("limits", [Limits(), TIGHT], ids=["roomy", "tight"])
@given(data=st.data())
@settings(max_examples=50)
def test_a_batch_cut_anywhere_gives_the_same_state(limits: Limits, data: st.DataObject) -> None:
    log = data.draw(logs())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=6)))
    same(folded(log, cuts, limits), folded(log, list(range(len(log))), limits))


def test_crowded_neighbour_rows_are_the_same_however_the_log_is_cut() -> None:
    rng = np.random.default_rng(7)
    log = [
        act(n, f"u{rng.integers(3)}", "hub" if rng.random() < 0.4 else f"i{rng.zipf(1.3) % 300}", NOW + n)
        for n in range(3000)
    ]
    whole = folded(log, [])
    same(whole, folded(log, list(range(1, 3000))))
    same(whole, folded(log, [17, 18, 400, 2222]))
    assert whole.dump()["neighbours_used"].max() > 32


@given(log=logs(), data=st.data())
@settings(max_examples=40)
def test_duplicates_change_nothing(log: list[Any], data: st.DataObject) -> None:
    doubled = list(log)
    for at in sorted(data.draw(st.lists(st.integers(0, len(log) - 1), max_size=8)), reverse=True):
        doubled.insert(data.draw(st.integers(at, len(doubled))), log[at])
    # a copy may not come before its original
    first = {}
    ordered = [e for e in doubled if first.setdefault(e.event_id, e) is e]
    same(folded(ordered, []), folded(doubled, []))


@given(log=logs(), cut=st.integers(0, 60))
@settings(max_examples=30)
def test_a_dumped_state_goes_on_as_if_nothing_had_happened(log: list[Any], cut: int) -> None:
    counts = folded(log[:cut], [])
    resumed = Counts.restore(counts.dump(), POLICY)
    same(counts, resumed)
    counts.learn(log[cut:])
    resumed.learn(log[cut:])
    same(counts, resumed)


@given(log=logs(), first=st.integers(0, 60), second=st.integers(0, 60))
@settings(max_examples=40)
def test_a_difference_on_its_whole_set_is_the_whole_set_of_now(log: list[Any], first: int, second: int) -> None:
    counts = folded(log[:first], [])
    base = counts.tallies()
    counts.mark()
    counts.learn(log[first:])
    assert_equal(overlay(base, counts.tallies(touched=True)), counts.tallies())


def assert_equal(one: Any, other: Any) -> None:
    for name in ("as_of", "steps", "keys", "counts", "first_ts", "neighbours", "weights"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 400 * DAY_MS), st.sampled_from(["click", "purchase", "skip"])),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=30)
def test_popularity_is_the_decayed_sum_of_weights(entries: list[tuple[int, int, str]]) -> None:
    start = act(0, "first", "latest", NOW)
    log = [start] + [act(n + 1, f"u{n}", f"i{i}", NOW - ago, a) for n, (i, ago, a) in enumerate(entries)]
    snapshot = Statistics.of(folded(log, []).tallies(), "s")
    wanted: dict[str, Any] = defaultdict(lambda: np.zeros(7))
    for event in log:
        weight, age = POLICY.action_weights[event.action], (NOW - event.ts) / DAY_MS
        if weight > 0:
            wanted[event.item_id][:6] += [weight * 0.5 ** (age / days) for days in WINDOWS_DAYS]
        else:
            wanted[event.item_id][6] -= weight * 0.5 ** (age / 30)
    assert snapshot.as_of == NOW
    assert len(snapshot.keys) == len(wanted)
    for name, sums in wanted.items():
        row = int(snapshot.take(np.array([item_key(name)], np.uint64))[0])
        np.testing.assert_allclose(snapshot.popularity[row], sums[:6], rtol=1e-5, atol=1e-30)
        np.testing.assert_allclose(snapshot.refusals[row], sums[6], rtol=1e-5)


@given(log=logs(items=12))
@settings(max_examples=40)
def test_covisitation_is_one_over_the_gap_among_a_users_last_ten_items(log: list[Any]) -> None:
    log = [e for e in log if not isinstance(e, Interaction) or NOW - 99 * DAY_MS < e.ts < NOW + 2000 * DAY_MS]
    stamped = sorted(log, key=lambda e: e.ts)  # no clock is wrong here, and nothing is pulled back
    counts = Counts(POLICY)
    counts.learn(stamped, received=[e.ts for e in stamped])
    snapshot = Statistics.of(counts.tallies(), "s")
    wanted: dict[tuple[str, str], float] = defaultdict(float)
    last: dict[str, list[str]] = defaultdict(list)
    for event in stamped:
        if isinstance(event, Forget):
            last[event.user_id] = []
        if not isinstance(event, Interaction) or event.action == "skip":
            continue
        path = last[event.user_id]
        if path and path[-1] == event.item_id:
            continue
        for gap, other in enumerate(reversed(path[-10:]), 1):
            if other != event.item_id:
                weight = 0.5 ** ((snapshot.as_of - event.ts) / (180 * DAY_MS)) / gap
                wanted[event.item_id, other] += weight
                wanted[other, event.item_id] += weight
        path.append(event.item_id)
    found = {
        (int(key), int(other)): float(weight)
        for key, others, weights in zip(snapshot.keys, snapshot.neighbours, snapshot.neighbour_weights, strict=True)
        for other, weight in zip(others, weights, strict=True)
        if other
    }
    expected = {(item_key(a), item_key(b)): w for (a, b), w in wanted.items()}
    assert found.keys() == expected.keys()
    for pair, weight in expected.items():
        assert found[pair] == pytest.approx(weight, rel=1e-5)
    assert (np.diff(snapshot.neighbour_weights, axis=1) <= 0).all()


def test_popularity_depends_on_what_happened_and_not_on_its_order() -> None:
    rng = np.random.default_rng(3)
    log = [act(n, f"u{n}", f"i{rng.integers(9)}", NOW + int(rng.integers(5 * DAY_MS))) for n in range(300)]
    last = act(999, "last", "i0", NOW + 5 * DAY_MS)
    shuffled = [log[i] for i in rng.permutation(300)]
    one = Counts(POLICY)
    other = Counts(POLICY)
    one.learn([*log, last], received=[NOW + 5 * DAY_MS] * 301)
    other.learn([*shuffled, last], received=[NOW + 5 * DAY_MS] * 301)
    a, b = Statistics.of(one.tallies(), "a"), Statistics.of(other.tallies(), "b")
    np.testing.assert_array_equal(a.keys, b.keys)
    np.testing.assert_allclose(a.popularity, b.popularity, rtol=1e-6)
    np.testing.assert_array_equal(a.first_ts, b.first_ts)


def test_a_stamp_from_the_far_future_is_pulled_back_and_does_not_move_the_logs_time() -> None:
    counts = Counts(POLICY)
    counts.learn([act(0, "a", "x"), act(1, "b", "y", NOW + 10_000 * DAY_MS), act(2, "c", "x", NOW + 1000)])
    assert counts.now == NOW + 1000
    snapshot = Statistics.of(counts.tallies(), "s")
    y = snapshot.popularity[snapshot.take(np.array([item_key("y")], np.uint64))[0]]
    np.testing.assert_allclose(y, 1.0, rtol=0.01)


def test_the_logs_time_follows_a_pause_once_two_users_agree() -> None:
    counts = Counts(POLICY)
    counts.learn([act(0, "a", "x"), act(1, "b", "x", NOW + 30 * DAY_MS)])
    assert counts.now == NOW
    counts.learn([act(2, "b", "x", NOW + 30 * DAY_MS + 1)])
    assert counts.now == NOW
    counts.learn([act(3, "c", "x", NOW + 30 * DAY_MS + 2)])
    assert counts.now == NOW + 30 * DAY_MS + 1


def test_a_log_with_a_clock_of_its_own_settles_the_first_stamp() -> None:
    counts = Counts(POLICY)
    counts.learn([act(0, "a", "x", NOW + 10_000 * DAY_MS)], received=[NOW])
    assert counts.now == NOW + 300_000


def test_a_stamp_of_1970_weighs_nothing_and_is_no_first_time() -> None:
    counts = Counts(POLICY)
    counts.learn([act(0, "a", "x"), act(1, "b", "y", 1000)])
    snapshot = Statistics.of(counts.tallies(), "s")
    y = int(snapshot.take(np.array([item_key("y")], np.uint64))[0])
    assert (snapshot.popularity[y] < 1e-12).all()
    assert snapshot.first_ts[y] == NEVER


def test_a_low_rating_counts_as_reach_and_as_a_refusal() -> None:
    counts = Counts(POLICY)
    counts.learn([act(0, "a", "bad", action="rate", value=1.0), act(1, "a", "good", action="rate", value=5.0)])
    snapshot = Statistics.of(counts.tallies(), "s")
    bad, good = snapshot.take(np.array([item_key("bad"), item_key("good")], np.uint64))
    assert snapshot.popularity[good, 0] > snapshot.popularity[bad, 0] > 0
    assert snapshot.refusals[bad] > 0
    assert snapshot.refusals[good] == 0
    assert item_key("good") in snapshot.neighbours[bad]


def test_impressions_are_exposures_and_nothing_else() -> None:
    counts = Counts(POLICY)
    shown = Impression(event_id="e", type="impression", user_id="u", ts=NOW, rec_id="r", item_ids=["a", "b", "a"])
    counts.learn([shown])
    snapshot = Statistics.of(counts.tallies(), "s")
    a = int(snapshot.take(np.array([item_key("a")], np.uint64))[0])
    assert snapshot.exposures[a] == 2
    assert not snapshot.popularity.any()
    assert (snapshot.first_ts == NEVER).all()


def test_what_is_kept_stays_within_its_bounds_and_keeps_what_weighs_most() -> None:
    counts = Counts(POLICY, Limits(users=50, event_ids=100, items=40))
    for n in range(3000):
        counts.learn([act(n, f"u{n}", "best" if n % 3 == 0 else f"i{n}", NOW + n)])
    dumped = counts.dump()
    assert len(counts) <= 40
    assert len(dumped["users"]) == 50
    assert len(dumped["seen"]) + len(dumped["seen_before"]) <= 100
    snapshot = Statistics.of(counts.tallies(), "s")
    best = int(snapshot.take(np.array([item_key("best")], np.uint64))[0])
    assert snapshot.popularity[best].min() == snapshot.popularity.max(axis=0).min()
    assert snapshot.popularity[best, 4] == pytest.approx(1000, rel=1e-3)


def test_an_erased_users_next_item_is_not_joined_to_the_last() -> None:
    forget = Forget(event_id="f", type="forget", user_id="u", ts=NOW, scope="all")
    counts = Counts(POLICY)
    counts.learn([act(0, "u", "a"), forget, act(1, "u", "b")])
    assert not Statistics.of(counts.tallies(), "s").neighbours.any()


def weighed(log: list[Any], weights: list[float], cuts: list[int]) -> Counts:
    counts = Counts(POLICY, TIGHT)
    for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        counts.learn(log[start:end], weights=weights[start:end])
    return counts


@given(log=logs(), data=st.data())
@settings(max_examples=40)
def test_with_weights_too_a_batch_cut_anywhere_gives_the_same_state(log: list[Any], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=len(log), max_size=len(log)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=6)))
    whole = weighed(log, weights, cuts)
    same(whole, weighed(log, weights, list(range(len(log)))))
    same(whole, Counts.restore(whole.dump(), POLICY, TIGHT))


@given(log=logs())
@settings(max_examples=40)
def test_weights_of_one_change_nothing(log: list[Any]) -> None:
    plain, ones = folded(log, []), Counts(POLICY)
    ones.learn(log, weights=[1.0] * len(log))
    a, b = plain.dump(), ones.dump()
    for name in a.keys() - {"last_weights"}:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert (b["last_weights"] == 1).all()


@given(log=logs(), data=st.data())
@settings(max_examples=40)
def test_an_event_of_no_weight_leaves_the_sums_as_they_are_without_it(log: list[Any], data: st.DataObject) -> None:
    log = [*(e for e in log if not isinstance(e, Forget)), act(0, "first", "a")]
    kept = [bool(data.draw(st.integers(0, 3))) for _ in log]
    counts, without = Counts(POLICY), Counts(POLICY)
    received = [NOW + 9999 * DAY_MS] * len(log)
    counts.learn(log, received, [float(k) for k in kept])
    some = [e for e, k in zip(log, kept, strict=True) if k]
    without.learn(some, received[: len(some)])
    one, other = counts.tallies(), without.tallies()
    for name in ("keys", "first_ts", "neighbours"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert counts.now == max(e.ts for e in log)
    assert counts.learn(log) == 0  # what counted for nothing is a repeat too


def test_weights_multiply_what_is_counted_and_go_together_by_their_product() -> None:
    def tables(first: float, second: float) -> tuple[Statistics, Any]:
        shown = Impression(event_id="s", type="impression", user_id="u", ts=NOW, rec_id="r", item_ids=["a"])
        log = [act(0, "u", "a"), act(1, "v", "a", action="skip"), shown, act(2, "u", "b")]
        counts = Counts(POLICY)
        # a batch each, so that what is kept of the last items is weighed too
        for event, weight in zip(log, [first, first, first, second], strict=True):
            counts.learn([event], weights=[weight])
        statistics = Statistics.of(counts.tallies(), "s")
        return statistics, int(statistics.take(np.array([item_key("a")], np.uint64))[0])

    whole, a = tables(1, 1)
    part, _ = tables(0.5, 0.25)
    np.testing.assert_allclose(part.popularity[a], whole.popularity[a] / 2)
    assert part.refusals[a] == whole.refusals[a] / 2
    assert part.exposures[a] == whole.exposures[a] / 2
    assert part.neighbour_weights[a, 0] == whole.neighbour_weights[a, 0] / 8


def test_an_erasure_is_obeyed_whatever_it_weighs() -> None:
    forget = Forget(event_id="f", type="forget", user_id="u", ts=NOW, scope="all")
    counts = Counts(POLICY)
    counts.learn([act(0, "u", "a"), forget, act(1, "u", "b")], weights=[1, 0, 1])
    assert not Statistics.of(counts.tallies(), "s").neighbours.any()


def test_a_checkpoint_from_before_there_were_weights_is_taken_back() -> None:
    counts = folded([act(0, "u", "a"), act(1, "u", "b")], [])
    dumped = counts.dump()
    del dumped["last_weights"]
    resumed = Counts.restore(dumped, POLICY)
    counts.learn([act(2, "u", "c")], weights=[0.5])
    resumed.learn([act(2, "u", "c")], weights=[0.5])
    same(counts, resumed)
