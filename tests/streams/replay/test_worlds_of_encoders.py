"""Worlds on whatever encoder a feed went over to are made again: any order of records, at any moment of the change."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from recsys.index import cells, dense
from schemas.items import Item
from schemas.releases import Release
from streams import encoders
from streams.models import Models
from streams.replay.errors import WorldGone
from streams.replay.journal import Stretch

FROZEN = 3
"""Three encoders are tuned, this one is the frozen one."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty items are a large catalogue."""
    monkeypatch.setattr(dense, "EXACT", 30)
    monkeypatch.setattr(dense, "_TAIL", 8)
    monkeypatch.setattr(cells, "_TRAIN_A_CELL", 1)
    monkeypatch.setattr(cells, "RECALL", 0.1)


Operation = tuple[str, int, int]
KINDS = [
    "tune", "part", "text", "text", "text only", "vector", "vector", "withdraw", "items", "vectors",
    "catch up", "catch up", "build", "build", "build", "slow",
]  # fmt: skip
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 4), st.integers(0, FROZEN)), min_size=20, max_size=60
)


def carried_out(run: Any, operations: list[Operation]) -> None:
    former = last = FROZEN
    for n in range(5):
        run.item(n)
        run.vector(n, FROZEN)
    for what, n, which in operations:
        either = (former, last)[which % 2]  # the encoder role encodes for the one in use and for the next
        match what:
            case "tune":
                if which != last:
                    former, last = last, which
                run.turn()
                run.tune(which)
                for one in range(5):
                    run.vector(one, which)
                run.read("item-vectors", n)
                run.build()
                run.turn()
            case "part":
                for one in range(n):
                    run.vector(one, either)
            case "text":
                run.item(n, f"thing {n} {which}")
                run.vector(n, *{former, last})
            case "text only":
                run.item(n, f"thing {n} {which}")
            case "vector":
                run.vector(n, either)
            case "withdraw":
                run.withdraw(n)
            case "items":
                run.read("items", 1 + n)
            case "vectors":
                run.read("item-vectors", 1 + 2 * n)
            case "catch up":
                run.turn(build=False)
            case _:
                run.build(done=what == "build")


@pytest.mark.parametrize("share", [0.995, 0.6])
@examples(max_examples=60)
@given(operations=OPERATIONS, every=st.integers(1, 3))
def test_any_world_of_any_encoder_comes_back(begun: Any, share: float, operations: list[Operation], every: int) -> None:
    run = begun()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "_SHARE", share)
        carried_out(run, operations)
    stretches = run.stretches()[::every]  # a worker does not serve each World
    with run.worlds(stretches) as made:
        for stretch, snapshot in zip(stretches, run.snapshots[::every], strict=True):
            assert run.found(made.of(stretch)) == run.found(snapshot.world)
        for at in (len(stretches) // 2, -1, 0):  # another worker, which is behind
            if stretches:
                assert run.found(made.of(stretches[at])) == run.found(run.snapshots[::every][at].world)


def test_an_index_of_the_next_encoder_that_was_built_while_the_former_one_served_comes_back(
    run: Any, small: None
) -> None:
    rnd, items, target = random.Random(3), 0, FROZEN
    for which in (FROZEN, 0, 1, 0, FROZEN):
        if which != FROZEN or target != FROZEN:
            run.tune(which)
        for n in range(items):
            run.vector(n, which)
        former, target = target, which
        for step in range(12):  # what is new meanwhile has a vector of each
            for _ in range(40 if not items else rnd.randrange(6)):
                run.item(items)
                run.vector(items, *{former, target})
                items += 1
            run.item(changed := rnd.randrange(items), f"text {items} {step}")
            run.vector(changed, *{former, target})
            if step % 3 == 1:
                run.withdraw(rnd.randrange(items))
            run.turn(build=False)
            run.build(done=step % 4 == 3)
    stretches = run.stretches()
    ids = [one.encoder_id for one in run.snapshots]
    assert [i for at, i in enumerate(ids) if at == 0 or ids[at - 1] != i] == [
        run.IDS[n] for n in (FROZEN, 0, 1, 0, FROZEN)
    ]
    first = [next(s for s, i in zip(stretches, ids, strict=True) if i == run.IDS[n]) for n in (0, 1)]
    assert all(0 < one.index["items"][0] < one.positions["items"][0] for one in first), "built before, from less"
    with run.worlds(stretches) as made:
        for at in [*range(len(stretches)), 5, len(stretches) - 1, len(stretches) // 2]:
            assert run.found(made.of(stretches[at])) == run.found(run.snapshots[at].world)


def test_workers_that_go_over_at_different_moments_are_followed_back_and_forth(run: Any) -> None:
    for n in range(9):
        run.item(n)
        run.vector(n, FROZEN)
    run.turn()
    run.tune(0)
    for n in range(9):
        run.vector(n, 0)
    for n in range(9, 14):
        run.item(n)
        run.vector(n, FROZEN, 0)
    slow, quick = [], []
    for _ in range(4):
        run.read("items", 6)
        run.read("item-vectors", 7)
        run.build(done=False)
        slow.append(len(run.snapshots) - 1)
    run.turn()
    quick.append(len(run.snapshots) - 1)
    stretches = run.stretches()
    with run.worlds(stretches) as made:
        for at in (slow[0], quick[-1], slow[1], quick[-1], slow[2], slow[-1], quick[-1]):
            assert run.found(made.of(stretches[at])) == run.found(run.snapshots[at].world)
        assert {run.snapshots[at].encoder_id for at in (slow[-1], quick[-1])} == {run.IDS[FROZEN], run.IDS[0]}


def come_back(run: Any, *which: int) -> None:
    """Of the Worlds so far, these are all that served anybody."""
    stretches = run.stretches()
    with run.worlds([stretches[at] for at in which]) as made:
        for at in which:
            assert run.found(made.of(stretches[at])) == run.found(run.snapshots[at].world)


@pytest.mark.parametrize("items", [5, 100])
def test_vectors_that_workers_had_let_go_of_before_the_way_back_are_not_in_its_worlds(
    run: Any, items: int, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "_SHARE", 0.6)
    for n in range(items):
        run.item(n)
        run.vector(n, FROZEN)
    run.turn()
    for which in (0, 1):
        run.tune(which)
        for n in range(items):
            run.vector(n, which)
        run.turn()
    run.tune(FROZEN)
    for n in range(items):
        run.vector(n, FROZEN)
        if n % (items // 5) == items // 5 - 1:
            run.turn()
    whole = {one.world.whole_items for one in run.snapshots if one.encoder_id == run.IDS[FROZEN]}
    assert whole == {3 * items // 5, 4 * items // 5, items}
    come_back(run, *range(len(run.snapshots)))


@pytest.mark.parametrize("at_once", [True, False])
def test_an_item_that_went_and_came_back_as_it_was_has_its_vector_or_not(run: Any, at_once: bool) -> None:
    for n in range(2):
        run.item(n)
        run.vector(n, FROZEN)
    run.turn()
    run.withdraw(0)
    if not at_once:
        run.turn()
    run.item(0)
    run.turn()
    assert run.snapshots[-1].world.whole_items == (2 if at_once else 1)
    come_back(run, 0, len(run.snapshots) - 1)


@pytest.mark.parametrize("in_time", [True, False])
def test_a_vector_that_was_overtaken_by_that_of_the_next_text_is_there_or_not(run: Any, in_time: bool) -> None:
    run.item(0)
    run.vector(0, FROZEN)
    run.texts["i0"] = Item(item_id="i0", title="the next text, which comes later")
    run.vector(0, FROZEN)
    run.item(1)
    if in_time:
        run.read("items", 1)
        run.read("item-vectors", 1)
        run.build()
    run.read("item-vectors")
    run.turn()
    assert run.snapshots[-1].world.whole_items == in_time
    come_back(run, len(run.snapshots) - 1)


def tuned(run: Any) -> tuple[Release, Stretch]:
    """A run that went over to a tuned encoder: its release, and the last Stretch."""
    run.item(0)
    run.vector(0, FROZEN)
    run.turn()
    release = run.tune(0)
    run.vector(0, 0)
    run.turn()
    return release, run.stretches()[-1]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [("gone", "no file at .*HEADWATER_RELEASES_URL"), ("damaged", "is damaged"), ("record", "30 days")],
)
def test_an_adapter_that_cannot_be_had_is_an_error_that_names_its_release_or_the_one_before_serves(
    run: Any, spoil: str, why: str
) -> None:
    release, stretch = tuned(run)
    assert stretch.names["release_id"] == release.release_id
    path = Path(release.uri.removeprefix("file://"))
    whole = path.read_bytes()
    if spoil == "gone":
        path.unlink()
    elif spoil == "damaged":
        path.write_bytes(whole[:-1] + b"\0")
    else:
        run.logs["releases"].clear()
    with (
        run.worlds([stretch]) as made,
        pytest.raises(WorldGone, match=rf"offset \d+ on: .*encoder release {release.release_id},.*{why}.*--tolerant"),
    ):
        made.of(stretch)
    said: list[str] = []
    with run.worlds([stretch], said.append, tolerant=True) as made:
        world = made.of(stretch)
    assert f"{release.release_id} cannot be had" in said[0]
    assert said[0].endswith("going on with the frozen encoder")
    assert world.whole_items == 1
    assert world.encode_query is not None
    assert np.array_equal(world.encode_query("?"), run.embed(run.IDS[FROZEN], "?"))
    path.write_bytes(whole)


@pytest.mark.parametrize("base", [None, "another"])
def test_a_replay_with_another_text_encoder_than_the_one_that_was_tuned_says_so(run: Any, base: str | None) -> None:
    release, stretch = tuned(run)
    run.models = Models(base, 8 if base else 0, None, "cpu")
    with (
        run.worlds([stretch]) as made,
        pytest.raises(WorldGone, match=rf"{release.release_id}.*frozen.*{base or 'none'}.*HEADWATER_ENCODER"),
    ):
        made.of(stretch)
