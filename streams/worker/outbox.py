"""Messages on their way out, as bytes: what the outbox in the store holds.

In: messages of the step, records that could not be read, the name of a new World. Out: `pack`ed entries, each a whole
Kafka record (topic, key, value, headers), so that a restart publishes the identical bytes whatever has changed since.
They are compressed: a recommendation is a quarter of its size then, for a hundredth of the time that it took to make,
and all that goes through the outbox goes to the store's disk and to its replicas as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import lz4.block
import msgpack

from schemas.decode import Malformed
from schemas.headers import DEAD_LETTER_HEADERS, Headers, cloudevent_headers, dead_letter_headers
from schemas.releases import journal_key
from schemas.topics import TOPICS
from schemas.wire import encode


class Record(Protocol):
    """A record as Kafka's client hands it over."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Any


class Message(Protocol):
    """A message as `recsys.step` makes it."""

    topic: str
    key: str
    message_id: str
    type: str
    value: dict[str, Any]
    source: int


class Outgoing(NamedTuple):
    """A Kafka record to be published. `topic` is the full name."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


_COMPRESSED = b"\0"  # else MessagePack, whose first byte says that a list of four follows
_WORTHWHILE = 512  # bytes


def pack(outgoing: Outgoing) -> bytes:
    payload: bytes = msgpack.packb(outgoing)
    return payload if len(payload) < _WORTHWHILE else _COMPRESSED + lz4.block.compress(payload)


def unpack(payload: bytes) -> Outgoing:
    """Raises ValueError, LZ4BlockError for what `pack` did not make."""
    if payload.startswith(_COMPRESSED):
        payload = lz4.block.decompress(memoryview(payload)[1:])
    topic, key, value, headers = msgpack.unpackb(payload)
    return Outgoing(topic, key, value, [(name, text) for name, text in headers])


class Envelopes:
    """Addresses messages of one namespace. Times are ms since the epoch, from the worker's clock."""

    def __init__(self, namespace: str) -> None:
        self.topics = {name: topic.full_name(namespace) for name, topic in TOPICS.items()}
        self.source = f"/{namespace}/worker"

    def message(self, message: Message, received_ms: int, emitted_ms: int) -> bytes:
        """One of the step's messages. Its `timing`, if it has one, gets the two times that only the worker knows."""
        value = message.value
        timing = value.get("timing")
        if timing is not None:
            timing["received_ts"], timing["emitted_ts"] = received_ms, emitted_ms
        headers = cloudevent_headers(message.message_id, message.type, self.source, emitted_ms)
        return pack(Outgoing(self.topics[message.topic], message.key.encode(), encode(value), headers))

    def dead_letter(self, record: Record, malformed: Malformed, partition: int, received_ms: int) -> bytes:
        """A record as it was received: its key, its bytes, its own headers, and ours that say why and from where."""
        topic = self.topics["events"]
        ours = cloudevent_headers(
            f"{topic}-{partition}-{record.offset}", "headwater.dead-letter", self.source, received_ms
        )
        # the bytes are what they are: nobody promises that they are JSON
        headers = [pair for pair in ours if pair[0] != "content-type"]
        headers += dead_letter_headers(malformed, topic, partition, record.offset, received_ms)
        taken = {name for name, _ in headers} | set(DEAD_LETTER_HEADERS)
        theirs = [(name, value) for name, value in record.headers or () if name not in taken]
        return pack(Outgoing(self.topics["dead-letters"], record.key, record.value, theirs + headers))

    def journal(
        self,
        partition: int,
        offset: int,
        names: Mapping[str, str],
        positions: Mapping[str, Mapping[int, int]],
        now_ms: int,
    ) -> bytes:
        """From `offset` on, `partition` is served by the World of these names, built from these positions."""
        key = journal_key(partition, offset)
        entry = {
            "partition": partition,
            "offset": offset,
            "world": dict(names),
            "positions": {
                topic: {str(part): at for part, at in by_partition.items()} for topic, by_partition in positions.items()
            },
            "ts": now_ms,
        }
        headers = cloudevent_headers(f"journal-{key}", "headwater.journal", self.source, now_ms)
        return pack(Outgoing(self.topics["journal"], key.encode(), encode(entry), headers))
