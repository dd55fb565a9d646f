"""Tape: a topic as it stood at one moment, read partition by partition, forwards, as far as one asks.

In: a topic's short name. Out: its records in the order of each partition. What is read ahead of one partition while
another is asked for waits in a bounded buffer.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping

from confluent_kafka import KafkaError, Message, TopicPartition

from schemas.topics import TOPICS
from streams.kafka.clients import consumer
from streams.records.read import ends as ends_of
from streams.settings import Settings

_BULK = 2000
_AHEAD = 20_000  # records of a partition that wait for being asked for
_PATIENCE_S = 60.0


class Tape:
    """`lows` and `ends`: first and next offset of each partition when the tape was made. Use it as a context manager.

    Raises NoSuchTopic, KafkaException, TimeoutError.
    """

    def __init__(self, settings: Settings, topic: str, only: int | None = None) -> None:
        self._name = TOPICS[topic].full_name(settings.namespace)
        self._consumer = consumer(
            settings,
            f"{settings.namespace}.replay",  # librdkafka wants a name; this group has no members
            extra={"enable.partition.eof": True, "fetch.wait.max.ms": 20, "queued.max.messages.kbytes": 32 << 10},
        )
        marks = {p: mark for p, mark in ends_of(self._consumer, self._name).items() if only is None or p == only}
        self.lows = {partition: low for partition, (low, _) in marks.items()}
        self.ends = {partition: end for partition, (_, end) in marks.items()}
        self.read = 0
        """Records given out so far."""
        self._waiting: dict[int, deque[Message]] = {partition: deque() for partition in marks}
        self._at = dict(self.lows)  # next offset to come from the broker
        self._paused: set[int] = set()
        self._consumer.assign([self._place(p, low) for p, low in self.lows.items()])

    def __enter__(self) -> Tape:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def upto(self, partition: int, offset: int) -> Iterator[Message]:
        """The records below `offset` that were not given out before; none beyond the tape's end."""
        if partition not in self._waiting:
            return
        waiting = self._waiting[partition]
        offset = min(offset, self.ends[partition])
        while waiting or self._fill(partition, offset):
            message = waiting[0]
            if (message.offset() or 0) >= offset:
                return
            waiting.popleft()
            self.read += 1
            yield message

    def all(self) -> Iterator[Message]:
        """Everything, partition by partition."""
        for partition in sorted(self.ends):
            yield from self.upto(partition, self.ends[partition])

    def offsets_at(self, time_ms: int) -> dict[int, int]:
        """For each partition the first offset that arrived at this time or later."""
        places = self._consumer.offsets_for_times([self._place(p, time_ms) for p in self.ends], timeout=10)
        return {one.partition: one.offset if one.offset >= 0 else self.ends[one.partition] for one in places}

    def _fill(self, partition: int, offset: int) -> bool:
        """Reads until there is a record of this partition; False if there is none below `offset`."""
        waiting, last = self._waiting[partition], time.monotonic()
        if partition in self._paused:
            self._paused.discard(partition)
            self._consumer.resume([self._place(partition)])
        while not waiting and self._at[partition] < offset:
            for message in self._consumer.consume(_BULK, 0.5):
                self._take(message)
                last = time.monotonic()
            if time.monotonic() - last > _PATIENCE_S:
                raise TimeoutError(
                    f"{self._name}, partition {partition}: nothing came for {_PATIENCE_S:.0f} s at offset "
                    f"{self._at[partition]} of {self.ends[partition]}. Check that Kafka runs, and replay again."
                )
        return bool(waiting)

    def _take(self, message: Message) -> None:
        number, error = message.partition() or 0, message.error()
        if error is not None:
            # the last records below an end can be gone: compacted away, or the marks of a transaction
            if error.code() == KafkaError._PARTITION_EOF:
                self._at[number] = max(self._at[number], message.offset() or 0)
            elif error.fatal():
                raise ConnectionError(error.str())
            return
        self._at[number] = (message.offset() or 0) + 1
        waiting = self._waiting[number]
        waiting.append(message)
        if len(waiting) > _AHEAD and number not in self._paused:
            self._paused.add(number)
            self._consumer.pause([self._place(number)])

    def _place(self, partition: int, offset: int | None = None) -> TopicPartition:
        if offset is None:
            return TopicPartition(self._name, partition)
        return TopicPartition(self._name, partition, offset)


def sum_of(positions: Mapping[str, Mapping[int, int]]) -> int:
    """How far positions are: of two, one of which is nowhere behind the other, the greater is the later."""
    return sum(at for by_partition in positions.values() for at in by_partition.values())
