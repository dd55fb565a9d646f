"""Items of a backtest: the catalogue as columns that policies index by row.

In: the items of a catalogue in their order, and, where an encoder is at hand, the vectors of their texts. Out: one row
an item, the same row everywhere in `recsys.backtest`. The catalogue is the whole one from the first event on: which
items were not on offer yet at a given time is not known from a log of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.keys import item_keys
from schemas.items import Item


@dataclass(frozen=True, eq=False)
class ItemTable:
    """`items` [N] without repeats; `vectors` float32[N, dim] unit vectors of their texts, None without an encoder."""

    items: Sequence[Item]
    vectors: NDArray[np.float32] | None = None
    row_of: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "row_of", {item.item_id: row for row, item in enumerate(self.items)})
        if len(self.row_of) != len(self.items):
            raise ValueError("an item_id stands twice in the table: keep its last record")

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def ids(self) -> list[str]:
        return [item.item_id for item in self.items]

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """uint64[N]: what statistics and users know the items by."""
        return item_keys(self.ids)

    @cached_property
    def offered(self) -> NDArray[np.bool_]:
        """bool[N]: may be recommended at all: available, and no help article."""
        return np.fromiter((i.available and not i.answer for i in self.items), bool, len(self.items))

    @cached_property
    def expires(self) -> NDArray[np.int64] | None:
        """int64[N], ms; None where no item ever expires."""
        if all(item.expires_at is None for item in self.items):
            return None
        never = np.iinfo(np.int64).max
        return np.fromiter(
            (never if i.expires_at is None else i.expires_at for i in self.items), np.int64, len(self.items)
        )

    @cached_property
    def categories(self) -> tuple[list[str], NDArray[np.int32]]:
        """(names, int32[N]: each item's first category, -1 without one)."""
        first = [item.categories[0] if item.categories else "" for item in self.items]
        names = sorted(set(first) - {""})
        number = {name: at for at, name in enumerate(names)}
        return names, np.fromiter((number.get(name, -1) for name in first), np.int32, len(first))
