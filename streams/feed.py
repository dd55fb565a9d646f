"""Feed: the topics that every worker reads whole, turned into Worlds.

In: `items`, `item-vectors`, `releases` from their beginnings, on a thread of its own with a plain consumer (no group:
every worker needs all of it). Out: `current()`, the newest World, and how far each topic had been read when it was
built, which is what the worker's journal writes down. The step takes `current()` once a batch, so a World is swapped
between batches and never inside one.

A new World is built at most every `world_refresh_ms`; rebuilding an index takes seconds on a large catalogue, so it
runs on a second thread and is adopted when it is ready. What such an index finds depends on when it was built; so how
far the topics had been read then goes with the positions, under `items.index` and `item-vectors.index`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import structlog
from confluent_kafka import KafkaException, Message, TopicPartition
from pydantic import ValidationError

from recsys.encoder import content_hash, item_text, unpack
from recsys.statistics import Statistics
from recsys.world import World
from schemas.decode import Malformed, decode_item
from schemas.items import Item, ItemVector, Withdrawn
from schemas.releases import Release
from schemas.topics import TOPICS
from streams.kafka.clients import consumer
from streams.releases import ReleaseStorage
from streams.served import Served
from streams.settings import Settings

_TOPICS = ("items", "item-vectors", "releases")
_INDEXED = ("items", "item-vectors")
_POLL_S = 0.05
_BULK = 5000
log = structlog.get_logger("feed")

Positions = Mapping[str, Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A World and the next offset of each partition of each topic it was built from."""

    world: World
    positions: Positions


class Feed:
    """Follows the shared topics. Start it, wait until `problems()` is empty, take `current()` before each step."""

    def __init__(
        self,
        settings: Settings,
        world: World,
        storage: ReleaseStorage,
        encoder_id: str | None,
        on_world: Callable[[Snapshot], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._load_statistics = storage.load_statistics
        self.served = Served(storage)
        self._encoder_id = encoder_id
        self._on_world = on_world
        self._names = {TOPICS[t].full_name(settings.namespace): t for t in _TOPICS}
        self._positions: dict[str, dict[int, int]] = {t: {} for t in _TOPICS}
        self._snapshot = Snapshot(world, {})
        self._ends: dict[tuple[str, int], int] = {}
        self._items: list[Item | Withdrawn] = []
        self._release: Release | None = None
        self._sequence = -1
        self._vectors = _Vectors()
        self._caught_up = threading.Event()
        self._stop = threading.Event()
        self._failure: str | None = None
        self._rebuild: Future[World] | None = None
        self._rebuild_at = self._index_at = self._read_to()
        self._pool = ThreadPoolExecutor(1, "index-rebuild")
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def current(self) -> Snapshot:
        """The newest snapshot; reading it is one pointer."""
        return self._snapshot

    def wait(self, timeout: float) -> bool:
        """Waits until the topics were read to where they ended at the start."""
        return self._caught_up.wait(timeout)

    def problems(self) -> list[str]:
        """Why the World is not to be served from yet; empty once it is."""
        if self._failure:
            return [self._failure]
        return [] if self._caught_up.is_set() else ["the catalogue and the releases are still being read"]

    # the thread ------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except KafkaException as error:
                self._failure = f"the feed lost Kafka ({error.args[0]}); it goes on trying"
                log.warning("feed_lost_kafka", error=str(error.args[0]))
                self._stop.wait(1)
            except Exception as error:
                self._failure = f"the feed failed: {error!r}; serving the last World, trying again"
                log.exception("feed_failed")
                self._stop.wait(1)

    def _follow(self) -> None:
        reader = consumer(
            self._settings,
            f"{self._settings.namespace}-feed",
            extra={"fetch.wait.max.ms": 20, "enable.partition.eof": False, "fetch.message.max.bytes": 8 << 20},
        )
        try:
            self._assign(reader)
            built = 0.0
            while not self._stop.is_set():
                for message in reader.consume(_BULK, _POLL_S):
                    self._take(message)
                behind = any(self._positions[t].get(p, 0) < end for (t, p), end in self._ends.items())
                now = time.monotonic()
                due = now - built >= self._settings.world_refresh_ms / 1000
                if (due and not behind) or len(self._items) >= 4 * _BULK:
                    built = now
                    self._build()
                    if not behind and not self._caught_up.is_set():
                        self._settle_first()
                        self._caught_up.set()
                    self._failure = None
        finally:
            reader.close()

    def _assign(self, reader: object) -> None:
        """All partitions of all topics from where this feed stands; on the first call that is the beginning."""
        places = []
        for name, topic in self._names.items():
            partitions = reader.list_topics(name, timeout=10).topics[name].partitions  # type: ignore[attr-defined]
            for partition in partitions:
                start = self._positions[topic].get(partition, 0)
                _, end = reader.get_watermark_offsets(  # type: ignore[attr-defined]
                    TopicPartition(name, partition), timeout=10
                )
                self._ends[topic, partition] = end
                self._positions[topic].setdefault(partition, 0)
                places.append(TopicPartition(name, partition, start))
        reader.assign(places)  # type: ignore[attr-defined]

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        topic = self._names[message.topic() or ""]
        self._positions[topic][message.partition() or 0] = (message.offset() or 0) + 1
        if topic == "items":
            item = decode_item(message.key(), message.value(), self._settings.max_record_bytes)
            if not isinstance(item, Malformed):  # the encoder role writes the dead letter, once
                self._items.append(item)
        elif topic == "item-vectors":
            self._vectors.take(message)
        elif message.value() is not None:
            try:
                release = Release.model_validate_json(message.value() or b"")
            except ValidationError as invalid:
                log.warning("release_ignored", why=f"{invalid.error_count()} faults in its record")
                return
            self.served.take(release)
            if release.role == "statistics" and release.status == "serving" and release.sequence > self._sequence:
                # a learner that was paused may still send one: the higher sequence is the newer, whatever came last
                self._sequence, self._release = release.sequence, release

    def _build(self) -> None:
        """The next World from what was read since the last one, if anything was."""
        world = self._snapshot.world
        statistics = self._statistics(world)
        items, self._items = self._items, []
        if items:
            self._vectors.expect(items, self._encoder_id)
        # items first, so that rows exist for the vectors that are already here
        next_world = world.advanced(items, (), statistics) if items or statistics else world
        ready = self._vectors.ready(next_world) if world.vector_dim else []
        if ready:
            next_world = next_world.advanced((), ready)
        next_world = self.served.onto(next_world)
        if next_world.dense.main is not world.dense.main:
            self._index_at = self._read_to()
        next_world = self._settle(next_world)
        if next_world is world:
            return
        warm = ["names", "shared_features", "popular", "trending", "newest", "price_level", "whole_items"]
        for name in [*warm, "sequence_pool"] if next_world.sequence is not None else warm:
            getattr(next_world, name)  # worked out here rather than in the first step that needs it
        self._show(next_world, self._read_to())

    def _read_to(self) -> Positions:
        return {topic: dict(places) for topic, places in self._positions.items()}

    def _show(self, world: World, positions: Positions) -> None:
        index = {f"{topic}.index": self._index_at[topic] for topic in _INDEXED} if world.dense.dated else {}
        self._snapshot = Snapshot(world, {t: positions[t] for t in _TOPICS} | index)
        self._on_world(self._snapshot)

    def _statistics(self, world: World) -> Statistics | None:
        release, self._release = self._release, None
        if release is None or release.release_id == world.statistics.statistics_id:
            return None
        try:
            return self._load_statistics(release)
        except Exception as error:
            # the World in hand goes on serving; the next release comes within a second or two
            log.warning("release_unusable", release_id=release.release_id, why=str(error))
            return None

    def _settle(self, world: World) -> World:
        if self._rebuild is not None and self._rebuild.done():
            settled, self._rebuild = self._rebuild.result(), None
            world = world.adopting(settled)
            if world.dense.main is settled.dense.main:
                self._index_at = self._rebuild_at
        if self._rebuild is None:
            if world.wasteful:
                self._index_at = self._read_to()
                return world.compacted()
            if world.due and self._caught_up.is_set():
                self._rebuild_at = self._read_to()
                self._rebuild = self._pool.submit(world.settled)
        return world

    def _settle_first(self) -> None:
        """Before the worker is ready nobody waits: build the indexes at once."""
        world, positions = self._snapshot.world, self._snapshot.positions
        if world.catalogue.rows:
            self._index_at = positions
            self._show(world.settled(), positions)


class _Vectors:
    """Matches vectors with items by the hash of the text: either may come first, and a stale vector waits in vain."""

    def __init__(self) -> None:
        self._wanted: dict[str, str] = {}  # item_id -> content hash of the text it has now, while without a vector
        self._waiting: dict[str, tuple[str, npt.NDArray[np.float32]]] = {}  # item_id -> its newest vector

    def take(self, message: Message) -> None:
        key, value = message.key(), message.value()
        item_id = key.decode() if isinstance(key, bytes) else ""
        if value is None:
            self._waiting.pop(item_id, None)
            return
        try:
            record = ItemVector.model_validate_json(value)
            vector = unpack(record.vector, record.dim)
        except ValueError:  # pydantic's own errors are ValueErrors too
            log.warning("vector_ignored", item_id=item_id)
            return
        self._waiting[record.item_id] = (record.content_hash, vector)

    def expect(self, items: list[Item | Withdrawn], encoder_id: str | None) -> None:
        for item in items:
            if isinstance(item, Withdrawn):
                self._wanted.pop(item.item_id, None)
            elif encoder_id is not None:
                self._wanted[item.item_id] = content_hash(item_text(item), encoder_id)

    def ready(self, world: World) -> list[tuple[str, npt.NDArray[np.float32]]]:
        """Vectors of rows that have none yet and whose text they encode."""
        out = []
        catalogue, dense = world.catalogue, world.dense
        for item_id in list(self._wanted.keys() & self._waiting.keys()):
            digest, vector = self._waiting[item_id]
            row = catalogue.row_of.get(item_id)
            if digest == self._wanted[item_id] and row is not None:
                del self._wanted[item_id]
                # kept in _waiting: an item that is withdrawn and comes back has its vector at once
                if not dense.has[row] and len(vector) == world.vector_dim:
                    out.append((item_id, vector))
        return out
