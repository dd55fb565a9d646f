"""The encoder as a process: texts of items become vectors.

In: `items`, `item-vectors` and, of `releases`, those of the role "encoder", all whole. Out: a vector for each item
whose text has none under the encoder in use; null for an item that is withdrawn; a dead letter for each malformed
record of `items`. One process is active (`streams.learner.election`); vectors name the text they belong to, so one that
comes late or twice does no harm.

The topic itself is the memory of what is done: whoever leads next reads it and goes on with what is missing, also in
the middle of encoding everything again (`streams.learner.succession`, which decides what is to be encoded and when).
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from recsys.encoder import Adapter, TextEncoder, item_text
from schemas.decode import Malformed, decode_item
from schemas.headers import DEAD_LETTER_HEADERS, cloudevent_headers, dead_letter_headers
from schemas.items import ItemVector, Withdrawn
from schemas.releases import Release
from schemas.topics import TOPICS
from schemas.wire import encode
from streams.encoders import ROLE, Encoder, Encoders, loader
from streams.kafka.clients import producer
from streams.learner.election import SESSION_MS, Election
from streams.learner.process import RoleProcess
from streams.learner.reading import Reader
from streams.learner.succession import Succession
from streams.models import encoder_path, limit_threads, pick_device
from streams.observe import metrics
from streams.releases import ReleaseStorage
from streams.settings import Settings

_BULK = 5000
_IDLE_S = 0.05
_CONFIRM_S = 1.0
log = structlog.get_logger(__name__)


def run(settings: Settings, port: int) -> None:
    """Runs an encoder until SIGTERM or Ctrl-C; ends the process with its status."""
    RoleProcess(settings, port, "encoder").run(lead)


def lead(settings: Settings, election: Election, process: RoleProcess) -> None:
    """One term: from the election to its loss, or to the end of the process."""
    process.problem = "the text encoder is being loaded"
    base = None
    if settings.encoder != "none":
        limit_threads(settings.torch_threads)
        base = TextEncoder(encoder_path(settings.encoder), pick_device(settings.device))
    desk = Desk(settings, election, base)
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
    """The edges of the encoder role: what it reads, and what it writes while it leads."""

    def __init__(self, settings: Settings, election: Election, base: TextEncoder | None) -> None:
        """`base`: the frozen encoder; None: without any, only dead letters are written. Raises KafkaException when the
        brokers do not answer."""
        self._settings = settings
        self._election = election
        self._topic = TOPICS["item-vectors"].full_name(settings.namespace)
        self._items_topic = TOPICS["items"].full_name(settings.namespace)
        self._letters_topic = TOPICS["dead-letters"].full_name(settings.namespace)
        self._source = f"/{settings.namespace}/encoder"
        self._reader = Reader(settings, {"items": {}, "releases": {}})
        partitions = list(self._reader.positions["items"])
        self._lettered = election.committed(self._items_topic, partitions)
        self._vectors: Reader | None = Reader(settings, {"item-vectors": {}})
        self._work: Succession | None = None
        if base is not None:
            self._encoders = Encoders(base.encoder_id, loader(ReleaseStorage.of(settings)))
            self._work = Succession(base, self._encoders, self._load, self._publish)
        self._choice: list[Encoder] = []
        self._seen: dict[str, dict[str, tuple[str, str]]] = {}  # as in `succession`, while the topic is being read
        self._confirmed = 0.0
        self._errors: list[Any] = []
        self._producer = producer(settings, extra={"message.timeout.ms": SESSION_MS - 1000})

    def _load(self, adapter: Adapter) -> TextEncoder:
        settings = self._settings
        return TextEncoder(encoder_path(settings.encoder), pick_device(settings.device), adapter)

    def close(self) -> None:
        self._producer.flush(SESSION_MS / 1000)
        self._reader.__exit__()
        if self._vectors is not None:
            self._vectors.__exit__()

    # reading
    # -------------------------------------------------------------------------------------------------
    def read_what_is_there(self) -> bool:
        """Reads on; True once the topics were read to where they ended, so that no vector is made twice."""
        assert self._vectors is not None
        self._take(self._reader.take(_BULK, 0.01 if self._reader.behind() else 0))
        if self._reader.behind("releases"):
            return False  # they say which vectors are worth keeping in memory
        if self._work is not None and not self._choice:
            self._choice = self._encoders.usable(time.monotonic())
            self._seen = {encoder.encoder_id: {} for encoder in self._choice}
        for _, message in self._vectors.take(_BULK, 0.01 if self._vectors.behind() else 0):
            self._take_vector(message)
        if self._vectors.behind() or self._reader.behind():
            return False
        # from here on nobody else writes vectors
        self._vectors.__exit__()
        self._vectors = None
        if self._work is not None:
            for item_id in [i for i in self._work.there if i not in self._work.texts]:
                self._withdraw(item_id)
            self._work.begin(self._choice, self._seen, time.monotonic())
            log.info("encoder.ready", items=len(self._work.texts), to_encode=self._work.pending)
        self._seen = {}
        return True

    def _take_vector(self, message: Message) -> None:
        if self._work is None:
            return
        item_id = (message.key() or b"").decode(errors="replace")
        value = message.value()
        if value is None:
            self._work.there.pop(item_id, None)
            for seen in self._seen.values():
                seen.pop(item_id, None)
            return
        try:
            record = ItemVector.model_validate_json(value)
        except ValueError:
            log.warning("encoder.vector_ignored", partition=message.partition(), offset=message.offset())
            return
        self._work.there[item_id] = record.content_hash
        if record.encoder_id in self._seen:
            self._seen[record.encoder_id][item_id] = (record.content_hash, record.vector)

    def _take(self, records: list[tuple[str, Message]]) -> None:
        for topic, message in records:
            if topic == "items":
                self._take_item(message)
            elif message.key() == ROLE.encode() and message.value() is not None:
                self._take_release(message)

    def _take_release(self, message: Message) -> None:
        if self._work is None:
            return
        try:
            release = Release.model_validate_json(message.value() or b"")
        except ValueError as error:
            log.warning("encoder.release_ignored", offset=message.offset(), why=str(error)[:200])
            return
        if self._encoders.take(release):
            self._work.renew()

    def _take_item(self, message: Message) -> None:
        change = decode_item(message.key(), message.value(), self._settings.max_record_bytes)
        if isinstance(change, Malformed):
            self._dead_letter(message, change)
        elif self._work is not None:
            text = None if isinstance(change, Withdrawn) else item_text(change)
            self._work.change(change.item_id, text)
            if text is None and self._vectors is None and change.item_id in self._work.there:
                self._withdraw(change.item_id)

    # working
    # -------------------------------------------------------------------------------------------------
    def work(self) -> None:
        """One round: what is new on the topics, then one block of texts."""
        if not self._may_publish():
            return
        busy = self._work is not None and self._work.pending
        records = self._reader.take(_BULK, 0.0 if busy else _IDLE_S)
        self._take(records)
        self._producer.poll(0)
        if self._errors:
            raise KafkaException(self._errors[0])
        if self._work is None:
            return
        self._work.follow(time.monotonic())
        metrics.ENCODER_PENDING.set(self._work.pending)
        if len(records) < _BULK:  # else behind on the topic: what is newest is not yet here
            self._work.work()

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

    def _publish(self, encoder: TextEncoder, item_id: str, digest: str, packed: str) -> None:
        value = {
            "item_id": item_id,
            "encoder_id": encoder.encoder_id,
            "content_hash": digest,
            "dim": encoder.dim,
            "vector": packed,
        }
        self._send(self._topic, item_id.encode(), encode(value), self._envelope(f"vector-{item_id}-{digest}"))

    def _withdraw(self, item_id: str) -> None:
        assert self._work is not None
        del self._work.there[item_id]
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
