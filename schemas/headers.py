"""Headers of what goes out: CloudEvents 1.0 in binary mode, and why a record became a dead letter.

In: ids, places and times as arguments. Out: (name, bytes) pairs as every Kafka client takes them.
"""

from __future__ import annotations

from schemas.decode import Malformed
from schemas.wire import format_rfc3339

CLOUDEVENT_HEADERS = ("ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "content-type")
DEAD_LETTER_HEADERS = (
    "dlq_reason",
    "dlq_path",
    "dlq_expected",
    "dlq_topic",
    "dlq_partition",
    "dlq_offset",
    "dlq_time",
)
_LONGEST = 512  # bytes; a path is made of the sender's field names, which may be of any length

Headers = list[tuple[str, bytes]]


def cloudevent_headers(message_id: str, type: str, source: str, time_ms: int) -> Headers:
    """Headers of one message. `source`: a URI reference, e.g. `/headwater/worker`; `time_ms`: the event's."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", message_id.encode()),
        ("ce_type", type.encode()),
        ("ce_source", source.encode()),
        ("ce_time", format_rfc3339(time_ms).encode()),
        ("content-type", b"application/json"),
    ]


def dead_letter_headers(malformed: Malformed, topic: str, partition: int, offset: int, time_ms: int) -> Headers:
    """Why `topic`/`partition`/`offset` is a dead letter; `time_ms` is when it was found to be one."""
    return [
        ("dlq_reason", malformed.reason.encode()),
        ("dlq_path", _bounded(malformed.path)),
        ("dlq_expected", _bounded(malformed.expected)),
        ("dlq_topic", topic.encode()),
        ("dlq_partition", str(partition).encode()),
        ("dlq_offset", str(offset).encode()),
        ("dlq_time", format_rfc3339(time_ms).encode()),
    ]


def _bounded(text: str) -> bytes:
    """At most `_LONGEST` bytes of valid UTF-8, whatever is in `text`."""
    raw = text.encode(errors="backslashreplace")
    return raw if len(raw) <= _LONGEST else raw[: _LONGEST - 3].decode(errors="ignore").encode() + b"..."
