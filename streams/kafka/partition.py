"""Which partition a key lands on: the murmur2 rule of Kafka's Java client.

In: a record's key and a topic's partition count. Out: the partition that every client of the house writes it to
(librdkafka with `partitioner=murmur2_random`, aiokafka and Java by default). Readers of the store need it: a User lies
under the partition of the events topic that carries its log.
"""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def partition_of(key: str | bytes, partitions: int) -> int:
    """The partition of `key` in a topic of `partitions` partitions.

    >>> partition_of("foobar", 4)
    2
    """
    raw = key.encode() if isinstance(key, str) else key
    return (murmur2(raw) & 0x7FFFFFFF) % partitions
