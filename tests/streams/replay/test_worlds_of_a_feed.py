"""The Worlds of a feed are made again from what the journal would say of them, vectors and indexes included."""

from __future__ import annotations

import random

import numpy as np
import orjson
import pytest

from recsys.encoder import content_hash, item_text, pack
from recsys.index import dense
from recsys.world import World
from schemas.items import Item
from schemas.topics import TOPICS
from streams import feed as feed_module
from streams.kafka.clients import producer
from streams.kafka.topics import ensure_topics
from streams.models import Models
from streams.replay import worlds as worlds_module
from streams.replay.errors import WorldGone
from streams.replay.journal import Stretch
from streams.replay.worlds import Worlds
from streams.settings import Settings

pytestmark = pytest.mark.services
DIM = 8


class Shop:
    """Items and vectors on real topics, and every World that a feed built from them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.models = Models("enc", DIM, None, "cpu")
        self.snapshots: list[feed_module.Snapshot] = []
        self._producer = producer(settings, linger_ms=0)
        self.feed = feed_module.Feed(
            settings, self.empty(), lambda _: pytest.fail("no release"), "enc", self.snapshots.append
        )

    def empty(self) -> World:
        return World.empty(DIM)

    def send(self, topic: str, key: str, value: dict | None) -> None:
        data = None if value is None else orjson.dumps(value)
        self._producer.produce(TOPICS[topic].full_name(self.settings.namespace), key=key, value=data)

    def item(self, n: int, title: str = "") -> Item:
        item = Item(item_id=f"i{n:04d}", title=title or f"thing {n}", categories=[f"c{n % 5}"])
        self.send("items", item.item_id, item.model_dump(mode="json", exclude_none=True))
        return item

    def vector(self, item: Item) -> None:
        text = item_text(item)
        vector = np.random.default_rng(len(text) + int(item.item_id[1:])).standard_normal(DIM).astype(np.float32)
        digest = content_hash(text, "enc")
        record = {
            "item_id": item.item_id,
            "encoder_id": "enc",
            "content_hash": digest,
            "dim": DIM,
            "vector": pack(vector),
        }
        self.send("item-vectors", item.item_id, record)

    def flush(self) -> None:
        assert self._producer.flush(20) == 0

    def stretches(self) -> list[Stretch]:
        found = []
        for at, one in enumerate(self.snapshots):
            places = {topic: dict(offsets) for topic, offsets in one.positions.items()}
            index = {t.removesuffix(".index"): places.pop(t) for t in list(places) if t.endswith(".index")}
            found.append(Stretch(0, at, at + 1, dict(one.world.names), places, index, at))
        return found


@pytest.fixture
def live(kafka, namespace, tmp_path, monkeypatch):
    """A feed for which thirty items are a large catalogue, over changes of all kinds."""
    monkeypatch.setattr(dense, "EXACT", 30)
    monkeypatch.setattr(dense, "_TAIL", 8)
    monkeypatch.setattr(dense, "_TRAIN_A_CELL", 1)
    monkeypatch.setattr(dense, "PROBES", 2)
    monkeypatch.setattr(worlds_module, "empty_world", lambda _: World.empty(DIM))
    settings = Settings(
        namespace=namespace, kafka_bootstrap_servers=kafka.bootstrap, kafka_partitions=3, data_dir=tmp_path,
        world_refresh_ms=10,
    )  # fmt: skip
    ensure_topics(settings)
    shop, rnd = Shop(settings), random.Random(5)
    shop.feed.start()
    assert shop.feed.wait(60)
    for n in range(90):
        item = shop.item(n)
        shop.vector(item)
        if n % 7 == 3:
            shop.vector(shop.item(rnd.randrange(n), f"a new title {n}"))
        if n % 11 == 5:
            shop.send("items", f"i{rnd.randrange(n):04d}", None)
        if n % 5 == 0:
            shop.flush()
            before, limit = len(shop.snapshots), 200
            while len(shop.snapshots) == before and (limit := limit - 1):
                shop.feed._stop.wait(0.02)
    shop.flush()
    shop.feed._stop.wait(0.5)
    yield shop
    shop.feed.stop()


def test_every_world_and_what_its_index_finds_come_back(live):
    stretches = live.stretches()
    assert len(stretches) > 10
    assert any(one.index for one in stretches), "some Worlds are of a large catalogue"
    assert any(one.index and one.index != {t: one.positions[t] for t in one.index} for one in stretches)
    queries = np.random.default_rng(1).standard_normal((7, live.snapshots[-1].world.dense.dim)).astype(np.float32)
    with Worlds(live.settings, live.models, stretches, pytest.fail, tolerant=False) as worlds:
        for stretch, snapshot in zip(stretches, live.snapshots, strict=True):
            assert found(worlds.of(stretch), queries) == found(snapshot.world, queries)
        # a worker that lagged behind takes over: backwards, and on from there
        for at in (len(stretches) // 2, -1):
            assert found(worlds.of(stretches[at]), queries) == found(live.snapshots[at].world, queries)


def found(world: World, queries: np.ndarray) -> list[list[str]]:
    rows = world.dense.search(queries, 12)
    return [[world.catalogue.items[row].item_id for row in line if row >= 0] for line in rows]


def test_a_world_whose_records_are_gone_is_an_error_that_says_so_or_the_nearest(live):
    last = live.stretches()[-1]
    gone = Stretch(0, 7, 8, last.names | {"catalogue_version": "00000000000000aa"}, last.positions, last.index, 0)
    with (
        Worlds(live.settings, live.models, [gone], pytest.fail, tolerant=False) as worlds,
        pytest.raises(WorldGone, match=r"partition 0 from offset 7 .* compacted .*--tolerant"),
    ):
        worlds.of(gone)
    said: list[str] = []
    with Worlds(live.settings, live.models, [gone], said.append, tolerant=True) as worlds:
        assert worlds.of(gone).names == last.names
    assert "going on with the nearest" in said[0]
    pruned = Stretch(0, 7, 8, last.names | {"statistics_id": "statistics-0000000000-9"}, last.positions, last.index, 0)
    with (
        Worlds(live.settings, live.models, [pruned], pytest.fail, tolerant=False) as worlds,
        pytest.raises(WorldGone, match="statistics-0000000000-9"),
    ):
        worlds.of(pruned)
