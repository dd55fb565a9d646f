"""A partition in a worker's hands, by itself: on the memory store, with the stand-in for the core."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.settings import Settings
from streams.store.contract import Answered, StoreAway
from streams.store.memory import MemoryStore
from streams.worker.outbox import Envelopes
from streams.worker.partition import Batch, Partition, apply_together
from streams.worker.patience import Patience

USER = "ann"


class Saver:
    """Saves at once, or what it was given when it is told to."""

    def __init__(self, store: MemoryStore, *, at_once: bool = True) -> None:
        self.store, self.at_once = store, at_once
        self.answers: list[Any] = []
        self.waiting: list[Any] = []

    def drain(self, abandon: threading.Event) -> None: ...

    def pass_on(self, job: Any) -> None: ...

    def submit(self, tasks: Any) -> None:
        self.waiting += tasks
        if self.at_once:
            self.save(len(self.waiting))

    def save(self, n: int) -> None:
        """The first `n` of what waits."""
        tasks, self.waiting = self.waiting[:n], self.waiting[n:]
        self.answers += self.store.save_all([task.save for task in tasks])
        for task in tasks:
            task.saved()


@pytest.fixture
def saver() -> Saver:
    return Saver(MemoryStore())


@pytest.fixture
def opened(stand_in: Any, saver: Saver) -> Any:
    """A Partition as a worker makes it when the group gives it one, and how it applies the events at some offsets."""
    core, envelopes = stand_in.core(Settings()), Envelopes("t")

    def open_() -> Any:
        made = Partition(0, core, saver.store, saver, Patience(), envelopes, max_record_bytes=1 << 20, cached_users=10)  # type: ignore[arg-type]
        made.open(1, threading.Event())

        def apply(*offsets: int) -> Any:
            records = [SimpleNamespace(offset=at, key=USER.encode(), value=event(at)) for at in offsets]
            return apply_together(core, envelopes, saver, [(made, Batch(0, 1, records, 5))])  # type: ignore[arg-type]

        return apply

    return open_


def event(at: int, user: str = USER) -> bytes:
    return orjson.dumps({
        "event_id": f"e{at}", "type": "interaction", "user_id": user, "ts": 1_700_000_000_000 + at, "action": "view",
        "item_id": "i",
    })  # fmt: skip


def test_a_partition_that_comes_back_while_nobody_else_saved_it_is_saved_on(opened: Any, saver: Saver) -> None:
    first = opened()
    assert first(0) == [True]
    second = opened()  # it was with another worker, which had nothing to do
    assert second(1, 2) == [True]
    assert saver.store.position(0).offset == 2
    assert len(saver.store.pending(0)) == saver.answers[-1] > saver.answers[0] > 0
    assert second(2) == [False]


# users that are looked up while another batch is stepped
# ----------------------------------------------------------------------------------------------------------------------
class Line:
    """A partition whose batches wait in line; everything that another thread does is done when the test says."""

    def __init__(self, stand_in: Any, cached_users: int) -> None:
        self.core, self.envelopes = stand_in.core(Settings()), Envelopes("t")
        self.store = MemoryStore()
        self.saver = Saver(self.store, at_once=False)
        self.partition = Partition(
            0, self.core, self.store, self.saver, Patience(), self.envelopes,  # type: ignore[arg-type]
            max_record_bytes=1 << 20, cached_users=cached_users,
        )  # fmt: skip
        self.partition.open(1, threading.Event())
        self.offset, self.batches = 0, list[Batch]()
        self.asks: list[Callable[[], None]] = []
        self.log: dict[str, list[str]] = {}

    def arrive(self, users: list[str]) -> None:
        records = []
        for user in users:
            records.append(SimpleNamespace(offset=self.offset, key=user.encode(), value=event(self.offset, user)))
            self.log.setdefault(user, []).append(f"e{self.offset}")
            self.offset += 1
        batch, ask = self.partition.look_ahead(Batch(0, 1, records, 5))
        self.batches.append(batch)
        if ask is not None:
            self.asks.append(ask)

    def ask(self) -> None:
        if self.asks:
            self.asks.pop(0)()

    def step(self, together: int) -> None:
        batches, self.batches = self.batches[:together], self.batches[together:]
        for ask in self.asks:  # the step would wait for them
            ask()
        self.asks.clear()
        whole = batches[0]
        for batch in batches[1:]:
            whole = whole.followed_by(batch)
        assert apply_together(self.core, self.envelopes, self.saver, [(self.partition, whole)]) == [True]  # type: ignore[arg-type]

    def end(self) -> dict[str, dict[bytes, bytes]]:
        while self.batches:
            self.step(1)
        self.saver.save(len(self.saver.waiting))
        return self.store.load(0, sorted(self.log))[1]


moves = st.one_of(
    st.tuples(st.just("arrive"), st.lists(st.sampled_from("abc"), min_size=1, max_size=2)),
    st.tuples(st.just("ask"), st.none()),
    st.tuples(st.just("step"), st.sampled_from([1, 1, 2])),
    st.tuples(st.just("save"), st.integers(1, 2)),
)


@example(
    doings=[("arrive", ["a"]), ("arrive", ["b"]), ("arrive", ["a"]), ("step", 1), ("save", 1), ("step", 1)],
    cached_users=0,
)
@given(doings=st.lists(moves, min_size=10, max_size=40), cached_users=st.integers(0, 2))
def test_users_looked_up_ahead_are_never_older_than_what_was_stepped(
    stand_in: Any, doings: list[tuple[str, Any]], cached_users: int
) -> None:
    line = Line(stand_in, cached_users)
    for what, how in doings:
        if what == "arrive":
            line.arrive(how)
        elif what == "ask":
            line.ask()
        elif what == "step" and line.batches:
            line.step(how)
        elif what == "save":
            line.saver.save(how)
    stored = line.end()
    assert not any(isinstance(answer, Exception) for answer in line.saver.answers)
    for user, events in line.log.items():
        digest = b""
        for event_id in events:
            digest = hashlib.sha256(digest + event_id.encode()).digest()
        assert stored[user][b"state"] == b"%d:%s" % (len(events), digest.hex().encode())


def test_a_batch_takes_what_was_looked_up_and_asks_only_for_the_rest(
    stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(stand_in, cached_users=0)
    for users in (["ann", "bob", "cem"], ["eve"]):  # then only eve is in memory
        line.arrive(users)
        line.step(1)
        line.saver.save(1)
    asked: list[list[str]] = []
    load = line.store.load
    monkeypatch.setattr(line.store, "load", lambda number, ids: (asked.append(list(ids)), load(number, ids))[1])
    line.arrive(["ann", "bob"])
    line.arrive(["bob", "cem", "eve"])
    line.ask()
    line.ask()
    assert asked == [["ann", "bob"], ["bob", "cem"]]
    line.step(1)
    line.saver.save(1)
    line.step(1)
    assert asked[2:] == [], "bob was stepped since, and is still in memory; cem and eve are as they were"
    line.arrive(["dan"])
    monkeypatch.setattr(line.store, "ask", lambda number, ids: (_ for _ in ()).throw(StoreAway("no answer")))
    line.step(1)
    assert asked[2:] == [["dan"]], "what could not be looked up the batch asks for itself"


def test_what_was_looked_up_for_a_batch_that_is_not_stepped_is_dropped(
    stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[str] = []
    monkeypatch.setattr(Answered, "drop", lambda self: dropped.extend(self.loaded[1]))
    line = Line(stand_in, cached_users=0)
    line.arrive(["ann"])
    line.step(1)
    line.saver.save(1)
    line.arrive(["bob"])
    line.step(1)
    line.saver.save(1)
    line.arrive(["ann"])
    line.ask()
    line.partition.open(2, threading.Event())
    assert dropped == ["ann"]
    line.batches.clear()
    line.offset = 0
    line.arrive(["ann"])  # read again
    line.ask()
    assert apply_together(line.core, line.envelopes, line.saver, [(line.partition, line.batches[0])]) == [False]  # type: ignore[arg-type]
    assert dropped == ["ann", "ann"]
