"""Worlds on whatever encoder a feed went over to are made again: any order of records, at any moment of the change."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from recsys.encoder import Adapter, adapted_id, content_hash, item_text, pack
from recsys.index import dense
from recsys.world import World
from schemas.items import Item
from schemas.releases import Release
from schemas.topics import TOPICS
from streams import encoders
from streams.feed import Feed, Snapshot
from streams.models import Models
from streams.releases import ReleaseStorage
from streams.replay import released, worlds
from streams.replay.errors import WorldGone
from streams.replay.journal import Stretch
from streams.settings import Settings

DIM, BASE = 8, "frozen"
ADAPTERS: list[Adapter] = [
    {"q.A": np.full((1, 2), n, np.float32), "q.B": np.ones((2, 1), np.float32)} for n in range(3)
] + [{}]
IDS = [adapted_id(BASE, adapter) for adapter in ADAPTERS]
FROZEN = len(IDS) - 1
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


class Run:
    """Topics in memory, a feed that reads them a record at a time, and every World that it showed."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(namespace="n", data_dir=folder)
        self.models = OfTheTest(BASE, DIM, query_of({}), "cpu")
        self.logs: dict[str, list[Record]] = {topic: [] for topic in TOPICS_READ}
        self.snapshots: list[Snapshot] = []
        self.releases: list[Release] = []
        self.texts: dict[str, Item] = {}
        self._storage = ReleaseStorage.of(self.settings)
        world = World.empty(DIM, query_of({}))
        self.feed = Feed(self.settings, world, self._storage, BASE, self.snapshots.append, query_of)
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

    def announce(self, release: Release) -> None:
        self.releases.append(release)
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
        found = []
        for at, one in enumerate(self.snapshots):
            places = {topic: dict(offsets) for topic, offsets in one.positions.items()}
            index = {t.removesuffix(".index"): places.pop(t) for t in list(places) if t.endswith(".index")}
            found.append(Stretch(0, at, at + 1, dict(one.world.names), places, index, at))
        return found

    def tape(self, _: Settings, topic: str) -> Tape:
        return Tape(self.logs[topic])

    def worlds(self, stretches: Sequence[Stretch], say: Any = pytest.fail, **how: Any) -> worlds.Worlds:
        return worlds.Worlds(self.settings, self.models, stretches, say, **({"tolerant": False} | how))


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
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Run]]:
    """`begun()`: a run of its own, with topics of its own; the files of releases are shared."""
    folder = tmp_path_factory.mktemp("releases")
    with pytest.MonkeyPatch.context() as patch:

        def begin() -> Run:
            run = Run(folder)
            for module in (worlds, released):
                patch.setattr(module, "Tape", run.tape)
            return run

        yield begin


def found(world: World) -> list[object]:
    """What a step would find in a World, bits included."""
    assert world.encode_query is not None
    rows = {item_id: row for item_id, row in world.catalogue.row_of.items() if world.dense.has[row]}
    queries = np.random.default_rng(1).standard_normal((5, world.dense.dim)).astype(np.float32)
    lines = world.dense.search(queries, 6)
    return [
        world.names, world.encode_query("?").tobytes(),
        {item_id: world.dense.vectors[row].tobytes() for item_id, row in rows.items()},
        [[world.catalogue.items[row].item_id for row in line if row >= 0] for line in lines],
    ]  # fmt: skip


Operation = tuple[str, int, int]
KINDS = [
    "tune", "part", "text", "text", "text only", "vector", "vector", "withdraw", "items", "vectors",
    "catch up", "catch up", "build", "build", "build", "slow",
]  # fmt: skip
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 4), st.integers(0, FROZEN)), min_size=20, max_size=60
)


def carried_out(run: Run, lanes: Any, operations: list[Operation]) -> None:
    former = last = FROZEN
    for n in range(5):
        run.item(n)
        run.vector(n, FROZEN)
    for what, n, which in operations:
        either = (former, last)[which % 2]  # the encoder role encodes for the one in use and for the next
        match what:
            case "tune":
                if which != last:
                    former, last = last, which
                run.turn()
                lanes.encoder(ADAPTERS[which], BASE)
                for one in range(5):
                    run.vector(one, which)
                run.read("item-vectors", n)
                run.build()
                run.turn()
            case "part":
                for one in range(n):
                    run.vector(one, either)
            case "text":
                run.item(n, f"thing {n} {which}")
                run.vector(n, *{former, last})
            case "text only":
                run.item(n, f"thing {n} {which}")
            case "vector":
                run.vector(n, either)
            case "withdraw":
                run.withdraw(n)
            case "items":
                run.read("items", 1 + n)
            case "vectors":
                run.read("item-vectors", 1 + 2 * n)
            case "catch up":
                run.turn(build=False)
            case _:
                run.build(done=what == "build")


@pytest.mark.parametrize("share", [0.995, 0.6])
@examples(max_examples=60, deadline=None)
@given(operations=OPERATIONS, every=st.integers(1, 3))
def test_any_world_of_any_encoder_comes_back(
    begun: Any, lanes_of: Any, share: float, operations: list[Operation], every: int
) -> None:
    run = begun()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "_SHARE", share)
        carried_out(run, lanes_of(run._storage, World.empty(), run.announce), operations)
    stretches = run.stretches()[::every]  # a worker does not serve each World
    with run.worlds(stretches) as made:
        for stretch, snapshot in zip(stretches, run.snapshots[::every], strict=True):
            assert found(made.of(stretch)) == found(snapshot.world)
        for at in (len(stretches) // 2, -1, 0):  # another worker, which is behind
            if stretches:
                assert found(made.of(stretches[at])) == found(run.snapshots[::every][at].world)


@pytest.fixture
def run(begun: Any) -> Run:
    made: Run = begun()
    return made


@pytest.fixture
def lanes(run: Run, lanes_of: Any) -> Any:
    return lanes_of(run._storage, World.empty(), run.announce)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty items are a large catalogue."""
    monkeypatch.setattr(dense, "EXACT", 30)
    monkeypatch.setattr(dense, "_TAIL", 8)
    monkeypatch.setattr(dense, "_TRAIN_A_CELL", 1)
    monkeypatch.setattr(dense, "PROBES", 1)


def test_an_index_of_the_next_encoder_that_was_built_while_the_former_one_served_comes_back(
    run: Run, lanes: Any, small: None
) -> None:
    rnd, items, target = random.Random(3), 0, FROZEN
    for which in (FROZEN, 0, 1, 0, FROZEN):
        if which != FROZEN or target != FROZEN:
            lanes.encoder(ADAPTERS[which], BASE)
        for n in range(items):
            run.vector(n, which)
        former, target = target, which
        for step in range(12):  # what is new meanwhile has a vector of each
            for _ in range(40 if not items else rnd.randrange(6)):
                run.item(items)
                run.vector(items, *{former, target})
                items += 1
            run.item(changed := rnd.randrange(items), f"text {items} {step}")
            run.vector(changed, *{former, target})
            if step % 3 == 1:
                run.withdraw(rnd.randrange(items))
            run.turn(build=False)
            run.build(done=step % 4 == 3)
    stretches = run.stretches()
    ids = [one.encoder_id for one in run.snapshots]
    assert [i for at, i in enumerate(ids) if at == 0 or ids[at - 1] != i] == [IDS[n] for n in (FROZEN, 0, 1, 0, FROZEN)]
    first = [next(s for s, i in zip(stretches, ids, strict=True) if i == IDS[n]) for n in (0, 1)]
    assert all(0 < one.index["items"][0] < one.positions["items"][0] for one in first), "built before, from less"
    with run.worlds(stretches) as made:
        for at in [*range(len(stretches)), 5, len(stretches) - 1, len(stretches) // 2]:
            assert found(made.of(stretches[at])) == found(run.snapshots[at].world)


def test_workers_that_go_over_at_different_moments_are_followed_back_and_forth(run: Run, lanes: Any) -> None:
    for n in range(9):
        run.item(n)
        run.vector(n, FROZEN)
    run.turn()
    lanes.encoder(ADAPTERS[0], BASE)
    for n in range(9):
        run.vector(n, 0)
    for n in range(9, 14):
        run.item(n)
        run.vector(n, FROZEN, 0)
    slow, quick = [], []
    for _ in range(4):
        run.read("items", 6)
        run.read("item-vectors", 7)
        run.build(done=False)
        slow.append(len(run.snapshots) - 1)
    run.turn()
    quick.append(len(run.snapshots) - 1)
    stretches = run.stretches()
    with run.worlds(stretches) as made:
        for at in (slow[0], quick[-1], slow[1], quick[-1], slow[2], slow[-1], quick[-1]):
            assert found(made.of(stretches[at])) == found(run.snapshots[at].world)
        assert {run.snapshots[at].encoder_id for at in (slow[-1], quick[-1])} == {BASE, IDS[0]}


def come_back(run: Run, *which: int) -> None:
    """Of the Worlds so far, these are all that served anybody."""
    stretches = run.stretches()
    with run.worlds([stretches[at] for at in which]) as made:
        for at in which:
            assert found(made.of(stretches[at])) == found(run.snapshots[at].world)


@pytest.mark.parametrize("items", [5, 100])
def test_vectors_that_workers_had_let_go_of_before_the_way_back_are_not_in_its_worlds(
    run: Run, lanes: Any, items: int, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "_SHARE", 0.6)
    for n in range(items):
        run.item(n)
        run.vector(n, FROZEN)
    run.turn()
    for which in (0, 1):
        lanes.encoder(ADAPTERS[which], BASE)
        for n in range(items):
            run.vector(n, which)
        run.turn()
    lanes.encoder(ADAPTERS[FROZEN], BASE)
    for n in range(items):
        run.vector(n, FROZEN)
        if n % (items // 5) == items // 5 - 1:
            run.turn()
    whole = {one.world.whole_items for one in run.snapshots if one.encoder_id == BASE}
    assert whole == {3 * items // 5, 4 * items // 5, items}
    come_back(run, *range(len(run.snapshots)))


@pytest.mark.parametrize("at_once", [True, False])
def test_an_item_that_went_and_came_back_as_it_was_has_its_vector_or_not(run: Run, at_once: bool) -> None:
    for n in range(2):
        run.item(n)
        run.vector(n, FROZEN)
    run.turn()
    run.withdraw(0)
    if not at_once:
        run.turn()
    run.item(0)
    run.turn()
    assert run.snapshots[-1].world.whole_items == (2 if at_once else 1)
    come_back(run, 0, len(run.snapshots) - 1)


@pytest.mark.parametrize("in_time", [True, False])
def test_a_vector_that_was_overtaken_by_that_of_the_next_text_is_there_or_not(run: Run, in_time: bool) -> None:
    run.item(0)
    run.vector(0, FROZEN)
    run.texts["i0"] = Item(item_id="i0", title="the next text, which comes later")
    run.vector(0, FROZEN)
    run.item(1)
    if in_time:
        run.read("items", 1)
        run.read("item-vectors", 1)
        run.build()
    run.read("item-vectors")
    run.turn()
    assert run.snapshots[-1].world.whole_items == in_time
    come_back(run, len(run.snapshots) - 1)


def tuned(run: Run, lanes: Any) -> tuple[Release, Stretch]:
    """A run that went over to a tuned encoder: its release, and the last Stretch."""
    run.item(0)
    run.vector(0, FROZEN)
    run.turn()
    release = lanes.encoder(ADAPTERS[0], BASE)
    run.vector(0, 0)
    run.turn()
    return release, run.stretches()[-1]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [("gone", "no file at .*HEADWATER_RELEASES_URL"), ("damaged", "is damaged"), ("record", "30 days")],
)
def test_an_adapter_that_cannot_be_had_is_an_error_that_names_its_release_or_the_one_before_serves(
    run: Run, lanes: Any, spoil: str, why: str
) -> None:
    release, stretch = tuned(run, lanes)
    assert stretch.names["release_id"] == release.release_id
    path = Path(release.uri.removeprefix("file://"))
    whole = path.read_bytes()
    if spoil == "gone":
        path.unlink()
    elif spoil == "damaged":
        path.write_bytes(whole[:-1] + b"\0")
    else:
        run.logs["releases"].clear()
    with (
        run.worlds([stretch]) as made,
        pytest.raises(WorldGone, match=rf"offset \d+ on: .*encoder release {release.release_id},.*{why}.*--tolerant"),
    ):
        made.of(stretch)
    said: list[str] = []
    with run.worlds([stretch], said.append, tolerant=True) as made:
        world = made.of(stretch)
    assert f"{release.release_id} cannot be had" in said[0]
    assert said[0].endswith("going on with the frozen encoder")
    assert world.whole_items == 1
    assert world.encode_query is not None
    assert np.array_equal(world.encode_query("?"), embed(BASE, "?"))
    path.write_bytes(whole)


@pytest.mark.parametrize("base", [None, "another"])
def test_a_replay_with_another_text_encoder_than_the_one_that_was_tuned_says_so(
    run: Run, lanes: Any, base: str | None
) -> None:
    release, stretch = tuned(run, lanes)
    run.models = Models(base, DIM if base else 0, None, "cpu")
    with (
        run.worlds([stretch]) as made,
        pytest.raises(WorldGone, match=rf"{release.release_id}.*frozen.*{base or 'none'}.*HEADWATER_ENCODER"),
    ):
        made.of(stretch)
