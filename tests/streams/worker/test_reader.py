"""The reader alone on the real broker: partitions change hands while it is busy, and nothing stays unread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from streams.kafka.clients import consumer
from streams.worker import reader as module
from streams.worker.driver import CLIENT, fetching
from streams.worker.reader import Reader
from tests.patience import PATIENCE_S

from .conftest import PARTITIONS, Lab

Read = dict[int, list[int]]


class Member:
    """A reader of a group that reads on where the group's members left off, as a worker does from its store."""

    def __init__(self, lab: Lab, name: str, positions: dict[int, int], read: Read) -> None:
        self.positions, self.read = positions, read
        self.due: set[int] = set()
        self.busy = asyncio.Event()  # cleared: it asks for nothing
        self.busy.set()
        # quick to notice what the test does: the group waits for nobody
        extra = CLIENT | fetching(5) | {"session.timeout.ms": 6000, "heartbeat.interval.ms": 200, "client.id": name}
        make = lambda told: consumer(lab.settings, "readers", extra=extra | {"on_commit": told})  # noqa: E731
        self.reader = Reader(make, lab.topic("events"), self.assigned, self.revoked)
        self.reader.start()
        self.task = asyncio.create_task(self.run())

    async def assigned(self, partitions: set[int]) -> None:
        self.due = set(partitions)

    async def revoked(self, partitions: set[int]) -> None:
        self.due = set()
        await self.reader.commit({at: self.positions[at] for at in partitions})

    async def run(self) -> None:
        while True:
            await self.busy.wait()
            if self.due:
                due, self.due = self.due, set()
                await self.reader.read_from({at: self.positions[at] for at in due})
            for at, fetched in (await self.reader.take(1000, 0.05)).items():
                offsets = [record.offset for record in fetched.records]
                self.read[at] += offsets
                self.positions[at] = offsets[-1] + 1
                await self.reader.commit({at: offsets[-1] + 1})
            await asyncio.sleep(0.005)

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.reader.stop()


@pytest.fixture
def read() -> Read:
    return {at: [] for at in range(PARTITIONS)}


async def until(done: Callable[[], Any], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not done():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


def whole(lab: Lab, read: Read) -> bool:
    return {at: len(offsets) for at, offsets in read.items()} == lab.ends("events")


def test_partitions_that_come_back_to_a_paused_reader_are_read_on(
    lab: Lab, read: Read, shoppers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNASKED_S", 0.1)

    async def scenario() -> None:
        positions = dict.fromkeys(range(PARTITIONS), 0)
        member = partial(Member, lab, positions=positions, read=read)
        first = member("first")
        await asyncio.to_thread(lab.send, shoppers(300))
        await until(lambda: sum(map(len, read.values())) == 300, "the first records")
        for round_no in range(2):
            first.busy.clear()
            await until(lambda: first.reader._paused, "a reader that nobody asks to pause")
            other = member(f"other-{round_no}")
            await until(lambda: 0 < len(first.reader.assignment) < PARTITIONS, "the other to get its share")
            await asyncio.to_thread(lab.send, shoppers(100, start=300 + 200 * round_no))
            first.busy.set()
            await until(lambda n=round_no: sum(map(len, read.values())) == 400 + 200 * n, "records read by both")
            first.busy.clear()
            await until(lambda: first.reader._paused, "it to pause again")
            await other.end()
            await until(lambda: len(first.reader.assignment) == PARTITIONS, "the other's share to come back")
            first.busy.set()
            await asyncio.to_thread(lab.send, shoppers(100, start=400 + 200 * round_no))
            await until(lambda n=round_no: sum(map(len, read.values())) == 500 + 200 * n, "records of all partitions")
        await first.end()

    asyncio.run(scenario())
    assert whole(lab, read)
    assert all(offsets == sorted(set(offsets)) for offsets in read.values())  # in order, none of them twice


def test_what_came_while_nobody_asked_is_read_once_although_another_partition_is_opened_anew(
    lab: Lab, read: Read, shoppers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNASKED_S", 0.05)

    async def scenario() -> None:
        one = Member(lab, "one", dict.fromkeys(range(PARTITIONS), 0), read)
        await asyncio.to_thread(lab.send, shoppers(150))
        await until(lambda: sum(map(len, read.values())) == 150, "the first records")
        for at in range(20):
            one.busy.clear()
            await asyncio.to_thread(lab.send, shoppers(30, start=150 + 30 * at))
            await asyncio.sleep(0.02 * (at % 6))  # now before, now after it pauses
            one.due = {at % PARTITIONS}
            one.busy.set()
            await until(lambda n=at: sum(map(len, read.values())) >= 180 + 30 * n, "what was sent meanwhile")
        await one.end()

    asyncio.run(scenario())
    assert whole(lab, read)
    assert all(offsets == sorted(set(offsets)) for offsets in read.values())


def test_a_partition_whose_resume_was_lost_is_read_on(
    lab: Lab, read: Read, shoppers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNASKED_S", 0.05)
    monkeypatch.setattr(module, "LOOK_S", 0.1)

    async def scenario() -> None:
        one = Member(lab, "one", dict.fromkeys(range(PARTITIONS), 0), read)
        await asyncio.to_thread(lab.send, shoppers(150))
        await until(lambda: sum(map(len, read.values())) == 150, "the first records")
        one.busy.clear()
        await until(lambda: one.reader._paused, "a reader that nobody asks to pause")
        resume = one.reader._resume

        def lost() -> None:
            """All that follows a resume, but for what it does: as librdkafka has it when a start overtakes it."""
            with monkeypatch.context() as patch:
                patch.setattr(one.reader, "_places", lambda partitions=None: [])
                resume()

        monkeypatch.setattr(one.reader, "_resume", lost)
        await asyncio.to_thread(lab.send, shoppers(30, start=150))
        one.busy.set()
        await until(lambda: sum(map(len, read.values())) == 180, "what was sent meanwhile")
        await one.end()

    asyncio.run(scenario())
    assert whole(lab, read)
    assert all(offsets == sorted(set(offsets)) for offsets in read.values())


class Deaf:
    """A consumer that loses the start of a partition, once: as librdkafka does on a resume at the same time."""

    def __init__(self, consumer: Any, partition: int) -> None:
        self.consumer, self.lost, self.assigned = consumer, partition, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.consumer, name)

    def assign(self, places: list[Any]) -> None:
        self.assigned += 1
        self.consumer.assign([one for one in places if one.partition != self.lost])
        self.lost = -1


def test_a_partition_whose_start_was_lost_is_started_again(
    lab: Lab, read: Read, shoppers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.1)
    monkeypatch.setattr(module, "SILENT_S", 0.5)

    async def scenario() -> None:
        one = Member(lab, "one", dict.fromkeys(range(PARTITIONS), 0), read)
        await asyncio.to_thread(lab.send, shoppers(150))
        await until(lambda: sum(map(len, read.values())) == 150, "the first records")
        one.reader._consumer = deaf = Deaf(one.reader._consumer, 1)
        one.due = {0}
        await until(lambda: deaf.assigned, "a new start")
        await asyncio.to_thread(lab.send, shoppers(30, start=150))
        await until(lambda: sum(map(len, read.values())) == 180, "what was sent meanwhile")
        assert deaf.assigned == 2
        await asyncio.sleep(1.5)
        assert deaf.assigned == 2, "what is silent as there is nothing is left alone"
        await one.end()

    asyncio.run(scenario())
    assert whole(lab, read)
    assert all(offsets == sorted(set(offsets)) for offsets in read.values())


def test_a_callback_that_times_out_does_not_hold_the_reader_for_ever(lab: Lab, read: Read) -> None:
    async def scenario() -> None:
        member = Member(lab, "one", dict.fromkeys(range(PARTITIONS), 0), read)

        async def late(partitions: set[int]) -> None:
            raise TimeoutError("this took too long")

        member.reader._told = (late, late)
        with pytest.raises(TimeoutError, match="too long"):
            await asyncio.wait_for(member.task, PATIENCE_S)
        await member.end()

    asyncio.run(scenario())


def test_what_has_come_is_taken_when_the_one_who_steps_is_free(lab: Lab, shoppers: Any) -> None:
    async def scenario() -> None:
        due: set[int] = set()

        async def assigned(partitions: set[int]) -> None:
            due.update(partitions)

        async def revoked(_: set[int]) -> None: ...

        extra = CLIENT | fetching(0)
        make = lambda told: consumer(lab.settings, "readers", extra=extra | {"on_commit": told})  # noqa: E731
        reader = Reader(make, lab.topic("events"), assigned, revoked)
        reader.start()
        await until(lambda: len(due) == PARTITIONS, "an assignment")
        await reader.read_from(dict.fromkeys(due, 0))
        free, count = threading.Event(), 0
        await asyncio.to_thread(lab.send, shoppers(40))
        for _ in range(3):
            assert await reader.take(100, 0.05, free) == {}
        waiting = asyncio.create_task(reader.take(100, PATIENCE_S, free))
        free.set()
        while count < 40:
            count += sum(len(one.records) for one in (await waiting).values())
            waiting = asyncio.create_task(reader.take(100, 0.2, free))
        await waiting
        assert count == 40
        await reader.stop()

    asyncio.run(scenario())
