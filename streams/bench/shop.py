"""A shop to measure in: a namespace with a catalogue, its vectors and a statistics release, all synthetic.

In: a number of items. Out: topics from which a worker builds its World without an encoder or a learner at work: vectors
carry the encoder's name and the hash of each item's text, the release is folded from a synthetic log by the learner's
own counting. Vectors lie in clusters, by shelf and by brand, as those of texts do.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from recsys.counting import Counts
from recsys.encoder import content_hash, item_text, pack, unpack
from recsys.priors import Shelf
from recsys.statistics import Statistics
from recsys.world import World
from schemas.events import EVENT
from schemas.items import Item
from schemas.releases import Release, TrainedThrough
from schemas.topics import TOPICS
from schemas.wire import encode
from streams.bench.errors import BenchFailed
from streams.bench.hop import Sent
from streams.bench.laboratory import Laboratory
from streams.bench.wave import Record
from streams.demo.log import synthetic_items, synthetic_log
from streams.kafka.clients import producer
from streams.releases import SCHEMA_VERSION, ReleaseStorage
from streams.settings import Settings
from streams.worker.bootstrap import empty_world

Floats = npt.NDArray[np.float32]
COUNTED = 100_000  # events behind the statistics release, at most
_FOLD = 5000


@dataclass
class Shop:
    """A namespace ready for workers. `vectors` are the encoder's as a worker reads them: float32[n, dim]."""

    lab: Laboratory
    settings: Settings
    items: list[Item]
    vectors: Floats
    statistics: Statistics

    @cached_property
    def world(self) -> World:
        """The World that a worker builds from the shop's topics."""
        return self._gathered.settled()

    @property
    def indexed(self) -> Floats:
        """float32[n, dim]: what a World's dense index holds of the items."""
        return self._gathered.dense.vectors(slice(len(self.items)))

    @cached_property
    def _gathered(self) -> World:
        vectors = list(zip((item.item_id for item in self.items), self.vectors, strict=True))
        return empty_world(self.lab.models).advanced(self.items, vectors, self.statistics)

    def log(self, users: int, seed: int = 0) -> Iterator[Record]:
        """An endless log of `users` users on the shop's items, as records of the events topic."""
        ids = [item.item_id for item in self.items]
        number = seed * 1_000_000_000
        while True:
            for event in synthetic_log(users, 1_000_000, ids, seed=seed):
                number += 1
                event["event_id"] = f"{number:016d}"
                yield event["user_id"].encode(), orjson.dumps(event)
            seed += 1

    def clicks(self, users: int) -> Iterator[Sent]:
        """Endless interactions of now, each marked with its event's id."""
        random = np.random.default_rng(11)
        for number in count():
            user_id = f"user-{random.integers(users):07d}"
            mark = f"now-{number:012d}"
            event = {
                "event_id": mark,
                "type": "interaction",
                "user_id": user_id,
                "ts": time.time_ns() // 1_000_000,
                "action": "click",
                "item_id": self.items[int(len(self.items) * random.random() ** 3)].item_id,
            }
            yield Sent(mark, user_id.encode(), orjson.dumps(event))


def open_shop(lab: Laboratory, items: int, **changed: Any) -> Shop:
    """Makes a namespace and fills its topics. `changed`: settings that differ from those of the run."""
    lab.say(f"a shop of {items:,} items")
    settings = lab.namespace(**changed)
    stock = [Item.model_validate(item) for item in synthetic_items(items)]
    models = lab.models
    vectors = _as_read(_clustered(stock, models.dim))
    _send(settings, "items", ((item.item_id, encode(_plain(item))) for item in stock))
    if models.encoder_id is not None:
        _send(settings, "item-vectors", _vector_records(stock, vectors, models.encoder_id))
    return Shop(lab, settings, stock, vectors, _release_statistics(settings, stock))


def _plain(item: Item) -> dict[str, Any]:
    return item.model_dump(mode="json", exclude_none=True)


def _clustered(items: list[Item], dim: int, seed: int = 7) -> Floats:
    """float32[n, dim] unit vectors: a direction for the shelf, one for the brand on that shelf, and the item's own."""
    if not dim or not items:
        return np.zeros((len(items), dim), np.float32)
    random = np.random.default_rng(seed)
    total = _units(random, len(items), dim) * np.float32(0.7)
    for names in ([tuple(i.categories) for i in items], [(*i.categories, i.brand) for i in items]):
        number = {name: at for at, name in enumerate(dict.fromkeys(names))}
        total += _units(random, len(number), dim)[[number[name] for name in names]] * np.float32(0.7)
    unit: Floats = total / np.linalg.norm(total, axis=1, keepdims=True)
    return unit


def _units(random: np.random.Generator, n: int, dim: int) -> Floats:
    found = random.standard_normal((n, dim), np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def _as_read(vectors: Floats) -> Floats:
    """What is left of vectors after their way through the topic."""
    return np.stack([unpack(pack(one), len(one)) for one in vectors]) if vectors.size else vectors


def _vector_records(items: list[Item], vectors: Floats, encoder_id: str) -> Iterator[tuple[str, bytes]]:
    for item, vector in zip(items, vectors, strict=True):
        value = {
            "item_id": item.item_id,
            "encoder_id": encoder_id,
            "content_hash": content_hash(item_text(item), encoder_id),
            "dim": len(vector),
            "vector": pack(vector),
        }
        yield item.item_id, encode(value)


def _send(settings: Settings, topic: str, records: Iterable[tuple[str, bytes]]) -> None:
    out, name = producer(settings, linger_ms=20), TOPICS[topic].full_name(settings.namespace)
    for at, (key, value) in enumerate(records):
        while True:
            try:
                out.produce(name, value, key.encode())
                break
            except BufferError:
                out.poll(0.05)
        if at % 1000 == 0:
            out.poll(0)
    if left := out.flush(120):
        raise BenchFailed(f"{left} records of {name} were not delivered within 120 s")


def _release_statistics(settings: Settings, items: list[Item]) -> Statistics:
    counts, shelf = Counts(settings.policy), Shelf()
    for item in items:
        shelf.place(item)
    events = min(COUNTED, 20 * len(items))
    log = iter(synthetic_log(max(100, events // 20), events, [item.item_id for item in items], seed=99))
    while part := [EVENT.validate_python(event) for event in islice(log, _FOLD)]:
        counts.learn(part)
    storage, now = ReleaseStorage.of(settings), time.time_ns() // 1_000_000
    place = storage.save_statistics(counts.tallies(shelf), 1, now, whole=True)
    release = Release(
        release_id=f"statistics-{place.sha256[:10]}-1", role="statistics", sequence=1, created_ts=now,
        trained_through=TrainedThrough(ts=counts.now or 0, offsets={}), uri=place.uri, sha256=place.sha256,
        size=place.size, schema_version=SCHEMA_VERSION, status="serving",
    )  # fmt: skip
    _send(settings, "releases", [(release.role, encode(release))])
    return storage.load_statistics(release)
