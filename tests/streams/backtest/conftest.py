"""Logs as files, and backtests of them without an encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from streams.backtest.options import Options
from streams.backtest.progress import watching
from streams.backtest.run import run
from streams.settings import Settings


def write_lines(path: Path, records: list[Any]) -> Path:
    """Leaves a file alone that holds the same: a run tells by its time whether it changed."""
    data = b"".join((r if isinstance(r, bytes) else orjson.dumps(r)) + b"\n" for r in records)
    if not (path.exists() and path.read_bytes() == data):
        path.write_bytes(data)
    return path


def simple_log(events: int = 600, users: int = 25, items: int = 40, seed: int = 0) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    when = np.sort(random.integers(0, 40 * 86_400, events)) * 1000 + 1_700_000_000_000
    return [
        {
            "event_id": f"e{n}", "type": "interaction", "action": "click", "ts": int(when[n]),
            "user_id": f"u{random.integers(users)}", "item_id": f"i{int(items * random.random() ** 2)}",
        }
        for n in range(events)
    ]  # fmt: skip


def simple_items(items: int = 40) -> list[dict[str, Any]]:
    return [{"item_id": f"i{n}", "title": f"Thing {n}", "categories": [f"kind {n % 3}"]} for n in range(items)]


@pytest.fixture
def lines() -> Callable[[Path, list[Any]], Path]:
    return write_lines


@pytest.fixture
def log_records() -> Callable[..., list[dict[str, Any]]]:
    return simple_log


@pytest.fixture
def item_records() -> Callable[..., list[dict[str, Any]]]:
    return simple_items


@pytest.fixture
def backtest(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs one over records, and gives its report back."""

    def go(events: list[Any], items: list[Any] | None = None, **options: Any) -> dict[str, Any]:
        event_file = write_lines(tmp_path / "events.jsonl", events)
        item_files = [str(write_lines(tmp_path / "items.jsonl", items))] if items is not None else []
        options = {"out": tmp_path / "out", "policies": ("popular", "trending"), **options}
        with watching() as watch:
            return run(Options(item_files, [str(event_file)], **options), Settings(encoder="none"), watch)

    return go
