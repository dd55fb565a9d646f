"""A clock around a loop through Kafka: send at a fixed rate, catch what comes back, and the bare loop to compare with.

In: a rate, records to send, what to look for in an answer. Out: milliseconds from each send to its answer. The same
code measures the worker and the bare hop, whose far side is `echo`: consume, produce, nothing else.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing.synchronize import Event
from typing import NamedTuple

import numpy as np
import orjson
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewTopic

from streams.bench.errors import BenchFailed
from streams.kafka.clients import admin, consumer, producer
from streams.settings import Settings

SETTLE_S = 1.0  # sent at the same rate before the clock counts
LAST_S = 10.0  # waited for the last answers
TICK_S = 0.001  # librdkafka's shortest wait: asked for less it waits not at all, and asking costs a third of a core
_TOGETHER = 256  # answers taken at once: those of a step arrive together
_QUICK = {"fetch.wait.max.ms": 500, "fetch.min.bytes": 1, "queued.min.messages": 1000}


class Sent(NamedTuple):
    """A record to send; the answer to it carries `mark` where `mark_of` looks."""

    mark: str
    key: bytes
    value: bytes


class Answer(NamedTuple):
    """Wall clock seconds of the send and of the catch, milliseconds between them by a steady clock, the answer."""

    sent: float
    caught: float
    ms: float
    value: bytes


def paced(
    settings: Settings,
    there: str,
    back: str,
    make: Iterator[Sent],
    mark_of: Callable[[bytes], str],
    rate: float,
    seconds: float,
) -> list[Answer]:
    """Sends to the topic `there`, `rate` records a second for `seconds`, and catches answers on `back`; those to the
    first SETTLE_S are left out. Raises BenchFailed if answers stay away.

    A record that is sent late, as the machine was busy, counts from when it was due: a stall is not forgiven.
    """
    total = int(rate * (seconds + SETTLE_S))
    records = list(islice(make, total))  # the clock shares its machine with what it measures: made beforehand
    out = producer(settings, linger_ms=0)
    reader = consumer(settings, f"{settings.namespace}.clock", extra=_QUICK)
    due: dict[str, tuple[float, float]] = {}
    caught: list[tuple[float, float, bytes]] = []
    collected = gc.isenabled()
    gc.disable()  # a collection of ours would be taken for a stall of theirs
    try:
        from_the_end(reader, back)
        started, wall = time.perf_counter(), time.time()
        at, end = 0, started + seconds + SETTLE_S + LAST_S
        while len(caught) < total and (now := time.perf_counter()) < end:
            while at < total and started + at / rate <= now:
                one = records[at]
                due[one.mark] = (started + at / rate, wall + at / rate)
                out.produce(there, one.value, one.key)
                at += 1
            out.poll(0)
            left = started + at / rate - time.perf_counter() if at < total else 0.1
            if (first := reader.poll(min(max(left, TICK_S), 0.1))) is not None:
                now, clock = time.perf_counter(), time.time()
                came = [first, *reader.consume(_TOGETHER, timeout=0)]
                caught += [(now, clock, one.value()) for one in came if one.error() is None]
    finally:
        if collected:
            gc.enable()
        reader.close()
    answers = []
    for steady, clock, value in caught:
        found = due.pop(mark_of(value), None)
        if found is not None and found[0] >= started + SETTLE_S:
            answers.append(Answer(found[1], clock, (steady - found[0]) * 1000, value))
    if len(due) > total // 100:
        raise BenchFailed(f"{len(due)} of {total} records got no answer within {LAST_S:.0f} s at {rate:.0f} a second")
    return answers


def mark_of(value: bytes) -> str:
    """Of a recommendation its trigger's event, of an echoed event its own id."""
    record = orjson.loads(value)
    mark: str = record["trigger"]["event_id"] if "trigger" in record else record["event_id"]
    return mark


def percentile(answers: list[Answer], p: int) -> float:
    """Of the milliseconds."""
    return float(np.percentile([one.ms for one in answers], p))


def from_the_end(reader: Consumer, topic: str) -> None:
    """Has it read what comes from now on, and nothing else."""
    places = []
    for partition in reader.list_topics(topic, timeout=10).topics[topic].partitions:
        _, end = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        places.append(TopicPartition(topic, partition, end))
    reader.assign(places)
    reader.poll(0.5)


def make_topics(settings: Settings, names: list[str]) -> None:
    """Plain topics with the partitions of the house's own."""
    client = admin(settings)  # kept: what it was asked for dies with it
    made = client.create_topics([NewTopic(name, settings.kafka_partitions, 1) for name in names])
    for future in made.values():
        future.result(30)


def echo(settings: Settings, there: str, back: str, ready: Event, stop: Event) -> None:
    """The far side of the bare hop. Runs in a process of its own until `stop` is set."""
    out = producer(settings, linger_ms=0)
    reader = consumer(settings, f"{settings.namespace}.echo", extra=_QUICK)
    from_the_end(reader, there)
    ready.set()
    while not stop.is_set():
        record = reader.poll(0.1)
        if record is not None and record.error() is None:
            out.produce(back, record.value(), record.key())
            out.poll(0)
    out.flush(5)
    reader.close()
