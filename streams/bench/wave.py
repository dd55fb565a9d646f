"""Waves: events that lie ready in the topic before the worker sees the first of them.

In: events as (key, value). Out: seconds from the moment they became visible until the worker had applied and published
all of them. A wave is produced in one Kafka transaction: readers of committed records, the worker among them, see
nothing of it until the commit, so the producing is over when the measuring begins and the worker is warm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from schemas.topics import TOPICS
from streams.bench.errors import BenchFailed
from streams.kafka.clients import producer
from streams.settings import Settings

Record = tuple[bytes, bytes]
LOOK_S = 0.02  # between two looks at the positions: a look costs the machine a fifth of a millisecond
STUCK_S = 120.0
_TRANSACTION_MS = 600_000


@dataclass(frozen=True, slots=True)
class Laid:
    """A wave in the topic: how many records, and by partition the first and the last offset."""

    records: int
    first: dict[int, int]
    last: dict[int, int]


class Stuck(BenchFailed):
    """The worker made no progress for STUCK_S seconds."""


class Waves:
    """Makes waves in the events topic of one namespace and watches them being applied. `redis` is a client of the
    store; `check` raises if a worker has died."""

    def __init__(self, settings: Settings, redis: Any, check: Callable[[], None]) -> None:
        self._settings, self._redis, self._check = settings, redis, check
        self._topic = TOPICS["events"].full_name(settings.namespace)
        self._producer = producer(
            settings,
            linger_ms=20,
            extra={
                "transactional.id": f"{settings.namespace}.bench",
                "transaction.timeout.ms": _TRANSACTION_MS,
                "message.timeout.ms": _TRANSACTION_MS,
            },
        )
        self._producer.init_transactions(60)

    def lay(self, records: Iterable[Record]) -> Laid:
        """Produces a wave that nobody sees yet."""
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        problems: list[str] = []
        laid = 0

        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                problems.append(str(error))
                return
            at, offset = message.partition(), message.offset()
            first[at] = min(first.get(at, offset), offset)
            last[at] = max(last.get(at, offset), offset)

        self._producer.begin_transaction()
        for key, value in records:
            while True:
                try:
                    self._producer.produce(self._topic, value, key, on_delivery=delivered)
                    break
                except BufferError:
                    self._producer.poll(0.05)
            laid += 1
            if laid % 1000 == 0:
                self._producer.poll(0)
        self._producer.flush(120)
        if problems or not laid:
            raise BenchFailed(f"the wave could not be laid: {problems[0] if problems else 'it has no records'}")
        return Laid(laid, first, last)

    def release(self, wave: Laid) -> float:
        """Shows the wave to everybody; seconds until it was applied and all it caused was published."""
        started = time.perf_counter()
        self._producer.commit_transaction(60)
        self.until_applied(wave)
        return time.perf_counter() - started

    def run(self, records: Iterable[Record]) -> tuple[Laid, float]:
        """Lays a wave, lets the machine come to rest, and releases it."""
        wave = self.lay(records)
        time.sleep(0.5)
        return wave, self.release(wave)

    def until_applied(self, wave: Laid) -> None:
        """Waits until the store stands behind the wave and the outboxes are empty. Raises Stuck."""
        tag = self._settings.namespace
        moved, before = time.monotonic(), -1
        with self._redis.pipeline(transaction=False) as pipe:
            while True:
                for partition in wave.last:
                    pipe.hget(f"{{{tag}:{partition}}}:position", "offset")
                    pipe.llen(f"{{{tag}:{partition}}}:outbox")
                answers = pipe.execute()
                positions = [int(one) if one is not None else -1 for one in answers[::2]]
                if not any(answers[1::2]) and all(
                    at >= end for at, end in zip(positions, wave.last.values(), strict=True)
                ):
                    return
                if sum(positions) != before:
                    moved, before = time.monotonic(), sum(positions)
                elif time.monotonic() - moved > STUCK_S:
                    raise Stuck(f"no event was applied for {STUCK_S:.0f} s; positions {positions}, wanted {wave.last}")
                self._check()
                time.sleep(LOOK_S)
