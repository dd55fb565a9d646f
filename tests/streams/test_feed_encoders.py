"""A feed on a real broker goes over from one encoder to the next: all at once, or not yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from recsys.encoder import Adapter, AdapterMisfit, adapted_id, content_hash, item_text, pack
from recsys.index.sketch import MEANING
from recsys.learning.guarded import _halves as halves
from recsys.learning.sequence import Rates, SequenceLearner
from recsys.world import World
from schemas.items import Item
from schemas.releases import Base, Release, TrainedThrough
from schemas.topics import TOPICS
from streams.feed import Feed, Snapshot
from streams.kafka.clients import producer
from streams.kafka.topics import ensure_topics
from streams.releases import ReleaseStorage
from streams.settings import Settings
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.services
DIM, FROZEN, ITEMS = 8, "frozen", 60
ADAPTERS = [{"q.A": np.full((1, 2), n, np.float32), "q.B": np.ones((2, 1), np.float32)} for n in range(3)]
Floats = np.ndarray[Any, np.dtype[np.float32]]


def embed(encoder_id: str, text: str) -> Floats:
    """What an encoder makes of a text: each has its own directions."""
    seed = int.from_bytes(blake2b(f"{encoder_id}|{text}".encode(), digest_size=8).digest(), "big")
    vector = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    return (vector / np.linalg.norm(vector)).astype(np.float16).astype(np.float32)


def tuned_id(n: int) -> str:
    return adapted_id(FROZEN, ADAPTERS[n])


def query_encoder(adapter: Adapter) -> Callable[[str], Floats]:
    if adapter["q.A"][0, 0] == 2:
        raise AdapterMisfit("no such module")
    name = adapted_id(FROZEN, adapter)
    return lambda text: embed(name, text)


class Shop:
    """Topics of a namespace, a feed of them, and every snapshot that it showed."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.storage = settings, ReleaseStorage.of(settings)
        self.snapshots: list[Snapshot] = []
        self.items = {f"i{n}": Item(item_id=f"i{n}", title=f"thing {n}") for n in range(ITEMS)}
        self._producer = producer(settings, linger_ms=0)
        self._feeds: list[Feed] = []

    def feed(self) -> Feed:
        self.snapshots = []
        world = World.empty(DIM, lambda text: embed(FROZEN, text))
        made = Feed(self.settings, world, self.storage, FROZEN, self.snapshots.append, query_encoder)
        self._feeds.append(made)
        made.start()
        assert made.wait(PATIENCE_S)
        return made

    def close(self) -> None:
        for feed in self._feeds:
            feed.stop()

    def send(self, topic: str, key: str, value: dict[str, Any]) -> None:
        name = TOPICS[topic].full_name(self.settings.namespace)
        self._producer.produce(name, key=key, value=orjson.dumps(value))

    def flush(self) -> None:
        assert self._producer.flush(20) == 0

    def stock(self) -> None:
        for one in self.items.values():
            self.send("items", one.item_id, {"item_id": one.item_id, "title": one.title})
        self.flush()

    def vectors(self, encoder_id: str, *ids: str) -> None:
        for item_id in ids or self.items:
            text = item_text(self.items[item_id])
            value = {
                "item_id": item_id, "encoder_id": encoder_id, "content_hash": content_hash(text, encoder_id),
                "dim": DIM, "vector": pack(embed(encoder_id, text)),
            }  # fmt: skip
            self.send("item-vectors", item_id, value)
        self.flush()

    def release(self, role: Any, sequence: int, place: Base, base: Base | None = None) -> str:
        record = Release(
            release_id=f"{role}-{place.sha256[:10]}-{sequence}", role=role, sequence=sequence, created_ts=1,
            status="serving", trained_through=TrainedThrough(ts=0, offsets={}), schema_version=1, base=base,
            **place.model_dump(),
        )  # fmt: skip
        self.send("releases", role, record.model_dump(mode="json"))
        self.flush()
        return record.release_id

    def tuned(self, n: int, sequence: int) -> str:
        place = self.storage.save_model("encoder", ADAPTERS[n], {"base": FROZEN}, sequence, 1)
        return self.release("encoder", sequence, place)

    def sequence_model(self, number: int, world: World, **meta: str) -> str:
        learner = SequenceLearner(world.catalogue.keys, world.dense.vectors(), Rates(epochs=1))
        rows = np.random.default_rng(1).integers(ITEMS, size=60)
        learner.take(np.repeat(np.arange(10), 6), rows, np.arange(60) + 1_760_000_000, np.ones(60, np.float32))
        learner.fit()
        model = learner.snapshot()
        items = self.storage.save_model("adapter", halves(model.item_side()), {}, number, 1)
        place = self.storage.save_model("sequence", halves(model.user_side()), meta, number, 1)
        return self.release("sequence", number, place, items)


@pytest.fixture
def shop(kafka: Any, namespace: str, tmp_path: Path) -> Iterator[Shop]:
    settings = Settings(
        namespace=namespace, kafka_bootstrap_servers=kafka.bootstrap, kafka_partitions=2, data_dir=tmp_path,
        world_refresh_ms=10,
    )  # fmt: skip
    ensure_topics(settings)
    made = Shop(settings)
    yield made
    made.close()


def until(question: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not question():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def whole(snapshot: Snapshot) -> tuple[str | None, int]:
    """Whose World it is, and how many items have their vector; fails if one of them, or the encoder of queries, is of
    another encoder."""
    world, encoder_id = snapshot.world, snapshot.encoder_id
    assert encoder_id is not None
    assert world.encode_query is not None
    np.testing.assert_array_equal(world.encode_query("?"), embed(encoder_id, "?"))
    rows = np.flatnonzero(world.dense.has[: world.catalogue.rows])
    for row in rows.tolist():
        wanted = embed(encoder_id, item_text(world.catalogue.items[row])) * MEANING
        np.testing.assert_allclose(world.dense.vectors(row)[:DIM], wanted, atol=2e-5)
    indexed = sorted([*world.dense.main_rows.tolist(), *world.dense.tail_rows.tolist()])
    assert indexed == rows.tolist()
    return encoder_id, len(rows)


def test_the_world_goes_over_to_a_tuned_encoder_all_at_once_and_names_it(shop: Shop) -> None:
    shop.stock()
    shop.vectors(FROZEN)
    feed = shop.feed()
    until(lambda: whole(feed.current()) == (FROZEN, ITEMS), "the frozen encoder's vectors")
    assert feed.current().world.release_id == "none"

    name = shop.tuned(0, 1)
    ids = list(shop.items)
    for at in range(0, ITEMS, 10):
        assert feed.current().encoder_id == FROZEN
        shop.vectors(tuned_id(0), *ids[at : at + 10])
        time.sleep(0.1)
    until(lambda: feed.current().encoder_id == tuned_id(0), "the tuned encoder")
    shop.items["new"] = Item(item_id="new", title="just arrived")
    shop.send("items", "new", {"item_id": "new", "title": "just arrived"})
    shop.vectors(FROZEN, "new")
    shop.vectors(tuned_id(0), "new")
    until(lambda: whole(feed.current()) == (tuned_id(0), ITEMS + 1), "the new item")

    seen = [(*whole(snapshot), snapshot.world.release_id) for snapshot in shop.snapshots]
    order = [encoder_id for encoder_id, _, _ in seen]
    assert order == sorted(order, key=[FROZEN, tuned_id(0)].index), "it went over once"
    assert {(encoder_id, release) for encoder_id, _, release in seen} == {(FROZEN, "none"), (tuned_id(0), name)}
    assert min(n for encoder_id, n, _ in seen if encoder_id == tuned_id(0)) == ITEMS, "no item was lost on the way"

    # who starts now serves from the tuned encoder at once
    late = shop.feed()
    assert whole(late.current()) == (tuned_id(0), ITEMS + 1)
    assert late.current().world.release_id == name
    assert {one.encoder_id for one in shop.snapshots if one.world.whole_items} == {tuned_id(0)}


def test_an_adapter_that_does_not_fit_leaves_the_encoder_in_use(shop: Shop) -> None:
    shop.stock()
    shop.vectors(FROZEN)
    feed = shop.feed()
    refused = shop.tuned(2, 1)
    shop.vectors(tuned_id(2))
    until(lambda: feed._choice[0].release is None and refused in str(feed._encoders._failed), "the refusal")  # type: ignore[union-attr]
    assert whole(feed.current()) == (FROZEN, ITEMS)
    assert not feed.problems()
    name = shop.tuned(0, 2)
    shop.vectors(tuned_id(0))
    until(lambda: feed.current().world.release_id == name, "the one that fits")


def test_a_sequence_model_serves_only_on_the_vectors_that_it_was_learnt_on(shop: Shop) -> None:
    shop.stock()
    shop.vectors(FROZEN)
    feed = shop.feed()
    until(lambda: whole(feed.current()) == (FROZEN, ITEMS), "the vectors")
    old = shop.sequence_model(1, feed.current().world)  # from before files said which encoder
    until(lambda: feed.current().world.release_id == old, "the sequence model")

    # the next encoder's model comes before this worker has the encoder: the old one goes on serving
    of_next = World.empty(DIM).advanced(
        [*shop.items.values()], [(i, embed(tuned_id(1), item_text(one))) for i, one in shop.items.items()]
    )
    next_model = shop.sequence_model(2, of_next, encoder_id=tuned_id(1))
    time.sleep(0.3)
    assert feed.current().world.release_id == old
    encoder = shop.tuned(1, 1)
    shop.vectors(tuned_id(1))
    until(lambda: feed.current().world.release_id == f"{encoder}+{next_model}", "both of the next encoder")

    # on the way back there is no model for the old vectors, until one comes
    shop.release("encoder", 2, shop.storage.save_model("encoder", {}, {"base": FROZEN}, 2, 1))
    until(lambda: feed.current().encoder_id == FROZEN, "the way back")
    assert feed.current().world.sequence is None
    again = shop.sequence_model(3, feed.current().world, encoder_id=FROZEN)
    until(lambda: feed.current().world.release_id.endswith(f"+{again}"), "a model for these vectors")
    for snapshot in shop.snapshots:
        whole(snapshot)
        named = snapshot.world.release_id.split("+")
        assert (snapshot.world.sequence is None) == (not any(name.startswith("sequence-") for name in named))
        for name in named:
            wanted = {old: FROZEN, next_model: tuned_id(1), again: FROZEN}.get(name, snapshot.encoder_id)
            assert snapshot.encoder_id == wanted
