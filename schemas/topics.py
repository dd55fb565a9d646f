"""The one table of topics: `streams.kafka.topics` creates and verifies them, `documents` describes them.

Pure data: names, keys, records, partitions, retention, compaction. Nothing here talks to Kafka.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from schemas.alerts import Alert
from schemas.events import Event
from schemas.items import Item, ItemVector
from schemas.receipts import Receipt
from schemas.recommendations import Recommendation
from schemas.releases import JournalEntry, Release
from schemas.training import TrainingExample

_DAY = 24 * 3600 * 1000
EVENTS_RETENTION_MS = 30 * _DAY
DEAD_LETTER_HEADROOM = 64 << 10  # bytes for the headers that say why and from where


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `record` is the model (or union) of its JSON value; None: bytes as received."""

    name: str
    key: str
    record: Any
    direction: Literal["in", "out", "internal"]
    description: str
    partitioned: bool = True  # as many partitions as the setting says; else one
    compacted: bool = False
    retention_ms: int | None = None  # of a topic that is not compacted
    min_compaction_lag_ms: int = 0  # old Worlds stay readable for as long as the events do
    nullable: bool = False  # a null value withdraws the key
    intake: bool = False  # takes records over the size limit, so that they reach the dead letters
    version: int = 1

    def full_name(self, namespace: str) -> str:
        """`<ns>.<name>.v<version>`."""
        return f"{namespace}.{self.name}.v{self.version}"

    def partitions(self, setting: int) -> int:
        """How many partitions this topic has where the setting says `setting`."""
        return setting if self.partitioned else 1

    def max_message_bytes(self, max_record_bytes: int) -> int:
        """Largest batch the broker takes. Dead letters hold whatever the intake topics let through."""
        largest_in = 4 * max_record_bytes + DEAD_LETTER_HEADROOM
        return largest_in + DEAD_LETTER_HEADROOM if self.name == "dead-letters" else largest_in

    def config(self, max_record_bytes: int) -> dict[str, str]:
        """Topic configuration for Kafka, as strings."""
        entries = {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "max.message.bytes": str(self.max_message_bytes(max_record_bytes)),
            # retention and compaction lag count from arrival: a record's own stamp may be of 1970 or of 2100
            "message.timestamp.type": "LogAppendTime",
        }
        if self.compacted:
            entries["min.compaction.lag.ms"] = str(self.min_compaction_lag_ms)
        else:
            entries["retention.ms"] = str(-1 if self.retention_ms is None else self.retention_ms)
        return entries


_TABLE = (
    Topic(
        "events", "user_id", Event, "in", "What users do and say: the one log of each user.",
        retention_ms=EVENTS_RETENTION_MS, intake=True,
    ),
    Topic(
        "items", "item_id", Item, "in", "The catalogue; a null value withdraws an item.",
        compacted=True, min_compaction_lag_ms=EVENTS_RETENTION_MS, nullable=True, intake=True,
    ),
    Topic(
        "recommendations", "user_id", Recommendation, "out", "Ranked, explained items for a user.",
        retention_ms=7 * _DAY,
    ),
    Topic(
        "training-examples", "user_id", TrainingExample, "out",
        "Recommended items with what became of them and their features at that time.",
        retention_ms=30 * _DAY,
    ),
    Topic(
        "item-vectors", "item_id", ItemVector, "internal", "Encoded texts of items; every worker reads all.",
        compacted=True, min_compaction_lag_ms=EVENTS_RETENTION_MS, nullable=True,
    ),
    Topic(
        "releases", "role", Release, "internal", "What was learnt; every worker reads all.",
        partitioned=False, compacted=True, min_compaction_lag_ms=EVENTS_RETENTION_MS,
    ),
    Topic(
        "journal", "partition:offset", JournalEntry, "internal", "Which World served from which offset on.",
        partitioned=False, compacted=True,
    ),
    Topic(
        "receipts", "user_id", Receipt, "out", "What an erasure or an edit of the profile did.",
        retention_ms=365 * _DAY,
    ),
    Topic(
        "alerts", "subject", Alert, "out", "Surges of opinion, drift, quarantined releases.",
        partitioned=False, retention_ms=30 * _DAY,
    ),
    Topic(
        "dead-letters", "as received", None, "out", "Malformed records as received; the headers say why.",
        retention_ms=30 * _DAY,
    ),
)  # fmt: skip

TOPICS: dict[str, Topic] = {topic.name: topic for topic in _TABLE}
"""By short name, in the order of the flow."""
