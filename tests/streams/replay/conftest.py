"""What tests of replay share: a small shop and its log as files, models for it, and settings without a text encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
import typer
from typer.testing import CliRunner, Result

from recsys.counting import Counts
from recsys.features import SCHEMA_VERSION as FEATURE_SCHEMA
from recsys.learning.sequence import Rates, SequenceLearner
from recsys.policy import Policy
from recsys.priors import Shelf
from recsys.rank import prior_weights
from recsys.world import World
from schemas.events import EVENT
from schemas.releases import Base, Release, TrainedThrough
from streams.cli import people, replay
from streams.releases import Arrays, ReleaseStorage
from streams.served import SCHEMA_VERSION
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


class Lanes:
    """A small learner of models for the items of a World: each call releases what it has come to, as files."""

    def __init__(self, storage: ReleaseStorage, world: World) -> None:
        self._storage, self._items = storage, world.catalogue.rows
        vectors = world.dense.vectors[: self._items]
        self._learner = SequenceLearner(world.catalogue.keys, vectors, Rates(epochs=2, fit=1e-2, update=1e-2))
        self._random = np.random.default_rng(8)
        self._sequence = {"ranker": 0, "sequence": 0, "adapter": 0}
        self._base: Base | None = None

    def ranker(self) -> Release:
        prior = prior_weights()
        weights = prior + self._random.normal(0, 0.3, prior.shape).astype(np.float32)
        return self._release("ranker", {"weights": weights}, {"feature_schema": FEATURE_SCHEMA})

    def sequence(self, items: bool = False, named: bool = True, later_ms: int = 0) -> Release:
        """`items`: the item side is released anew, too; `named`: the file says which it was learnt with; `later_ms`:
        how long after these items."""
        users = np.repeat(np.arange(12), 8)
        seen = START // 1000 + np.arange(len(users))
        rows = self._random.integers(self._items, size=len(users))
        self._learner.take(users, rows, seen, np.ones(len(users), np.float32))
        if not self._learner.fitted:
            self._learner.fit()
        elif items:
            self._learner.update()
        else:
            self._learner.update_users()
        model = self._learner.snapshot()
        if items or self._base is None:
            self._base = _place(self._release("adapter", _half(model.item_side()), {}))
        meta = {"base": self._base.sha256} if named else {}
        return self._release("sequence", _half(model.user_side()), meta, self._base, later_ms)

    def _release(
        self, role: Any, arrays: Arrays, meta: dict[str, Any], base: Base | None = None, later_ms: int = 0
    ) -> Release:
        self._sequence[role] += 1
        number = self._sequence[role]
        created = START + self._sequence["adapter"] * 1000 + later_ms
        place = self._storage.save_model(role, arrays, meta, number, created)
        return Release(
            release_id=f"{role}-{place.sha256[:10]}-{number}", role=role, sequence=number, created_ts=created,
            trained_through=TrainedThrough(ts=START, offsets={}), uri=place.uri, sha256=place.sha256, size=place.size,
            schema_version=SCHEMA_VERSION, status="serving", base=base,
        )  # fmt: skip


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


def _place(release: Release) -> Base:
    return Base(uri=release.uri, sha256=release.sha256, size=release.size)


def _half(arrays: Arrays) -> Arrays:
    return {name: a.astype(np.float16) if a.dtype.kind == "f" else a for name, a in arrays.items()}


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """Makes items, events and files of them, statistics and models."""
    return SimpleNamespace(
        START=START, shop=shop, event=event, shoppers=shoppers, jsonl=jsonl, statistics=statistics, Lanes=Lanes
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
