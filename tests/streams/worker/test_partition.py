"""A partition in a worker's hands, by itself: on the memory store, with the stand-in for the core."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from streams.settings import Settings
from streams.store.memory import MemoryStore
from streams.worker.outbox import Envelopes
from streams.worker.partition import Batch, Partition, apply_together
from streams.worker.patience import Patience

USER = "ann"


class Saver:
    """Saves at once."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.answers: list[Any] = []

    def drain(self, abandon: threading.Event) -> None: ...

    def pass_on(self, job: Any) -> None: ...

    def submit(self, tasks: Any) -> None:
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


def event(at: int) -> bytes:
    return orjson.dumps({
        "event_id": f"e{at}", "type": "interaction", "user_id": USER, "ts": 1_700_000_000_000 + at, "action": "view",
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
