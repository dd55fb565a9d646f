"""The Worlds of a feed are made again from what the journal would say of them: vectors, indexes and models included."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pytest

from recsys.encoder import content_hash, item_text, pack
from recsys.index import cells, dense
from recsys.rank import prior_weights
from recsys.world import World
from schemas.items import Item
from schemas.releases import Release
from schemas.topics import TOPICS
from streams import feed as feed_module
from streams.kafka.clients import producer
from streams.kafka.topics import ensure_topics
from streams.lineage import Lineage, again
from streams.models import Models
from streams.prior import target_of
from streams.releases import ReleaseStorage
from streams.replay import worlds as worlds_module
from streams.replay.errors import WorldGone
from streams.replay.journal import Stretch
from streams.replay.worlds import Worlds
from streams.settings import Settings
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.services
DIM = 8
START = 1_760_000_000_000


class Shop:
    """Items and vectors on real topics, and every World that a feed built from them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.models = Models("enc", DIM, None, "cpu")
        self.snapshots: list[feed_module.Snapshot] = []
        self._producer = producer(settings, linger_ms=0)
        self.storage = ReleaseStorage.of(settings)
        self.releases: list[Release] = []
        self.feed = feed_module.Feed(settings, self.empty(), self.storage, "enc", self.snapshots.append)

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

    def release(self, *releases: Release) -> None:
        for one in releases:
            self.releases.append(one)
            self.send("releases", one.role, one.model_dump(mode="json"))

    def flush(self) -> None:
        assert self._producer.flush(20) == 0

    def seen(self) -> None:
        """Sends what was given, and waits for the World with it."""
        before, limit = len(self.snapshots), 200
        self.flush()
        while len(self.snapshots) == before and (limit := limit - 1):
            self.feed._stop.wait(0.02)


@pytest.fixture
def live(kafka, namespace, tmp_path, monkeypatch, make):
    """A feed for which thirty items are a large catalogue, over changes of all kinds: of items, vectors and models."""
    monkeypatch.setattr(dense, "EXACT", 30)
    monkeypatch.setattr(dense, "_TAIL", 8)
    monkeypatch.setattr(cells, "_TRAIN_A_CELL", 1)
    monkeypatch.setattr(cells, "RECALL", 0.2)
    monkeypatch.setattr(worlds_module, "empty_world", lambda _: World.empty(DIM))
    settings = Settings(
        namespace=namespace, kafka_bootstrap_servers=kafka.bootstrap, kafka_partitions=3, data_dir=tmp_path,
        world_refresh_ms=10,
    )  # fmt: skip
    ensure_topics(settings)
    shop, rnd = Shop(settings), random.Random(5)
    shop.feed.start()
    assert shop.feed.wait(PATIENCE_S)
    lanes = None
    for n in range(90):
        item = shop.item(n)
        shop.vector(item)
        if n % 7 == 3:
            shop.vector(shop.item(rnd.randrange(n), f"a new title {n}"))
        if n % 11 == 5:
            shop.send("items", f"i{rnd.randrange(n):04d}", None)
        if n == 20:
            lanes = make.Lanes(shop.storage, shop.feed.current().world)
            shop.release(lanes.ranker())
        if n > 20 and n % 10 == 0:
            shop.release(lanes.sequence(items=n == 60), *([lanes.ranker()] if n % 20 == 0 else []))
        if n % 5 == 0:
            shop.seen()
    shop.flush()
    shop.feed._stop.wait(0.5)  # and then learning alone
    log = [make.event(at, f"u{at % 7}", action="view", item_id=f"i{at * at % 90:04d}") for at in range(80)]
    for release in (
        make.statistics(shop.storage, settings.policy, 1, log[:40]), lanes.sequence(), lanes.sequence(items=True),
        make.statistics(shop.storage, settings.policy, 2, log), lanes.ranker(),
    ):  # fmt: skip
        shop.release(release)
        shop.seen()
    lineage = Lineage()
    for one in shop.releases:
        lineage.take(one)
    prior = target_of(lineage, shop.storage, "ranker", "prior", START)
    shop.release(*again(lineage, prior, pinned=True, take_back=True, now_ms=START))
    shop.seen()
    yield shop
    shop.feed.stop()


def test_every_world_and_what_its_index_finds_come_back(live, stretches_of):
    stretches = stretches_of(live.snapshots)
    assert len(stretches) > 10
    assert any(one.index for one in stretches), "some Worlds are of a large catalogue"
    assert any(one.index and one.index != {t: one.positions[t] for t in one.index} for one in stretches)
    named = [one.names["release_id"].count("-") // 2 for one in stretches]
    assert {0, 1, 2} == set(named), "Worlds without models, with a ranker, and with both"
    assert len({one.names["release_id"] for one in stretches}) > 6
    queries = np.random.default_rng(1).standard_normal((7, live.snapshots[-1].world.dense.dim)).astype(np.float32)
    with Worlds(live.settings, live.models, stretches, pytest.fail, tolerant=False) as worlds:
        for stretch, snapshot in zip(stretches, live.snapshots, strict=True):
            assert found(worlds.of(stretch), queries) == found(snapshot.world, queries)
        # a worker that lagged behind takes over: backwards, and on from there; and from before any model
        for at in (len(stretches) // 2, -1, 1, -2):
            assert found(worlds.of(stretches[at]), queries) == found(live.snapshots[at].world, queries)


def test_a_rollback_to_the_prior_weights_comes_back(live, stretches_of):
    *_, before, last = stretches_of(live.snapshots)
    with Worlds(live.settings, live.models, [before, last], pytest.fail, tolerant=False) as worlds:
        assert not np.array_equal(worlds.of(before).ranker.weights, prior_weights())
        world = worlds.of(last)
        assert world.names == live.snapshots[-1].world.names
        assert np.array_equal(world.ranker.weights, prior_weights())


def test_what_models_made_of_items_stays_where_only_statistics_or_the_user_side_changed(live, stretches_of):
    stretches = [one for one in stretches_of(live.snapshots) if "sequence" in one.names["release_id"]]
    with Worlds(live.settings, live.models, stretches, pytest.fail, tolerant=False) as worlds:
        made = [(one, worlds.of(one), worlds.of(one).sequence_items) for one in stretches]
    base = {one.release_id: one.base.sha256 for one in live.releases if one.base}
    items_of = [base[one.names["release_id"].split("+")[1]] for one, _, _ in made]
    kept, anew = 0, 0
    for at, ((before, _, items), (after, world, later)) in enumerate(pairwise(made)):
        assert world.sequence_items is later
        alike = all(before.positions[topic] == after.positions[topic] for topic in ("items", "item-vectors"))
        if alike and before.names != after.names:
            assert (later is items) == (items_of[at] == items_of[at + 1])
            kept, anew = kept + (later is items), anew + (later is not items)
    assert kept >= 3, "for statistics twice, for a user side and for a ranker"
    assert anew


def digest(array: np.ndarray) -> str:
    """In place of the bytes, which a failing test would print for minutes."""
    return hashlib.sha256(array.tobytes()).hexdigest()


def found(world: World, queries: np.ndarray) -> list[object]:
    """What a step would find in a World, bits included."""
    told: list[object] = [world.names, digest(world.ranker.weights)]
    rows = world.dense.search(queries, 12)
    told.append([[world.catalogue.items[row].item_id for row in line if row >= 0] for line in rows])
    if world.sequence is not None:
        pool, vectors, base = world.sequence_pool
        told.append([world.catalogue.items[row].item_id for row in pool])
        told += [digest(vectors), digest(base)]
        told.append([digest(table[world.catalogue.id_rows]) for table in world.sequence_items])
        told.append({name: digest(array) for name, array in world.sequence.user_side().items()})
    return told


def test_a_world_whose_records_are_gone_is_an_error_that_says_so_or_the_nearest(live, stretches_of):
    last = stretches_of(live.snapshots)[-1]
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


def test_a_world_whose_models_are_gone_is_an_error_that_names_them_or_the_nearest(live, stretches_of):
    stretches = stretches_of(live.snapshots)
    last = stretches[-1]
    ranker, sequence = last.names["release_id"].split("+")

    # a record that the topic no longer has
    unknown = Stretch(
        0, 7, 8, last.names | {"release_id": f"{ranker}+sequence-0000000000-9"}, last.positions, last.index, 0
    )
    with (
        Worlds(live.settings, live.models, [unknown], pytest.fail, tolerant=False) as worlds,
        pytest.raises(WorldGone, match=r"partition 0 from offset 7 .*sequence-0000000000-9.* 30 days.*--tolerant"),
    ):
        worlds.of(unknown)

    # a role that only newer versions know
    newer = replace(unknown, names=last.names | {"release_id": f"bandit-0000000000-1+{ranker}+{sequence}"})
    with (
        Worlds(live.settings, live.models, [newer], pytest.fail, tolerant=False) as worlds,
        pytest.raises(WorldGone, match=r"bandit-0000000000-1.*does not follow releases of this role.*--tolerant"),
    ):
        worlds.of(newer)

    # a file that was pruned
    others = [one for one in stretches if "+" in one.names["release_id"] and sequence not in one.names["release_id"]]
    release = next(one for one in live.releases if one.release_id == sequence)
    Path(release.uri.removeprefix("file://")).unlink()
    with (
        Worlds(live.settings, live.models, stretches, pytest.fail, tolerant=False) as worlds,
        pytest.raises(WorldGone, match=rf"{sequence}.*no file at .*HEADWATER_RELEASES_URL.*--tolerant"),
    ):
        worlds.of(last)
    said: list[str] = []
    with Worlds(live.settings, live.models, stretches, said.append, tolerant=True) as worlds:
        assert worlds.of(last).names["release_id"] == ranker
        assert worlds.of(last) is worlds.of(last)
    assert f"{sequence} cannot be had" in said[0]
    assert "going on with no sequence release" in said[0]
    said.clear()
    with Worlds(live.settings, live.models, stretches, said.append, tolerant=True) as worlds:
        held = worlds.of(others[-1]).names["release_id"].split("+")[-1]
        assert worlds.of(last).names["release_id"] == f"{ranker}+{held}"
    assert f"going on with {held}" in said[0]
