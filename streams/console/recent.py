"""The newest recommendations, for the page: looked up at the ends of the topic when someone looks, never followed.

In: `<ns>.recommendations.v1`. Out: short dicts, the newest first, with user ids shortened. Following the topic would
cost the console as much as it costs the workers to write it.
"""

from __future__ import annotations

import time
from typing import Any

import orjson

from schemas.topics import TOPICS
from streams.records.read import assign, ends

EACH = 4  # records looked at in each partition
SHOWN = 12
ITEMS = 5
WITHIN_S = 1.5


class Recent:
    """`consumer` is a confluent_kafka.Consumer for this object alone. Not for several threads at once."""

    def __init__(self, consumer: Any, namespace: str) -> None:
        self._consumer = consumer
        self._topic = TOPICS["recommendations"].full_name(namespace)
        self._marks: dict[int, tuple[int, int]] = {}
        self._found: list[dict[str, Any]] = []

    def look(self) -> list[dict[str, Any]]:
        """The newest recommendations. Raises KafkaException or NoSuchTopic when the topic can't be read."""
        marks = ends(self._consumer, self._topic)
        if marks != self._marks:
            self._found = self._read(marks)
            self._marks = marks
        return self._found

    def _read(self, marks: dict[int, tuple[int, int]]) -> list[dict[str, Any]]:
        starts = {part: max(low, high - EACH) for part, (low, high) in marks.items() if high > low}
        missing = set(starts)
        assign(self._consumer, self._topic, starts)
        found: list[tuple[int, dict[str, Any]]] = []
        until = time.monotonic() + WITHIN_S
        while missing and time.monotonic() < until:
            for message in self._consumer.consume(EACH * len(starts), timeout=0.1):
                if message.error() is not None:
                    continue
                if message.offset() >= marks[message.partition()][1] - 1:
                    missing.discard(message.partition())
                if (short := shortened(message.value())) is not None:
                    found.append((message.timestamp()[1], short))
        self._consumer.unassign()
        found.sort(key=lambda one: -one[0])
        return [short for _, short in found[:SHOWN]]


def shortened(value: bytes | None) -> dict[str, Any] | None:
    """What the page shows of a recommendation; None for what is not one."""
    try:
        record = orjson.loads(value or b"")
        timing = record.get("timing") or {}
        emitted, received = timing.get("emitted_ts"), timing.get("received_ts")
        return {
            "rec_id": record["rec_id"],
            "user": pseudo(record["user_id"]),
            "kind": record["kind"],
            "trigger": record["trigger"]["type"],
            "emitted_ts": emitted,
            "took_ms": emitted - received if emitted and received else None,
            "items": [
                {
                    "item_id": item["item_id"],
                    "score": item.get("score"),
                    "source": item.get("source"),
                    "reasons": [reason.get("text", "") for reason in item.get("reasons", [])],
                }
                for item in record["items"][:ITEMS]
            ],
            "more": max(0, len(record["items"]) - ITEMS),
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def pseudo(user_id: str) -> str:
    """Enough of a user id to tell two apart on a page, and not more."""
    return f"{user_id[: min(4, (len(user_id) + 1) // 2)]}…"
