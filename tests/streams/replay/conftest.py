"""What tests of replay share: a small shop and its log as files, models for it, and settings without a text encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import typer
from typer.testing import CliRunner, Result

from recsys.counting import Counts
from recsys.policy import Policy
from recsys.priors import Shelf
from schemas.events import EVENT
from schemas.releases import Release, TrainedThrough
from streams.cli import people, replay
from streams.releases import ReleaseStorage
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
