"""Visits to items whose vectors have not come yet wait for them, across restarts, and are learnt from then."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys.keys import item_key
from recsys.learning.learner import Bounds, Learner, _number
from recsys.learning.sequence import Rates
from recsys.policy import Policy
from recsys.world import World
from schemas.events import EVENT
from schemas.items import Item

DIM, START = 8, 1_760_000_000_000
ITEMS = [Item(item_id=f"i{n}", title=f"thing {n}", categories=["things"]) for n in range(12)]
VECTORS = np.random.default_rng(1).standard_normal((len(ITEMS), DIM)).astype(np.float32)
BOUNDS, RATES = Bounds(first_fit=20), Rates(epochs=1, positions=64)


def world(*without: str) -> World:
    known = [(i.item_id, v) for i, v in zip(ITEMS, VECTORS, strict=True) if i.item_id not in without]
    return World.empty(DIM).advanced(ITEMS, known)


def visit(user: str, item: int, minute: int) -> Any:
    return EVENT.validate_python({
        "event_id": f"{user}-{item}-{minute}", "type": "interaction", "user_id": user, "action": "click",
        "ts": START + minute * 60_000, "item_id": f"i{item}",
    })  # fmt: skip


def path(learner: Learner, user: str) -> list[int]:
    """Items that a user turned to, as the sequence lane has them."""
    assert learner.sequence is not None
    names = {item_key(item.item_id): n for n, item in enumerate(ITEMS)}
    return [names[int(learner.sequence.keys[row])] for row, _, _ in learner.sequence._paths[_number(user)]]


def again(learner: Learner) -> Learner:
    return Learner.restore(*learner.dump(), learner.policy, learner.bounds, RATES)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_visit_is_learnt_from_once_the_vector_has_come(restarted: bool) -> None:
    learner = Learner(Policy(), BOUNDS, RATES)
    learner.follow(world("i7", "i8"), [visit("u", item, at) for at, item in enumerate((1, 7, 2, 8, 3))])
    assert path(learner, "u") == [1, 2, 3]
    assert learner.sequence is not None
    assert learner.sequence.visits == 3
    if restarted:
        learner = again(learner)
    learner.follow(world("i8"), [visit("u", 4, 9)])
    assert path(learner, "u") == [1, 7, 2, 3, 4]
    learner.follow(world(), [])
    assert path(learner, "u") == [1, 7, 2, 8, 3, 4]
    assert learner.sequence is not None
    assert learner.sequence.visits == 6
    learner.follow(world(), [])
    assert learner.sequence.visits == 6, "each once"


@pytest.mark.parametrize("restarted", [False, True])
def test_visits_wait_before_there_is_any_vector(restarted: bool) -> None:
    learner = Learner(Policy(), BOUNDS, RATES)
    learner.follow(world(*(item.item_id for item in ITEMS)), [visit("u", item, item) for item in range(6)])
    assert learner.sequence is None
    if restarted:
        learner = again(learner)
    learner.follow(world(), [])
    assert path(learner, "u") == [0, 1, 2, 3, 4, 5]


def test_a_fitted_model_moves_by_visits_that_came_late() -> None:
    learner = Learner(Policy(), BOUNDS, RATES)
    log = [visit(f"u{user}", (user + turn) % 7, turn * 2) for turn in range(5) for user in range(12)]
    learner.follow(world("i9"), [*log, *(visit(f"u{user}", 9, 3) for user in range(12))])
    while not learner.work(lambda: True, items=True):
        pass
    learner.work(lambda: True, items=True)
    before = learner.learnt().sequence
    learner = again(learner)
    learner.follow(world(), [])
    learner.work(lambda: True, items=True)
    after = learner.learnt().sequence
    assert before is not None
    assert after is not None
    key = np.array([item_key("i9")], np.uint64)
    assert len(before.keys) == len(after.keys) - 1
    assert after.out[after.keys == key].any(), "the item has learnt something of its own"


def test_an_erasure_takes_waiting_visits_along_and_counts_them() -> None:
    learner = Learner(Policy(), BOUNDS, RATES)
    learner.follow(world("i7"), [visit("u", 1, 0), visit("u", 7, 1), visit("other", 7, 2)])
    assert learner.forget("u") == 2
    learner = again(learner)
    learner.follow(world(), [])
    assert path(learner, "other") == [7]
    assert learner.sequence is not None
    assert _number("u") not in learner.sequence._paths


def test_no_more_wait_than_there_is_room_for_and_the_oldest_fall_out() -> None:
    learner = Learner(Policy(), Bounds(waiting=3), RATES)
    learner.follow(world("i7"), [visit("u", 1, 0), *(visit(f"u{n}", 7, n) for n in range(5))])
    learner = again(learner)
    learner.follow(world(), [])
    assert learner.sequence is not None
    assert [n for n in range(5) if _number(f"u{n}") in learner.sequence._paths] == [2, 3, 4]


def test_a_checkpoint_from_before_visits_waited_is_read() -> None:
    learner = Learner(Policy(), BOUNDS, RATES)
    learner.follow(world(), [visit("u", 1, 0)])
    arrays, meta = learner.dump()
    old = {name: array for name, array in arrays.items() if not name.startswith("waiting.")}
    for name in ("seed", "steps", "decay"):
        del meta["sequence"][name]
    assert path(Learner.restore(old, meta, Policy(), BOUNDS, RATES), "u") == [1]


def test_a_catalogue_that_has_grown_too_large_lets_nothing_wait_and_known_items_go_on() -> None:
    learner = Learner(Policy(), Bounds(items=len(ITEMS) - 1), RATES)
    learner.follow(World.empty(DIM).advanced(ITEMS[:4], [(i.item_id, VECTORS[0]) for i in ITEMS[:4]]), [])
    learner.follow(world("i7"), [visit("u", 1, 0), visit("u", 7, 1)])
    assert path(learner, "u") == [1]
    assert not len(learner._waiting)
