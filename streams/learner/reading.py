"""Reading topics whole: all partitions, from given offsets, by one process and outside of any group.

In: short names of topics and where to start. Out: records as they come, and how far each partition was read.
A partition that is added to a topic later is read from its beginning.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from schemas.releases import Release
from schemas.topics import TOPICS
from streams.kafka.clients import consumer
from streams.settings import Settings

_APPENDED = 2  # the type of a stamp that the broker gave
_LOOK_S = 10.0  # between two looks for new partitions
_TAIL = 500
log = structlog.get_logger(__name__)


class Reader:
    """`positions[topic][partition]` is the next offset to be read. Use it as a context manager."""

    def __init__(self, settings: Settings, starts: Mapping[str, Mapping[int, int]]) -> None:
        """`starts`: short name of topic -> {partition: offset}; where a partition is not named, its beginning.

        Raises KafkaException when the brokers do not answer.
        """
        self._names = {TOPICS[topic].full_name(settings.namespace): topic for topic in starts}
        self.positions: dict[str, dict[int, int]] = {topic: {} for topic in starts}
        self.ends: dict[str, dict[int, int]] = {topic: {} for topic in starts}
        """The end of each partition when this reader found it."""
        self._consumer: Consumer = consumer(
            settings,
            f"{settings.namespace}-reader",  # librdkafka wants a name; this group has no members
            extra={"fetch.wait.max.ms": 100, "queued.max.messages.kbytes": 32_768},
        )
        self.cluster_id = ""
        self._find(starts)
        self._looked = time.monotonic()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def _find(self, starts: Mapping[str, Mapping[int, int]]) -> None:
        added = []
        for name, topic in self._names.items():
            known = self._consumer.list_topics(name, timeout=10)
            self.cluster_id = known.cluster_id or ""
            for partition in known.topics[name].partitions:
                if partition in self.positions[topic]:
                    continue
                low, high = self._consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=10)
                start = starts.get(topic, {}).get(partition, low)
                if start < low:
                    log.warning("reader.gap", topic=topic, partition=partition, lost=low - start)
                start = max(start, low)
                self.positions[topic][partition], self.ends[topic][partition] = start, high
                added.append(TopicPartition(name, partition, start))
        if added:
            self._consumer.incremental_assign(added)

    def take(self, most: int, timeout: float) -> list[tuple[str, Message]]:
        """Up to `most` records with the short names of their topics; waits up to `timeout` seconds for the first."""
        if time.monotonic() - self._looked > _LOOK_S:
            self._looked = time.monotonic()
            try:
                self._find({})
            except KafkaException as error:
                log.warning("reader.kafka_away", error=str(error.args[0]))
        found = []
        for message in self._consumer.consume(most, timeout):
            if (fault := message.error()) is not None:
                # librdkafka goes on by itself once the broker is back
                log.warning("reader.error", error=str(fault))
                continue
            topic = self._names[message.topic() or ""]
            self.positions[topic][message.partition() or 0] = (message.offset() or 0) + 1
            found.append((topic, message))
        return found

    def behind(self, *topics: str) -> bool:
        """Whether one of these is not yet read to where it ended when it was found."""
        return any(
            self.positions[topic][partition] < end
            for topic in topics or self.ends
            for partition, end in self.ends[topic].items()
        )


def received_ms(record: Message, now_ms: int) -> int:
    """When the log got a record, by the log's own clock. A stamp that a producer made up bounds nothing: then it is
    `now_ms`, the time of reading."""
    kind, stamp = record.timestamp()
    return stamp if kind == _APPENDED else now_ms


def read_through(before_ms: int, received: Sequence[int], now_ms: int) -> int:
    """The log's time once records of these stamps are read too, `before_ms` until then: the latest of them, and never
    later than `now_ms`. So a clock that ran ahead for a while and was put right is forgotten."""
    return min(max(before_ms, *received), now_ms)


def last_release(settings: Settings, role: str) -> Release | None:
    """The newest release of a role on the topic. Raises KafkaException when the brokers do not answer."""
    return last_releases(settings, [role])[role]


def last_releases(settings: Settings, roles: Sequence[str]) -> dict[str, Release | None]:
    """The newest release of each role on the topic. Raises KafkaException when the brokers do not answer."""
    found: dict[str, Release] = {}
    with Reader(settings, {"releases": {}}) as whole:
        end = whole.ends["releases"].get(0, 0)
    # a compacted topic is long before it is compacted; what is wanted nearly always stands at its end
    for start in (max(0, end - _TAIL), 0):
        found = _last(settings, roles, start)
        if len(found) == len(roles) or start == 0:
            break
    return {role: found.get(role) for role in roles}


def _last(settings: Settings, roles: Sequence[str], start: int) -> dict[str, Release]:
    found: dict[str, Release] = {}
    wanted = {role.encode() for role in roles}
    with Reader(settings, {"releases": {0: start}}) as reader:
        while reader.behind():
            for _, message in reader.take(500, 0.05):
                if message.key() not in wanted or message.value() is None:
                    continue
                try:
                    release = Release.model_validate_json(message.value() or b"")
                except ValueError as error:
                    log.warning("reader.release_ignored", offset=message.offset(), why=str(error)[:200])
                    continue
                if release.role not in found or release.sequence >= found[release.role].sequence:
                    found[release.role] = release
    return found
