"""What tests of replay share: a small shop and its log as files, models for it, settings without a text encoder; and a
feed that reads topics in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
import typer
from typer.testing import CliRunner, Result

from recsys.counting import Counts
from recsys.encoder import Adapter, adapted_id, content_hash, item_text, pack
from recsys.policy import Policy
from recsys.priors import Shelf
from recsys.world import World
from schemas.events import EVENT
from schemas.items import Item
from schemas.releases import Release, TrainedThrough
from schemas.topics import TOPICS
from streams.cli import people, replay
from streams.feed import Feed, Snapshot
from streams.models import Models
from streams.releases import ReleaseStorage
from streams.replay import released as released_module
from streams.replay import worlds as worlds_module
from streams.replay.journal import Stretch
from streams.replay.worlds import Worlds
from streams.settings import Settings, settings

START = 1_760_000_000_000
WORDS = ("red shoe", "blue dress", "green lamp", "black phone", "white shirt")
SAID = ("a red shoe under 90 EUR", "not blue please", "any colour is fine", "我想要便宜的")


def shop(n: int = 60) -> list[dict[str, Any]]:
    return [
        {
            "item_id": f"item-{at}", "title": f"{WORDS[at % 5]} no {at}", "categories": [f"shelf {at % 7}"],
            "price": {"amount": 10 + 3 * at, "currency": "EUR"}, "published_at": START - at * 86_400_000,
        }
        for at in range(n)
    ]  # fmt: skip


def event(at: int, user: str, type: str = "interaction", **fields: Any) -> dict[str, Any]:
    return {"event_id": f"e{at}", "type": type, "user_id": user, "ts": START + at * 1000, **fields}


def shoppers(n: int, users: int = 25) -> list[dict[str, Any]]:
    """A log of all kinds of events."""
    made = []
    for at in range(n):
        user, item = f"user-{at * 7 % users}", f"item-{at * at % 63}"
        if at % 31 == 30:
            made.append(event(at, user, "forget", scope="all"))
        elif at % 13 == 12:
            made.append(event(at, user, "chat", text=SAID[at % 4]))
        elif at % 11 == 10:
            made.append(event(at, user, "request", k=5, query="a lamp" if at % 2 else None))
        elif at % 17 == 16:
            made.append(event(at, user, "impression", rec_id=f"r{at}", item_ids=[item]))
        else:
            made.append(event(at, user, action=("view", "click", "purchase")[at % 3], item_id=item))
    return [{name: value for name, value in one.items() if value is not None} for one in made]


def jsonl(path: Path, rows: list[Any]) -> str:
    path.write_bytes(b"".join((one if isinstance(one, bytes) else orjson.dumps(one)) + b"\n" for one in rows))
    return str(path)


def statistics(storage: ReleaseStorage, policy: Policy, sequence: int, events: list[dict[str, Any]]) -> Release:
    """Counts of a log, released whole."""
    counts = Counts(policy)
    counts.learn([EVENT.validate_python(one) for one in events])
    place = storage.save_statistics(counts.tallies(Shelf()), sequence, START, whole=True)
    return Release(
        release_id=f"statistics-{place.sha256[:10]}-{sequence}", role="statistics", sequence=sequence, created_ts=START,
        trained_through=TrainedThrough(ts=0, offsets={}), uri=place.uri, sha256=place.sha256, size=place.size,
        schema_version=1, status="serving",
    )  # fmt: skip


@pytest.fixture(scope="session")
def make(lanes_of: type) -> SimpleNamespace:
    """Makes items, events and files of them, statistics and models."""
    return SimpleNamespace(
        START=START, shop=shop, event=event, shoppers=shoppers, jsonl=jsonl, statistics=statistics, Lanes=lanes_of
    )


@pytest.fixture
def in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("HEADWATER_ENCODER", "none")
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    settings.cache_clear()
    yield settings()
    settings.cache_clear()


@pytest.fixture
def headwater(in_force: Settings) -> Callable[..., Result]:
    app = typer.Typer()
    replay.register(app)
    people.register(app)

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, list(words))

    return run


# a feed in memory
# -------------------------------------------------------------------------------------------------------------------
DIM, BASE = 8, "frozen"
ADAPTERS: list[Adapter] = [
    {"q.A": np.full((1, 2), n, np.float32), "q.B": np.ones((2, 1), np.float32)} for n in range(3)
] + [{}]
IDS = [adapted_id(BASE, adapter) for adapter in ADAPTERS]
TOPICS_READ = ("items", "item-vectors", "releases")


def embed(encoder_id: str, text: str) -> np.ndarray:
    """What an encoder makes of a text: each has its own directions."""
    seed = int.from_bytes(blake2b(f"{encoder_id}|{text}".encode(), digest_size=8).digest(), "big")
    vector = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    return (vector / np.linalg.norm(vector)).astype(np.float16).astype(np.float32)


def query_of(adapter: Adapter) -> Callable[[str], np.ndarray]:
    name = adapted_id(BASE, adapter)
    return lambda text: embed(name, text)


class OfTheTest(Models):
    tuned = property(lambda _: query_of)


class Record:
    """A record of a topic's only partition."""

    def __init__(self, topic: str, offset: int, key: str, value: bytes | None) -> None:
        self.topic, self.offset = lambda: topic, lambda: offset
        self.key, self.value = lambda: key.encode(), lambda: value
        self.partition, self.error = lambda: 0, lambda: None


class Later:
    """A thread beside the feed's, on which work is done when the test says so."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []

    def submit(self, work: Callable[..., Any], *given: Any) -> Future[Any]:
        found: Future[Any] = Future()
        self._waiting.append(lambda: found.set_result(work(*given)))
        return found

    def run(self) -> None:
        while self._waiting:
            self._waiting.pop()()


def stretches_of(snapshots: Sequence[Any]) -> list[Stretch]:
    """As if each World that a feed built had been served for one offset."""
    found = []
    for at, one in enumerate(snapshots):
        places = {topic: dict(offsets) for topic, offsets in one.positions.items()}
        index = {t.removesuffix(".index"): places.pop(t) for t in list(places) if t.endswith(".index")}
        found.append(Stretch(0, at, at + 1, dict(one.world.names), places, index, at))
    return found


@pytest.fixture(scope="session", name="stretches_of")
def _stretches_of() -> Callable[[Sequence[Any]], list[Stretch]]:
    return stretches_of


class Run:
    """Topics in memory, a feed that reads them a record at a time, and every World that it showed."""

    IDS, FROZEN = IDS, len(IDS) - 1
    embed = staticmethod(embed)

    def __init__(self, folder: Path, lanes_of: Any) -> None:
        self.settings = Settings(namespace="n", data_dir=folder)
        self.models = OfTheTest(BASE, DIM, query_of({}), "cpu")
        self.logs: dict[str, list[Record]] = {topic: [] for topic in TOPICS_READ}
        self.snapshots: list[Snapshot] = []
        self.texts: dict[str, Item] = {}
        storage, world = ReleaseStorage.of(self.settings), World.empty(DIM, query_of({}))
        self._lanes = lanes_of(storage, world, self._announce)
        self.feed = Feed(self.settings, world, storage, BASE, self.snapshots.append, query_of)
        self._pool = self.feed._pool = Later()  # type: ignore[assignment]
        self.feed._positions = {topic: {0: 0} for topic in TOPICS_READ}
        self.feed._caught_up.set()

    # what goes onto the topics
    def _append(self, topic: str, key: str, value: Any) -> None:
        log = self.logs[topic]
        name = TOPICS[topic].full_name("n")
        log.append(Record(name, len(log), key, None if value is None else orjson.dumps(value)))

    def item(self, n: int, title: str = "") -> None:
        item = Item(item_id=f"i{n}", title=title or f"thing {n}")
        self.texts[item.item_id] = item
        self._append("items", item.item_id, {"item_id": item.item_id, "title": item.title})

    def withdraw(self, n: int) -> None:
        self._append("items", f"i{n}", None)
        self._append("item-vectors", f"i{n}", None)

    def vector(self, n: int, *which: int) -> None:
        if (item := self.texts.get(f"i{n}")) is None:
            return
        text = item_text(item)
        for encoder_id in (IDS[one] for one in which):
            value = {"item_id": item.item_id, "encoder_id": encoder_id, "dim": DIM}
            value |= {"content_hash": content_hash(text, encoder_id), "vector": pack(embed(encoder_id, text))}
            self._append("item-vectors", item.item_id, value)

    def tune(self, which: int) -> Release:
        """The learner releases another encoder."""
        released: Release = self._lanes.encoder(ADAPTERS[which], BASE)
        return released

    def _announce(self, release: Release) -> None:
        self._append("releases", release.role, release.model_dump(mode="json"))

    # what the feed does
    def read(self, topic: str, most: int = 10**6) -> None:
        at = self.feed._positions[topic][0]
        for record in self.logs[topic][at : at + most]:
            self.feed._take(record)  # type: ignore[arg-type]

    def build(self, *, done: bool = True) -> None:
        """`done`: what is being made beside is ready."""
        for _ in range(2 if done else 1):
            if done:
                self._pool.run()
            self.feed._choose()
            self.feed._build(whole=True)

    def turn(self, *, build: bool = True) -> None:
        """Reads all that is there."""
        for topic in TOPICS_READ:
            self.read(topic)
        if build:
            self.build()

    # and what a replay makes of it
    def stretches(self) -> list[Stretch]:
        return stretches_of(self.snapshots)

    def tape(self, _: Settings, topic: str) -> Tape:
        return Tape(self.logs[topic])

    def worlds(self, stretches: Sequence[Stretch], say: Any = pytest.fail, **how: Any) -> Worlds:
        return Worlds(self.settings, self.models, stretches, say, **({"tolerant": False} | how))

    @staticmethod
    def found(world: World) -> list[object]:
        """What a step would find in a World, bits included."""
        assert world.encode_query is not None
        rows = {item_id: row for item_id, row in world.catalogue.row_of.items() if world.dense.has[row]}
        queries = np.random.default_rng(1).standard_normal((5, world.dense.dim)).astype(np.float32)
        lines = world.dense.search(queries, 6)
        return [
            world.names, world.encode_query("?").tobytes(),
            {item_id: world.dense.numbers[row].tobytes() for item_id, row in rows.items()},
            [[world.catalogue.items[row].item_id for row in line if row >= 0] for line in lines],
        ]  # fmt: skip


class Tape:
    """A topic that does not grow any more."""

    def __init__(self, log: list[Record]) -> None:
        self._log, self.read = log, 0

    def __enter__(self) -> Tape:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def upto(self, _: int, offset: int) -> Iterator[Record]:
        while self.read < min(offset, len(self._log)):
            self.read += 1
            yield self._log[self.read - 1]

    def all(self) -> Iterator[Record]:
        return self.upto(0, len(self._log))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, lanes_of: type) -> Iterator[Callable[[], Run]]:
    """`begun()`: a run of its own, with topics of its own; the files of releases are shared."""
    folder = tmp_path_factory.mktemp("releases")
    with pytest.MonkeyPatch.context() as patch:

        def begin() -> Run:
            run = Run(folder, lanes_of)
            for module in (worlds_module, released_module):
                patch.setattr(module, "Tape", run.tape)
            return run

        yield begin


@pytest.fixture
def run(begun: Callable[[], Run]) -> Run:
    return begun()
