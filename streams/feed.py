"""Feed: the topics that every worker reads whole, turned into Worlds.

In: `items`, `item-vectors`, `releases` from their beginnings, on a thread of its own with a plain consumer (no group:
every worker needs all of it). Out: `current()`, the newest World, and how far each topic had been read when it was
built, which is what the worker's journal writes down. The step takes `current()` once a batch, so a World is swapped
between batches and never inside one.

A new World is built at most every `world_refresh_ms`; rebuilding an index takes seconds on a large catalogue, so it
runs on a second thread and is adopted when it is ready. What such an index finds depends on when it was built; so how
far the topics had been read then goes with the positions, under `items.index` and `item-vectors.index`.

A release of the role "encoder" changes the vectors of all items. The World goes over to it, vectors, index and query
encoder together, once `streams.encoders` says that they are complete; `release_id` names it from then on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import structlog
from confluent_kafka import KafkaException, Message, TopicPartition
from pydantic import ValidationError

from recsys.encoder import Adapter, AdapterMisfit
from recsys.statistics import Statistics
from recsys.world import World
from schemas.decode import Malformed, decode_item
from schemas.items import Item, Withdrawn
from schemas.releases import Release
from schemas.topics import TOPICS
from streams.encoders import RETRY_S, Encode, Encoder, Encoders, NextSet, VectorSets, adopted, loader, reencoded
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
    """A World and the next offset of each partition of each topic it was built from; whose vectors it has; the
    release of its statistics, None where nothing was counted."""

    world: World
    positions: Positions
    encoder_id: str | None = None
    statistics: Release | None = None


@dataclass(frozen=True, slots=True)
class _Crossing:
    """A World on the next encoder's vectors, in the making; `read_to`: how far the topics had been read for it."""

    following: NextSet
    built: Future[World]
    read_to: Positions


class Feed:
    """Follows the shared topics. Start it, wait until `problems()` is empty, take `current()` before each step."""

    def __init__(
        self,
        settings: Settings,
        world: World,
        storage: ReleaseStorage,
        encoder_id: str | None,
        on_world: Callable[[Snapshot], None] = lambda _: None,
        tuned: Callable[[Adapter], Encode] | None = None,
    ) -> None:
        """`world`: the empty one, of the frozen encoder `encoder_id`; `tuned` makes the query encoder of an adapter, or
        raises AdapterMisfit. Without it releases of encoders are not followed."""
        self._settings = settings
        self._load_statistics = storage.load_statistics
        self.served = Served(storage, encoder_id=encoder_id, frozen_id=encoder_id)
        self._on_world = on_world
        self._names = {TOPICS[t].full_name(settings.namespace): t for t in _TOPICS}
        self._positions: dict[str, dict[int, int]] = {t: {} for t in _TOPICS}
        self._snapshot = Snapshot(world, {}, encoder_id)
        self._ends: dict[tuple[str, int], int] = {}
        self._items: list[Item | Withdrawn] = []
        self._release: Release | None = None
        self._sequence = -1
        self._statistics: Release | None = None
        self._vectors = VectorSets(encoder_id, world.vector_dim)
        self._frozen, self._tuned = world.encode_query, tuned
        self._encoders: Encoders | None = None
        if encoder_id is not None and tuned is not None:
            self._encoders = Encoders(encoder_id, loader(storage))
        self._choice: list[Encoder] = []
        self._choose_at = 0.0
        self._crossing: _Crossing | None = None
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
            extra={"fetch.wait.max.ms": 100, "enable.partition.eof": False, "fetch.message.max.bytes": 8 << 20},
        )
        try:
            self._assign(reader)
            built = 0.0
            while not self._stop.is_set():
                for message in reader.consume(_BULK, _POLL_S):
                    self._take(message)
                self._choose()
                behind = any(self._positions[t].get(p, 0) < end for (t, p), end in self._ends.items())
                now = time.monotonic()
                due = now - built >= self._settings.world_refresh_ms / 1000
                if (due and not behind) or len(self._items) >= 4 * _BULK:
                    built = now
                    self._build(whole=not behind or self._caught_up.is_set())
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
            self._vectors.take(message.key(), message.value())
        elif message.value() is not None:
            try:
                release = Release.model_validate_json(message.value() or b"")
            except ValidationError as invalid:
                log.warning("release_ignored", why=f"{invalid.error_count()} faults in its record")
                return
            self.served.take(release)
            if self._encoders is not None and self._encoders.take(release):
                self._choose_at = 0.0
            if release.role == "statistics" and release.status == "serving" and release.sequence > self._sequence:
                # a learner that was paused may still send one: the higher sequence is the newer, whatever came last
                self._sequence, self._release = release.sequence, release

    def _choose(self) -> None:
        """Which encoders may be served, when releases say so, and now and then: files that could not be read may be
        there by now."""
        now = time.monotonic()
        if self._encoders is None or now < self._choose_at:
            return
        self._choose_at = now + RETRY_S
        self._choice = self._encoders.usable(now)
        self._vectors.choose(self._choice)
        # the same encoder may be released again: after a rollback, by a newer record
        for encoder in self._choice:
            if encoder.encoder_id == self.served.encoder_id:
                self.served.encoded_by(encoder.encoder_id, encoder.release)

    def _build(self, *, whole: bool) -> None:
        """The next World from what was read since the last one, if anything was. `whole`: the topics were once read to
        where they ended, so that it is known which encoder's vectors are there."""
        world = self._snapshot.world
        statistics = self._counted(world)
        items, self._items = self._items, []
        self._vectors.expect(items)
        # items first, so that rows exist for the vectors that are already here
        next_world = self._dated(world, world.advanced(items, (), statistics) if items or statistics else world)
        if whole:
            next_world = self._cross(next_world)
            if ready := self._vectors.ready(next_world):
                next_world = self._dated(next_world, next_world.advanced((), ready))
        next_world = self.served.onto(next_world)
        next_world = self._settle(next_world)
        if next_world is world:
            return
        _warm(next_world)
        for one in next_world.apart if next_world.canary is not None else ():
            _warm(one)
        self._show(next_world, self._read_to())

    def _dated(self, before: World, world: World) -> World:
        """The World, whose index was just built if it is another than before."""
        if world.dense.main is not before.dense.main:
            self._index_at = self._read_to()
        return world

    def _cross(self, world: World) -> World:
        """The World on the next encoder's vectors, where they are complete and it has been built; until then as it
        was. Before anything is served from it, nobody waits: it is built at once."""
        while True:
            crossing = self._crossing
            if crossing is None:
                following = self._vectors.switch()
                if following is None:
                    return world
                log.info("feed_changes_encoder", encoder_id=following.encoder.encoder_id, items=len(following.vectors))
                self._rebuild = None  # an index of the old vectors
                built = self._pool.submit(reencoded, world, following, self._encode_of(following.encoder))
                crossing = self._crossing = _Crossing(following, built, self._read_to())
            if self._caught_up.is_set() and not crossing.built.done():
                return world
            self._crossing = None
            encoder = crossing.following.encoder
            try:
                built_world = crossing.built.result()
            except Exception as error:
                if self._encoders is None or encoder.release is None:
                    log.exception("feed_keeps_its_encoder")
                    return world
                why = str(error) if isinstance(error, AdapterMisfit) else repr(error)
                self._encoders.refuse(encoder, why, time.monotonic())
                self._choose_at = 0.0
                self._choose()
                continue
            world = adopted(world, built_world)
            kept = world.dense.main is built_world.dense.main
            self._index_at = crossing.read_to if kept else self._read_to()
            self._vectors.switched(encoder.encoder_id)
            self.served.encoded_by(encoder.encoder_id, encoder.release)
            return world

    def _encode_of(self, encoder: Encoder) -> Callable[[], Encode | None]:
        """Loads an encoder's `encode_query`."""
        tuned, frozen = self._tuned, self._frozen
        return lambda: tuned(encoder.adapter) if tuned is not None and encoder.adapter else frozen

    def _read_to(self) -> Positions:
        return {topic: dict(places) for topic, places in self._positions.items()}

    def _show(self, world: World, positions: Positions) -> None:
        dense = world.dense
        if dense.dated and dense.main is not self._snapshot.world.dense.main:
            log.info("index_built", vectors=len(dense.main_rows), recall=round(dense.recall, 4))
        index = {f"{topic}.index": self._index_at[topic] for topic in _INDEXED} if dense.dated else {}
        shown = {t: positions[t] for t in _TOPICS} | index
        self._snapshot = Snapshot(world, shown, self._vectors.encoder_id, self._statistics)
        self._on_world(self._snapshot)

    def _counted(self, world: World) -> Statistics | None:
        release, self._release = self._release, None
        if release is None or release.release_id == world.statistics.statistics_id:
            return None
        try:
            statistics = self._load_statistics(release)
        except Exception as error:
            # the World in hand goes on serving; the next release comes within a second or two
            log.warning("release_unusable", release_id=release.release_id, why=str(error))
            return None
        self._statistics = release
        return statistics

    def _settle(self, world: World) -> World:
        if self._rebuild is not None and self._rebuild.done():
            settled, self._rebuild = self._rebuild.result(), None
            world = world.adopting(settled)
            if world.dense.main is settled.dense.main:
                self._index_at = self._rebuild_at
        if self._rebuild is None and self._crossing is None:  # what is in the making stands on rows as they are
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


def _warm(world: World) -> None:
    """Works out here what the first step that needs it would have to."""
    for name in ("names", "shared_features", "popular", "trending", "newest", "price_level", "whole_items"):
        getattr(world, name)
    if world.sequence is not None:
        _ = world.sequence_pool
