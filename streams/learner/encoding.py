"""The encoder as a process: texts of items become vectors.

In: `items` and `item-vectors`, both whole. Out: a vector for each item whose text, under this encoder, has
none; null for an item that is withdrawn; a dead letter for each malformed record of `items`. One process is
active (`streams.learner.election`); vectors name the text they belong to, so one that comes late or twice
does no harm.

A text is encoded once, however many items share it and however often their prices change. The newest items go
first, in blocks of some tens of milliseconds, so that a new item does not wait behind a bulk load. The topic
itself is the memory of what is done: whoever leads next reads it and goes on with what is missing.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from recsys.encoder import BLOCK, TextEncoder, content_hash, item_text, pack
from schemas.decode import Malformed, decode_item
from schemas.headers import DEAD_LETTER_HEADERS, cloudevent_headers, dead_letter_headers
from schemas.items import Item, ItemVector, Withdrawn
from schemas.topics import TOPICS
from schemas.wire import encode
from streams.kafka.clients import producer
from streams.learner.election import SESSION_MS, Election
from streams.learner.process import RoleProcess
from streams.learner.reading import Reader
from streams.models import encoder_path, limit_threads, pick_device
from streams.observe import metrics
from streams.settings import Settings

_BULK = 5000
_IDLE_S = 0.05
_CHUNK = 64  # texts made into tokens at a time
_POOL = 8 * BLOCK  # texts ready to be encoded, to fill blocks of one length from
_CONFIRM_S = 1.0
REMEMBERED = 100_000
"""Vectors kept by their text's hash, for items that share a text."""
log = structlog.get_logger(__name__)


def run(settings: Settings, port: int) -> None:
    """Runs an encoder until SIGTERM or Ctrl-C; ends the process with its status."""
    RoleProcess(settings, port, "encoder").run(lead)


def lead(settings: Settings, election: Election, process: RoleProcess) -> None:
    """One term: from the election to its loss, or to the end of the process."""
    process.problem = "the text encoder is being loaded"
    encoder = None
    if settings.encoder != "none":
        limit_threads(settings.torch_threads)
        encoder = TextEncoder(encoder_path(settings.encoder), pick_device(settings.device))
    desk = Desk(settings, election, encoder)
    try:
        process.problem = "the catalogue and its vectors are being read"
        while election.poll() and not process.stopping and not desk.read_what_is_there():
            process.beat.tick()
        process.problem = None
        while election.poll() and not process.stopping:
            process.beat.tick()
            desk.work()
    finally:
        desk.close()


class Desk:
    """What is wanted, what is there, and what is still to be encoded."""

    def __init__(self, settings: Settings, election: Election, encoder: TextEncoder | None) -> None:
        """Raises KafkaException when the brokers do not answer."""
        self._settings = settings
        self._election = election
        self._encoder = encoder
        self._topic = TOPICS["item-vectors"].full_name(settings.namespace)
        self._items_topic = TOPICS["items"].full_name(settings.namespace)
        self._letters_topic = TOPICS["dead-letters"].full_name(settings.namespace)
        self._source = f"/{settings.namespace}/encoder"
        self._reader = Reader(settings, {"items": {}})
        partitions = list(self._reader.positions["items"])
        self._lettered = election.committed(self._items_topic, partitions)
        self._vectors: Reader | None = Reader(settings, {"item-vectors": {}})
        self._wanted: dict[str, str] = {}  # item_id -> hash of its text
        self._there: dict[str, str] = {}  # item_id -> hash of the text whose vector the topic holds
        self._known: OrderedDict[str, str] = OrderedDict()  # hash -> packed vector
        self._waiting: dict[str, dict[str, None]] = {}  # hash of a text to be encoded -> its items, in order
        self._texts: list[tuple[str, str]] = []  # (hash, text), newest last
        self._ready: dict[int, list[tuple[int, str, list[int]]]] = {}  # bucket -> (number, hash, tokens)
        self._number = 0
        self._confirmed = 0.0
        self._errors: list[Any] = []
        self._producer = producer(settings, extra={"message.timeout.ms": SESSION_MS - 1000})

    def close(self) -> None:
        self._producer.flush(SESSION_MS / 1000)
        self._reader.__exit__()
        if self._vectors is not None:
            self._vectors.__exit__()

    # reading
    # -------------------------------------------------------------------------------------------------
    def read_what_is_there(self) -> bool:
        """Reads on in both topics; True once both were read to where they ended, so that no vector is made twice."""
        assert self._vectors is not None
        for _, message in self._vectors.take(_BULK, 0.01 if self._vectors.behind() else 0):
            self._take_vector(message)
        self._take_items(self._reader.take(_BULK, 0.01 if self._reader.behind() else 0))
        if self._vectors.behind() or self._reader.behind():
            return False
        # from here on nobody else writes vectors
        self._vectors.__exit__()
        self._vectors = None
        if self._encoder is not None:
            for item_id in [i for i in self._there if i not in self._wanted]:
                self._withdraw(item_id)
        for digest, items in list(self._waiting.items()):
            left = {i: None for i in items if self._there.get(i) != digest}
            if left:
                self._waiting[digest] = left
            else:
                del self._waiting[digest]
        log.info("encoder.ready", items=len(self._wanted), to_encode=len(self._waiting))
        return True

    def _take_vector(self, message: Message) -> None:
        item_id = (message.key() or b"").decode(errors="replace")
        value = message.value()
        if value is None:
            self._there.pop(item_id, None)
            return
        try:
            record = ItemVector.model_validate_json(value)
        except ValueError:
            log.warning("encoder.vector_ignored", partition=message.partition(), offset=message.offset())
            return
        self._there[item_id] = record.content_hash
        self._remember(record.content_hash, record.vector)

    def _take_items(self, records: list[tuple[str, Message]]) -> None:
        for _, message in records:
            change = decode_item(message.key(), message.value(), self._settings.max_record_bytes)
            if isinstance(change, Malformed):
                self._dead_letter(message, change)
            elif self._encoder is None:
                continue
            elif isinstance(change, Withdrawn):
                self._wanted.pop(change.item_id, None)
                if self._vectors is None and change.item_id in self._there:
                    self._withdraw(change.item_id)
            else:
                self._want(change, self._encoder.encoder_id)

    def _want(self, item: Item, encoder_id: str) -> None:
        text = item_text(item)
        digest = content_hash(text, encoder_id)
        self._wanted[item.item_id] = digest
        if self._vectors is None and self._there.get(item.item_id) == digest:
            return
        if self._vectors is None and digest in self._known:
            self._known.move_to_end(digest)
            self._publish(item.item_id, digest)
        elif digest in self._waiting:
            self._waiting[digest][item.item_id] = None
        else:
            self._waiting[digest] = {item.item_id: None}
            self._texts.append((digest, text))

    # working
    # -------------------------------------------------------------------------------------------------
    def work(self) -> None:
        """One round: what is new on the topic, then one block of texts."""
        if not self._may_publish():
            return
        busy = bool(self._waiting)
        records = self._reader.take(_BULK, 0.0 if busy else _IDLE_S)
        self._take_items(records)
        self._producer.poll(0)
        if self._errors:
            raise KafkaException(self._errors[0])
        metrics.ENCODER_PENDING.set(len(self._waiting))
        if len(records) == _BULK or not self._waiting:
            return  # behind on the topic: what is newest is not yet here
        self._prepare(fresh=len(records))
        block = self._next_block()
        if block:
            self._encode(block)

    def _prepare(self, fresh: int) -> None:
        """Makes the newest texts into tokens: the new ones at once, more as long as the pool has room."""
        assert self._encoder is not None
        room = _POOL - sum(map(len, self._ready.values()))
        while self._texts and (fresh > 0 or room > 0):
            chunk = self._texts[-_CHUNK:]
            del self._texts[-_CHUNK:]
            chunk = [(digest, text) for digest, text in chunk if self._still_wanted(digest)]
            for (digest, _), tokens in zip(chunk, self._encoder.tokens([text for _, text in chunk]), strict=True):
                self._number += 1
                self._ready.setdefault(self._encoder.bucket(tokens), []).append((self._number, digest, tokens))
            fresh, room = 0, room - len(chunk)

    def _still_wanted(self, digest: str) -> bool:
        """Whether an item waits for this text; forgets the text if not."""
        items = {i: None for i in self._waiting.get(digest, ()) if self._wanted.get(i) == digest}
        if items and digest in self._known:
            for item_id in items:
                self._publish(item_id, digest)
            items = {}
        if items:
            self._waiting[digest] = items
        else:
            self._waiting.pop(digest, None)
        return bool(items)

    def _next_block(self) -> list[tuple[str, list[int]]]:
        """Up to BLOCK texts of one length: that of the newest text, newest first."""
        block: list[tuple[str, list[int]]] = []
        stacks = [stack for stack in self._ready.values() if stack]
        if stacks:
            stack = max(stacks, key=lambda s: s[-1][0])
            while stack and len(block) < BLOCK:
                _, digest, tokens = stack.pop()
                if self._still_wanted(digest):
                    block.append((digest, tokens))
        return block

    def _encode(self, block: list[tuple[str, list[int]]]) -> None:
        assert self._encoder is not None
        started = time.perf_counter()
        vectors = self._encoder.encode_block([tokens for _, tokens in block])
        metrics.ENCODER_SECONDS.observe(time.perf_counter() - started)
        metrics.ENCODER_ENCODED.inc(len(block))
        for (digest, _), vector in zip(block, vectors, strict=True):
            self._remember(digest, pack(vector))
            for item_id in self._waiting.pop(digest):
                self._publish(item_id, digest)

    # writing
    # -------------------------------------------------------------------------------------------------
    def _may_publish(self) -> bool:
        now = time.monotonic()
        if now - self._confirmed < _CONFIRM_S:
            return True
        if not self._election.confirm():
            return False
        self._confirmed = now
        return True

    def _remember(self, digest: str, packed: str) -> None:
        self._known[digest] = packed
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _publish(self, item_id: str, digest: str) -> None:
        assert self._encoder is not None
        value = {
            "item_id": item_id,
            "encoder_id": self._encoder.encoder_id,
            "content_hash": digest,
            "dim": self._encoder.dim,
            "vector": self._known[digest],
        }
        self._there[item_id] = digest
        self._send(self._topic, item_id.encode(), encode(value), self._envelope(f"vector-{item_id}-{digest}"))

    def _withdraw(self, item_id: str) -> None:
        del self._there[item_id]
        self._send(self._topic, item_id.encode(), None, self._envelope(f"vector-{item_id}-withdrawn"))

    def _envelope(self, message_id: str) -> list[tuple[str, bytes]]:
        return cloudevent_headers(message_id, "headwater.item-vector", self._source, int(time.time() * 1000))

    def _dead_letter(self, message: Message, malformed: Malformed) -> None:
        """The record as received, once: the group's offset says which were written before this term."""
        partition, offset = message.partition() or 0, message.offset() or 0
        if offset < self._lettered.get(partition, 0):
            return
        if not self._may_publish():
            raise KafkaException(KafkaError(KafkaError._STATE, "this process may not write: another one leads"))
        now = int(time.time() * 1000)
        place = f"{self._items_topic}-{partition}-{offset}"
        ours = cloudevent_headers(place, "headwater.dead-letter", self._source, now)
        ours = [pair for pair in ours if pair[0] != "content-type"]  # nobody promises that it is JSON
        ours += dead_letter_headers(malformed, self._items_topic, partition, offset, now)
        taken = {name for name, _ in ours} | set(DEAD_LETTER_HEADERS)
        theirs = [(name, value) for name, value in message.headers() or () if name not in taken]
        self._send(self._letters_topic, message.key(), message.value(), theirs + ours)
        self._producer.flush(SESSION_MS / 1000)
        if self._errors:
            raise KafkaException(self._errors[0])
        self._election.commit(self._items_topic, partition, offset + 1)
        self._lettered[partition] = offset + 1
        metrics.DEAD_LETTERS.labels(malformed.reason).inc()

    def _send(self, topic: str, key: bytes | None, value: bytes | None, headers: Any) -> None:
        while True:
            try:
                self._producer.produce(topic, key=key, value=value, headers=headers, on_delivery=self._delivered)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _delivered(self, error: Any, _: Any) -> None:
        if error is not None:
            self._errors.append(error)
