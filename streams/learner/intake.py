"""Intake of the model lanes: records become events and training examples, and what teaches nothing is counted.

In: records of `events` and `training-examples`, and what a batch of them came to (`recsys.learning.guarded`). Out: the
events with when the log got them (ms), the examples; metrics, and a log line the first time that another version's
examples are met. Malformed events are passed over: the worker dead-letters them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from confluent_kafka import Message

from recsys.features import SCHEMA_VERSION
from recsys.learning.guarded import Taken
from schemas.decode import Malformed, decode_event
from schemas.events import Event
from schemas.training import TrainingExample
from streams.learner.reading import received_ms
from streams.observe import metrics

log = structlog.get_logger(__name__)


class Batch(NamedTuple):
    """`received` belongs to `events`, one by one."""

    events: list[Event]
    received: list[int]
    examples: list[TrainingExample]


class Intake:
    """Of one term."""

    def __init__(self, max_record_bytes: int) -> None:
        self._most = max_record_bytes
        self._other_version = False

    def decoded(self, records: Sequence[tuple[str, Message]]) -> Batch:
        """The records by kind, in order, without the malformed ones."""
        batch, now = Batch([], [], []), int(time.time() * 1000)
        for topic, record in records:
            if topic == "events":
                event = decode_event(record.key(), record.value(), self._most)
                if not isinstance(event, Malformed):
                    batch.events.append(event)
                    batch.received.append(received_ms(record, now))
                continue
            try:
                batch.examples.append(TrainingExample.model_validate_json(record.value() or b""))
            except ValueError:
                metrics.LEARNER_REFUSED.labels("malformed").inc()
        return batch

    def count(self, taken: Taken) -> None:
        """What was learnt from, and what was not."""
        metrics.LEARNER_CHOICES.inc(taken.choices)
        for why in ("too_many", "not_finite", "other_schema"):
            metrics.LEARNER_REFUSED.labels(why).inc(getattr(taken, why))
        if taken.other_schema and not self._other_version:
            self._other_version = True
            log.warning(
                "learner.examples_of_another_version", examples=taken.other_schema, feature_schema=SCHEMA_VERSION,
                doing="leaving them out; run one version of Headwater in all roles",
            )  # fmt: skip
