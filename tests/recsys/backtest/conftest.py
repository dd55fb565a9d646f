"""Small logs for backtests: events from tuples, read as the edge reads files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from recsys.backtest.items import ItemTable
from recsys.backtest.log import Log
from recsys.policy import Policy
from schemas.items import Item
from streams.backtest.reading import ItemRows, LogFiles
from streams.records.files import Row

Deed = tuple[str, str, int]
"""(user, item, ts)"""


def make_items(n: int, **more: Any) -> ItemTable:
    return ItemTable([Item(item_id=f"i{row}", title=f"Item {row}", **more) for row in range(n)])


def make_log(folder: Path, items: ItemTable, deeds: Sequence[Deed | dict[str, Any]]) -> Log:
    """`deeds`: clicks as tuples, or whole events; event ids by place."""
    rows = []
    for at, deed in enumerate(deeds):
        event = (
            deed
            if isinstance(deed, dict)
            else {"type": "interaction", "action": "click", "user_id": deed[0], "item_id": deed[1], "ts": deed[2]}
        )
        rows.append(Row(f"log:{at + 1}", orjson.dumps({"event_id": f"e{at}", **event})))
    files = LogFiles(folder / "log")
    files.write(rows, ItemRows(dict(items.row_of)), Policy(), 1 << 20, None)
    return files.log()


def random_deeds(seed: int, events: int, users: int, items: int) -> list[Deed]:
    """A log with favourites, repeats and many equal stamps."""
    random = np.random.default_rng(seed)
    who = random.integers(users, size=events)
    what = (items * random.random(events) ** 2).astype(int)
    when = np.sort(random.integers(1_700_000_000, 1_700_000_000 + events // 3, size=events)) * 1000
    return [(f"u{u}", f"i{i}", int(t)) for u, i, t in zip(who, what, when, strict=True)]


@pytest.fixture
def new_items() -> Callable[..., ItemTable]:
    return make_items


@pytest.fixture
def new_log(tmp_path: Path) -> Callable[..., Log]:
    def make(items: ItemTable, deeds: Sequence[Any]) -> Log:
        return make_log(tmp_path, items, deeds)

    return make


@pytest.fixture
def deeds() -> Callable[..., list[Deed]]:
    return random_deeds
