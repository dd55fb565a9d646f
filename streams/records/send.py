"""Rows of files -> checked records on the items or the events topic.

In: `streams.records.files` rows. Out: records on Kafka, keyed by their own id, each delivery confirmed; and
a Tally with what was refused and why. The same decoder that the workers use decides, so what is sent is not
a dead letter later.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from schemas.decode import Malformed, decode_own_event, decode_own_item
from streams.records.files import Row

Kind = Literal["items", "events"]
ID_FIELD: dict[Kind, str] = {"items": "item_id", "events": "user_id"}
POLL_EVERY = 200  # records between two looks at the deliveries


@dataclass(slots=True)
class Tally:
    """What became of the rows.

    `failed` were taken but not delivered; `problem` says why the first one was not.
    """

    sent: int = 0
    delivered: int = 0
    rejected: int = 0
    failed: int = 0
    problem: str = ""


@dataclass(slots=True)
class Sender:
    """Sends to one topic and counts deliveries. `producer` is a confluent_kafka.Producer."""

    producer: Any
    topic: str
    tally: Tally = field(default_factory=Tally)

    def send(self, key: bytes | None, value: bytes | None, **more: Any) -> None:
        """Queues one record; waits while the queue is full. `more`: headers, partition."""
        while True:
            try:
                self.producer.produce(self.topic, key=key, value=value, on_delivery=self._delivered, **more)
                break
            except BufferError:
                self.producer.poll(0.5)
            except Exception as error:  # KafkaException: this one record can't be sent, e.g. it is too large
                self._failed(str(error))
                return
        self.tally.sent += 1
        if self.tally.sent % POLL_EVERY == 0:
            self.producer.poll(0)

    def finish(self, timeout_s: float = 60.0) -> Tally:
        """Waits for all deliveries. What is still unconfirmed after `timeout_s` counts as failed."""
        left = self.producer.flush(timeout_s)
        if left:
            self._failed(f"{left} records were not confirmed within {timeout_s:.0f} s", left)
        return self.tally

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is None:
            self.tally.delivered += 1
        else:
            self._failed(error.str())

    def _failed(self, problem: str, count: int = 1) -> None:
        self.tally.failed += count
        self.tally.problem = self.tally.problem or problem


class Pace:
    """Holds sending back: to `rate` records a second, or to `speed` times the pace of the records' own ts."""

    def __init__(self, rate: float | None = None, speed: float | None = None) -> None:
        self.rate, self.speed = rate, speed
        self._began = time.monotonic()
        self._count = 0
        self._first_ts: int | None = None

    @property
    def free(self) -> bool:
        return not self.rate and not self.speed

    def due(self, ts: int | None) -> float:
        """When, on the monotonic clock, the next record may go; `ts` is its own time in ms, if any."""
        due = self._count / self.rate if self.rate else 0.0
        if self.speed and ts is not None:
            self._first_ts = ts if self._first_ts is None else self._first_ts
            due = max(due, (ts - self._first_ts) / 1000 / self.speed)
        self._count += 1
        return self._began + due


def record_of(row: Row, kind: Kind, max_bytes: int) -> tuple[bytes | None, int | None, Malformed | None]:
    """(key, ts in ms of an event, what is wrong) of a row that could be read."""
    if kind == "items":
        item = decode_own_item(row.value, max_bytes)
        if not isinstance(item, Malformed):
            return item.item_id.encode(), None, None
        return record_key(row.value, kind), None, item
    event = decode_own_event(row.value, max_bytes)
    if not isinstance(event, Malformed):
        return event.user_id.encode(), event.ts, None
    return record_key(row.value, kind), None, event


def record_key(value: bytes, kind: Kind) -> bytes | None:
    """The id that is the record's key on its topic; None where it has none."""
    try:
        found = orjson.loads(value)[ID_FIELD[kind]]
    except (ValueError, TypeError, KeyError):
        return None
    return found.encode() if isinstance(found, str) and found else None


def send_row(
    row: Row,
    kind: Kind,
    sender: Sender,
    *,
    max_bytes: int,
    force: bool,
    pace: Pace,
    reject: Callable[[str], None],
) -> None:
    """Checks one row and queues it, or says through `reject` where it stands and what was expected."""
    if row.problem:
        sender.tally.rejected += 1
        reject(f"{row.where}: {row.problem}")
        return
    key, ts, wrong = record_of(row, kind, max_bytes)
    if wrong is not None and not force:
        sender.tally.rejected += 1
        reject(f"{row.where}: {wrong.path}: expected {wrong.expected} [{wrong.reason}]")
        return
    if not pace.free:
        due = pace.due(ts)
        while (wait := due - time.monotonic()) > 0:
            sender.producer.poll(min(wait, 0.2))
    sender.send(key, row.value)
