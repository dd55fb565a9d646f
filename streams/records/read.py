"""A topic -> its records, as a person or a command wants them: from the start or from now on, of one user or
of all.

In: a confluent_kafka.Consumer without a group's say (partitions are assigned, nothing is committed). Out:
messages.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from schemas.topics import TOPICS

WAIT_S = 0.2
MOST = 500


class NoSuchTopic(Exception):  # noqa: N818
    """The topic does not exist on this Kafka. The message says which do, or how to make it."""


def full_name(topic: str, namespace: str) -> str:
    """The name on Kafka of a short name such as `recommendations`; a full name passes through."""
    if topic in TOPICS:
        return TOPICS[topic].full_name(namespace)
    if topic in {known.full_name(namespace) for known in TOPICS.values()}:
        return topic
    raise NoSuchTopic(f"There is no topic {topic}. Topics are: {', '.join(TOPICS)}.")


def partitions_of(client: Any, topic: str) -> list[int]:
    """The partitions of `topic`. `client` is any confluent_kafka client. Raises NoSuchTopic."""
    # all topics are asked for: naming one could make the broker create it
    known = client.list_topics(timeout=10).topics
    if topic not in known:
        raise NoSuchTopic(f"{topic} does not exist on this Kafka. `headwater up`, or any worker, creates the topics.")
    return sorted(known[topic].partitions)


def ends(consumer: Any, topic: str) -> dict[int, tuple[int, int]]:
    """(first, next) offset of each partition as they are now."""
    from confluent_kafka import TopicPartition

    found = {}
    for partition in partitions_of(consumer, topic):
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        found[partition] = (low, high)
    return found


def assign(consumer: Any, topic: str, offsets: dict[int, int]) -> None:
    """Reads `topic` from these offsets on, and only these partitions."""
    from confluent_kafka import TopicPartition

    consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in offsets.items()])


def follow(
    consumer: Any,
    topic: str,
    *,
    beginning: bool = False,
    user: str | None = None,
    to_the_end: bool = False,
    timeout_s: float | None = None,
) -> Iterator[Any]:
    """Messages of `topic`, in the order of each partition.

    `beginning`: from the oldest record, else from what arrives after this call. `user`: only records with
    this key. `to_the_end`: stop at the ends of the partitions as they are now. `timeout_s`: stop this long
    after the call.
    """
    begun = time.monotonic()
    marks = ends(consumer, topic)
    assign(consumer, topic, {partition: low if beginning else high for partition, (low, high) in marks.items()})
    key = None if user is None else user.encode()
    behind = {partition for partition, (low, high) in marks.items() if beginning and low < high}
    while not (to_the_end and not behind):
        for message in consumer.consume(MOST, timeout=WAIT_S):
            if message.error() is not None:
                if message.error().fatal():
                    raise ConnectionError(message.error().str())
                continue  # librdkafka goes on by itself
            partition = message.partition()
            if to_the_end:
                end = marks[partition][1]
                if message.offset() >= end - 1:
                    behind.discard(partition)
                if message.offset() >= end:
                    continue
            if key is None or message.key() == key:
                yield message
        if to_the_end and behind:
            # the last records before an end can be gone: compacted away, or the marks of a transaction
            for place in consumer.position([_at(topic, partition) for partition in behind]):
                if place.offset >= marks[place.partition][1]:
                    behind.discard(place.partition)
        if timeout_s is not None and time.monotonic() - begun > timeout_s:
            return


def _at(topic: str, partition: int) -> Any:
    from confluent_kafka import TopicPartition

    return TopicPartition(topic, partition)
