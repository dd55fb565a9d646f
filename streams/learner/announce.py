"""Announcing: what the learner puts on topics, while it leads and only then.

In: releases, alerts, receipts. Out: records, each delivery confirmed. One producer for all lanes of a term. A record
arrives within the session of the election or not at all (`streams.learner.election` on fencing).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import structlog
from confluent_kafka import Producer
from pydantic import BaseModel

from schemas.alerts import Alert
from schemas.headers import cloudevent_headers
from schemas.receipts import Receipt
from schemas.releases import Release
from schemas.topics import TOPICS
from schemas.wire import encode
from streams import faults
from streams.kafka.clients import producer
from streams.learner.election import SESSION_MS, Election
from streams.settings import Settings

log = structlog.get_logger(__name__)


class _Letter(NamedTuple):
    topic: str
    key: str
    message_id: str
    type: str
    ts: int


class Announcer:
    """Not for use from several threads: the election is not."""

    def __init__(self, settings: Settings, election: Election) -> None:
        self._settings, self._election = settings, election
        self._producer: Producer = producer(
            settings, linger_ms=0, extra={"message.timeout.ms": SESSION_MS - 1000, "request.timeout.ms": 3000}
        )

    def leads(self) -> bool:
        """Whether this process still leads, by the coordinator's own word."""
        return self._election.confirm()

    def announce(self, records: Sequence[Release | Alert | Receipt]) -> bool:
        """Sends the records, in order, if this process still leads. False if it does not, or if not all of them are
        known to have arrived."""
        if not records:
            return True
        if not self._election.confirm():
            return False
        what = _named(records[-1])
        faults.passed(f"{what}.confirm")
        errors: list[object] = []
        for record in records:
            letter = _letter(record)
            self._producer.produce(
                TOPICS[letter.topic].full_name(self._settings.namespace),
                key=letter.key.encode(),
                value=encode(record),
                headers=cloudevent_headers(
                    letter.message_id, letter.type, f"/{self._settings.namespace}/learner", letter.ts
                ),
                on_delivery=lambda error, _: errors.append(error),
            )
        self._producer.flush(SESSION_MS / 1000)
        if errors == [None] * len(records):
            faults.passed(f"{what}.deliver")
            return True
        log.warning("learner.not_delivered", records=len(records), error=str(errors))
        return False


def _named(record: BaseModel) -> str:
    """What `streams.faults` calls it."""
    if isinstance(record, Release):
        return record.role if record.role in ("statistics", "encoder") else "models"
    return type(record).__name__.lower()


def _letter(record: BaseModel) -> _Letter:
    match record:
        case Release():
            return _Letter("releases", record.role, record.release_id, "headwater.release", record.created_ts)
        case Alert():
            return _Letter("alerts", record.subject, record.alert_id, "headwater.alert", record.ts)
        case Receipt():
            return _Letter("receipts", record.user_id, record.receipt_id, "headwater.receipt", record.ts)
    raise TypeError(f"{type(record).__name__} is nothing that a learner announces")
