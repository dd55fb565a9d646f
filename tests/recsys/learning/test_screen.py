"""The screen holds back what a few do again and again, and lets a shop's own life through."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.counting import Counts
from recsys.decay import DAY_MS
from recsys.keys import item_key, item_keys
from recsys.learning.screen import Burst, Caps, Screen
from recsys.policy import Policy
from recsys.statistics import Statistics
from schemas.events import Forget, Impression, Interaction, moved

NOW = 1_760_000_000_000
SMALL = Caps(block=40, pairs=30, items=12, usual=3, tell=2.0)
LOGS = Path(__file__).parents[4] / "shared" / "data"


def act(n: int, user: str, item: str, ts: int = NOW, action: str = "click") -> Any:
    return Interaction(
        event_id=f"e{n}", type="interaction", user_id=user, ts=ts, action=action, item_id=item, value=None
    )


def zipf(items: int) -> np.ndarray:
    odds = 1 / np.arange(1, items + 1)
    return odds / odds.sum()


def honest(n: int, rng: np.random.Generator, users: int = 500, items: int = 600, first: int = 0) -> list[Any]:
    picked = rng.choice(items, size=n, p=zipf(items))
    who = rng.integers(users, size=n)
    return [
        act(first + j, f"u{u}", f"i{i}", NOW + (first + j) * 1000)
        for j, u, i in zip(range(n), who, picked, strict=True)
    ]


# the caps
# -----------------------------------------------------------------------------------------------------------------
def test_a_user_who_repeats_an_item_counts_less_and_less_and_at_most_four_times():
    weights = Screen().weigh([act(n, "ann", "a") for n in range(20)])
    assert weights[:5].tolist() == [1, 1, 1, 0.5, 0.25]
    assert weights.sum() < 4
    assert weights[-1] == 0


def test_repeats_are_forgotten_after_the_window_and_not_within_it():
    screen = Screen(Caps(window_ms=DAY_MS))
    screen.weigh([act(n, "ann", "a") for n in range(10)], [NOW] * 10)
    within = screen.weigh([act(11, "ann", "a", NOW + DAY_MS // 2)], [NOW + DAY_MS // 2])
    later = screen.weigh([act(12, "ann", "a", NOW + 4 * DAY_MS)], [NOW + 4 * DAY_MS])
    assert (within[0], later[0]) == (0, 1)


def test_stamps_of_one_user_do_not_end_the_window():
    screen = Screen()
    weights = screen.weigh([act(n, "ann", "a", NOW + n * 30 * DAY_MS) for n in range(30)])
    assert weights.sum() < 4


def test_a_user_accounts_for_no_more_than_a_share_of_a_block():
    rng = np.random.default_rng(1)
    screen = Screen()
    screen.weigh(honest(10_000, rng, users=5000))
    log = honest(4000, rng, users=5000, first=10_000)
    for n in range(8000):  # as many items as there are, so that no pair repeats much
        log.insert(2 * n % len(log), act(50_000 + n, "mallory", f"i{n % 600}", NOW + 14_000_000))
    weights = screen.weigh(log)
    hers = np.array([e.user_id == "mallory" for e in log])
    assert weights[hers].sum() < 0.07 * weights.sum()
    assert weights[~hers].mean() > 0.99


def test_a_shop_of_five_users_is_not_held_to_a_share_made_for_many():
    log = [act(n, f"u{n % 5}", f"i{n}", NOW + n * 1000) for n in range(6000)]
    assert Screen().weigh(log)[250:].mean() > 0.99


def test_impressions_of_one_user_do_not_make_an_item_look_shown_for_ever():
    shown = [
        Impression(event_id=f"s{n}", type="impression", user_id="mallory", ts=NOW, rec_id="r", item_ids=["i0"])
        for n in range(5000)
    ]
    assert Screen().weigh(shown).sum() < 1000


# pushing an item
# -----------------------------------------------------------------------------------------------------------
def attacked(style: str, rng: np.random.Generator, before: int = 15_000, after: int = 15_000) -> list[Any]:
    """1,000 users of a shop of 600 items; a tenth of them then press `pushed` for each thing that the others do."""
    log = honest(before, rng, users=1000)
    for event in honest(after, rng, users=900, first=before):
        log.append(event)
        event.user_id = f"u{100 + int(event.user_id[1:])}"
        presses = 5 if style == "flood" else 1
        for _ in range(presses):
            mallory = f"u{rng.integers(100)}"
            log.append(act(len(log) + 10**6, mallory, "pushed", event.ts))
            if style == "beside the best":
                log.append(act(len(log) + 10**6, mallory, f"i{rng.integers(3)}", event.ts))
    return log


def standing(log: list[Any], weights: Any) -> tuple[int, int]:
    """(best rank of `pushed` in popularity over six windows, best among the neighbours of the ten best)."""
    counts = Counts(Policy())
    counts.learn(log, [e.ts for e in log], weights)
    statistics = Statistics.of(counts.tallies(), "s")
    pushed = int(statistics.take(item_keys(["pushed"]))[0])
    ranks = 1 + (statistics.popularity[:, :6] > statistics.popularity[pushed, :6]).sum(axis=0)
    best = statistics.neighbours[statistics.take(item_keys([f"i{i}" for i in range(10)]))]
    places = np.nonzero(best == item_key("pushed"))[1]
    return int(ranks.min()), int(places.min()) + 1 if len(places) else 99


@pytest.mark.parametrize("style", ["press", "flood", "beside the best"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_tenth_of_the_users_cannot_push_an_item_among_the_best(style, seed):
    log = attacked(style, np.random.default_rng(seed))
    screen = Screen()
    weights = screen.weigh(log, [e.ts for e in log])
    assert standing(log, None)[0] == 1  # it would have
    rank, place = standing(log, weights)
    assert rank > 10
    assert place > 10
    pushed = np.array([e.item_id == "pushed" for e in log])
    calm = Screen().weigh([e for e in log if e.item_id != "pushed"])
    if style != "beside the best":
        assert weights[~pushed].mean() > calm.mean() - 0.01  # who has nothing to do with it loses nothing
    (burst,) = [b for b in screen.bursts() if b.item_id == "pushed" and b.until is None]
    assert burst.observed > 5 * burst.expected
    assert burst.withheld >= 10
    assert 10 < burst.users <= 100
    assert not screen.bursts()


def told_of_a_burst() -> tuple[Screen, Burst]:
    """A screen in the middle of an attack, and what it tells."""
    log, screen = attacked("press", np.random.default_rng(5), after=4000), Screen()
    screen.weigh(log[:15_000])
    for at in range(15_000, len(log), 100):
        screen.weigh(log[at : at + 100])
        if found := screen.bursts():
            return screen, found[0]
    raise AssertionError("not seen")


def test_a_burst_is_told_again_once_it_has_calmed_down():
    screen, burst = told_of_a_burst()
    assert burst.until is None
    arrays, meta = screen.dump()
    calm = honest(4000, np.random.default_rng(6), users=1000, first=100_000)
    for one in (screen, Screen.restore(arrays, json.loads(json.dumps(meta)))):
        one.weigh(calm)
        (over,) = one.bursts()
        assert (over.item_id, over.since) == ("pushed", burst.since)
        assert over.until > burst.since
        assert over.withheld >= burst.withheld
        assert over.observed < burst.observed
        assert not one.bursts()


def test_a_burst_that_an_operator_ended_is_not_told_again():
    screen, burst = told_of_a_burst()
    screen.release(burst.item_id)
    screen.weigh(honest(4000, np.random.default_rng(6), users=1000, first=100_000))
    assert not screen.bursts()


def test_clocks_that_are_hours_off_neither_make_a_burst_nor_hide_one():
    """A third of the users six hours ahead, a third six behind; its own clock is right, or set back."""
    skewed = [
        moved(event, event.ts + (int(event.user_id[1:]) % 3 - 1) * 6 * 3_600_000)
        for event in attacked("press", np.random.default_rng(7), after=4000)
    ]
    straight = attacked("press", np.random.default_rng(7), after=4000)
    expected = Screen().weigh(straight, [e.ts for e in straight])
    for back in (0, 5 * 3_600_000):
        received = [event.ts - back * (at > len(straight) // 2) for at, event in enumerate(straight)]
        screen = Screen()
        np.testing.assert_array_equal(screen.weigh(skewed, received), expected)
        assert {burst.item_id for burst in screen.bursts()} == {"pushed"}


def test_an_attack_on_a_young_log_does_not_get_to_the_top():
    log = attacked("press", np.random.default_rng(3), before=2000, after=4000)
    assert standing(log, Screen().weigh(log, [e.ts for e in log]))[0] > 10


def test_what_was_let_through_in_an_attack_is_no_history_for_the_next():
    rng = np.random.default_rng(4)
    log = attacked("press", rng)
    screen = Screen()
    screen.weigh(log)
    before = len(log)
    log += honest(3000, rng, first=40_000)
    for n in range(3000):
        log.append(act(90_000 + n, f"u{n % 100}", "pushed", NOW + 43_000_000))
    weights = screen.weigh(log[before:])
    assert weights[3000:].sum() < 60


def test_a_hit_that_many_users_find_is_hardly_held_back():
    rng = np.random.default_rng(5)
    screen = Screen()
    screen.weigh(honest(10_000, rng, users=5000))
    log = honest(10_000, rng, users=5000, first=10_000)
    for n in range(300):  # a new item, at 3% at once: the third of all
        log.insert(33 * n, act(30_000 + n, f"u{rng.integers(5000)}", "new", log[33 * n].ts))
    weights = screen.weigh(log)
    assert weights[[e.item_id == "new" for e in log]].mean() > 0.95
    assert not screen.bursts()


def small_shop(rng: np.random.Generator, first: int, n: int = 6000) -> list[Any]:
    """300 users in ten circles of 60 items each: no item has more than a hundredth."""
    users = rng.integers(300, size=n)
    items = users % 10 * 60 + rng.integers(60, size=n)
    return [
        act(first + j, f"u{u}", f"i{i}", NOW + (first + j) * 100)
        for j, u, i in zip(range(n), users.tolist(), items.tolist(), strict=True)
    ]


def test_in_a_shop_of_few_users_a_wave_of_accounts_counts_for_few():
    rng = np.random.default_rng(9)
    log = small_shop(rng, 0)
    for at, event in enumerate(small_shop(rng, 6000, 600)):
        log.append(event)
        if at % 6 == 0:  # each account presses it once, within one block, beside something else
            log.append(act(len(log) + 10**6, f"m{at}", f"i{rng.integers(600)}", event.ts))
            log.append(act(len(log) + 10**6, f"m{at}", "pushed", event.ts))
    pushed = [e.item_id == "pushed" for e in log]
    assert sum(pushed) == 100
    assert Screen().weigh(log, [e.ts for e in log])[pushed].sum() < 0.1 * 300
    assert Screen(Caps(reach=1.0)).weigh(log, [e.ts for e in log])[pushed].sum() > 0.1 * 300  # by its block alone


def test_in_a_shop_of_few_users_a_hit_that_each_finds_once_is_soon_among_the_best():
    rng = np.random.default_rng(10)
    log = small_shop(rng, 0)
    for at, event in enumerate(small_shop(rng, 6000, 3000)):
        log.append(event)
        if at % 20 == 0:  # at 5% at once: several times the best
            log.append(act(len(log) + 10**6, f"u{(at // 20 * 7) % 300}", "pushed", event.ts))
    weights = Screen().weigh(log, [e.ts for e in log])
    rank, _ = standing(log, weights)
    assert rank <= 10


def test_a_hot_seller_with_a_history_may_sell_twice_as_much():
    rng = np.random.default_rng(6)
    screen = Screen()
    screen.weigh(honest(20_000, rng, users=5000))  # i0 has 14%
    log = honest(8000, rng, users=5000, first=20_000)
    log = [e if j % 6 else act(50_000 + j, e.user_id, "i0", e.ts) for j, e in enumerate(log)]
    weights = screen.weigh(log)
    assert weights.mean() > 0.99
    assert not screen.bursts()


# an operator
# ---------------------------------------------------------------------------------------------------------------
def pushed_shop() -> tuple[Screen, list[Any]]:
    rng = np.random.default_rng(7)
    screen = Screen()
    screen.weigh(honest(5000, rng))
    push = [act(9000 + n, f"u{n % 400}", "pushed", NOW + 5_000_000) for n in range(400)]
    screen.weigh(push)
    return screen, [act(20_000 + n, f"v{n}", "pushed", NOW + 5_000_000 + n) for n in range(200)]


def test_a_released_item_counts_fully_until_the_release_ends():
    screen, more = pushed_shop()
    kept, _ = pushed_shop()
    assert kept.weigh(more).mean() < 0.7
    assert screen.release("pushed") > 10
    assert screen.weigh(more).min() == 1
    late = NOW + 30 * DAY_MS
    again = [act(40_000 + n, f"w{n}", "pushed", late + n) for n in range(3000)]
    assert screen.weigh(again, [e.ts for e in again]).mean() < 0.7


def test_what_was_withheld_can_be_given_back():
    screen, more = pushed_shop()
    withheld = screen.release("pushed", give_back=True)
    weights = screen.weigh(more)
    assert weights.max() == 2
    assert weights.sum() == pytest.approx(len(more) + min(withheld, len(more)))


def test_nothing_is_kept_of_a_user_who_is_forgotten():
    log = honest(3000, np.random.default_rng(8))
    screen = Screen()
    screen.weigh([e for e in log if e.user_id != "u7"])
    mine = [act(4000 + n, "u7", "i3", log[-1].ts) for n in range(6)]
    with_me = Screen.restore(*screen.dump())
    with_me.weigh(mine)
    with_me.weigh([Forget(event_id="f", type="forget", user_id="u7", ts=log[-1].ts, scope="all")])
    arrays, meta = with_me.dump()
    arrays_without, meta_without = screen.dump()
    np.testing.assert_array_equal(arrays["pairs"], arrays_without["pairs"])
    assert meta["_users"] == meta_without["_users"]
    assert meta["_held"] == meta_without["_held"]
    assert with_me.weigh([act(5000, "u7", "i3", log[-1].ts)])[0] == 1


# laws
# ---------------------------------------------------------------------------------------------------------------------
@st.composite
def logs(draw: st.DrawFn) -> list[Any]:
    """Few users and items, so that every cap is met; pauses, wrong clocks, impressions and erasures."""
    ts, log = NOW, []
    for n in range(draw(st.integers(1, 200))):
        ts += draw(st.sampled_from([0, 0, 1000, 60_000, 4 * DAY_MS]))
        stamp = draw(st.sampled_from([ts] * 8 + [5, ts + 3000 * DAY_MS]))
        user = f"u{draw(st.integers(0, 8))}"
        kind = draw(st.sampled_from(["act"] * 12 + ["shown", "forget"]))
        if kind == "shown":
            log.append(
                Impression(event_id=f"e{n}", type="impression", user_id=user, ts=stamp, rec_id="r", item_ids=["i1"])
            )
        elif kind == "forget":
            log.append(Forget(event_id=f"e{n}", type="forget", user_id=user, ts=stamp, scope="all"))
        else:
            log.append(act(n, user, f"i{draw(st.sampled_from([0, 0, 0, *range(20)]))}", stamp))
    return log


def same(one: Screen, other: Screen) -> None:
    (a, a_meta), (b, b_meta) = one.dump(), other.dump()
    assert a_meta == b_meta
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@given(log=logs(), data=st.data())
@settings(max_examples=60)
def test_weights_are_the_same_wherever_the_log_is_cut(log, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=6)))
    whole, cut = Screen(SMALL), Screen(SMALL)
    weights = whole.weigh(log)
    pieces = [cut.weigh(log[a:b]) for a, b in zip([0, *cuts], [*cuts, len(log)], strict=True)]
    np.testing.assert_array_equal(weights, np.concatenate(pieces))
    same(whole, cut)
    assert ((weights >= 0) & (weights <= 1)).all()


@given(log=logs(), at=st.integers(0, 200))
@settings(max_examples=40)
def test_a_dumped_screen_goes_on_as_if_nothing_had_happened(log, at):
    screen = Screen(SMALL)
    screen.weigh(log[:at])
    arrays, meta = screen.dump()
    resumed = Screen.restore(arrays, json.loads(json.dumps(meta)), SMALL)
    same(screen, resumed)
    np.testing.assert_array_equal(screen.weigh(log[at:]), resumed.weigh(log[at:]))
    same(screen, resumed)
    assert screen.bursts() == resumed.bursts()


def test_what_is_kept_stays_within_its_bounds():
    screen = Screen(SMALL)
    for n in range(3000):
        screen.weigh([act(n, f"u{n}", f"i{n}", NOW + n)])
    arrays, meta = screen.dump()
    assert len(arrays["pairs"]) + len(arrays["pairs_before"]) <= SMALL.pairs + 2
    assert len(arrays["shares"]) <= SMALL.items + SMALL.block
    assert len(meta["tallies"]) <= SMALL.block


@pytest.mark.parametrize("name", ["steam", "games"])
def test_of_an_honest_log_less_than_a_hundredth_is_withheld(name):
    path = LOGS / name / "interactions.tsv.gz"
    if not path.exists():
        pytest.skip(f"the {name} log is not here: {path.parent.name} of shared/data")
    with gzip.open(path) as lines:
        next(lines)
        rows = sorted((line.split() for line in lines), key=lambda row: int(row[2]))
    screen, last = Screen(), rows[:150_000]
    for at in range(0, len(last), 1000):
        some = [act(at + n, u.decode(), i.decode(), int(t) * 1000) for n, (u, i, t) in enumerate(last[at : at + 1000])]
        screen.weigh(some, [e.ts for e in some])
    assert screen.withheld < 0.01 * screen.weighed
