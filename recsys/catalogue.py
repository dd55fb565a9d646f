"""Catalogue: the items as immutable columns, one row an item text.

In: items and withdrawals in the order of the items topic. Out: a new Catalogue that shares what did not change; the
old one goes on serving the steps that hold it. A changed price or availability changes cells of a row; a changed text
gets a row of its own (its vector and its postings are other ones), and the old row dies. Rows are an inner matter:
nothing that a user sees depends on row numbers or on the order in which items were loaded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from recsys.compiled import fills, kernel, reads
from recsys.keys import item_key
from schemas.items import Item, Withdrawn

CATEGORIES = 4
"""Categories of an item that count for affinity (all of them count for conditions)."""
NEVER = np.iinfo(np.int64).max
_VERSION_MASK = (1 << 64) - 1
_FEW = 512

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int32]


class Names:
    """Strings numbered in order of appearance. Only ever grows, so that Catalogues may share one."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}
        self.all: list[str] = []
        self._ranks = np.zeros(0, np.int64)

    def number(self, name: str) -> int:
        found = self.of.get(name)
        if found is None:
            found = self.of[name] = len(self.all)
            self.all.append(name)
        return found

    def ranks(self) -> npt.NDArray[np.int64]:
        """int64[names]: the alphabetical place of each, which is what ties are broken by: numbers tell load order."""
        ranks, names = self._ranks, self.all
        if len(ranks) != len(names):
            names = list(names)  # the next World may add some meanwhile
            ranks = np.empty(len(names), np.int64)
            ranks[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
            self._ranks = ranks
        return ranks


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Columns are [rows]; see the module's docstring for what a row is."""

    items: list[Item]
    row_of: dict[str, int]
    keys: npt.NDArray[np.uint64]
    hashes: npt.NDArray[np.uint64]
    alive: Bools
    available: Bools
    help: Bools  # help articles: they answer questions and are offered only when asked for
    price: npt.NDArray[np.float64]  # as stated; nan: none
    currency: Ints  # -1: none
    categories: Ints  # [rows, CATEGORIES], -1 padded
    brand: Ints  # -1: none
    published: npt.NDArray[np.int64]  # ms; -1: unknown
    expires: npt.NDArray[np.int64]  # ms; NEVER
    order: Ints  # place of the row's item_id among all ids: the tie-break of every sort
    sorted_keys: npt.NDArray[np.uint64]
    sorted_rows: Ints
    slots: Ints  # [a power of two]: a live row whose key ends in the slot's number, -1 for none
    ids: list[str]  # sorted
    id_rows: Ints
    category_names: Names
    brand_names: Names
    currency_names: Names
    content: int  # sum of the live items' hashes modulo 2^64

    @classmethod
    def empty(cls) -> Catalogue:
        none = np.zeros(0, np.int32)
        return cls(
            items=[], row_of={}, keys=np.zeros(0, np.uint64), hashes=np.zeros(0, np.uint64),
            alive=np.zeros(0, bool), available=np.zeros(0, bool), help=np.zeros(0, bool),
            price=np.zeros(0), currency=none, categories=np.zeros((0, CATEGORIES), np.int32),
            brand=none, published=np.zeros(0, np.int64), expires=np.zeros(0, np.int64), order=none,
            sorted_keys=np.zeros(0, np.uint64), sorted_rows=none, slots=np.full(1, -1, np.int32), ids=[], id_rows=none,
            category_names=Names(), brand_names=Names(), currency_names=Names(), content=0,
        )  # fmt: skip

    def __len__(self) -> int:
        """Live items."""
        return len(self.row_of)

    @property
    def rows(self) -> int:
        return len(self.items)

    def rows_of_keys(self, keys: npt.NDArray[np.uint64]) -> Ints:
        """int32 like `keys`: the live row of each item key, -1 where the catalogue has none."""
        wanted = np.ascontiguousarray(keys, np.uint64)
        rows = np.empty(wanted.shape, np.int32)
        _rows_of(wanted.ravel(), self.slots, self.keys, self.sorted_keys, self.sorted_rows, rows.reshape(-1))
        return rows

    def offerable(self, now_ms: int) -> Bools:
        """bool[rows]: alive, available and not expired at `now_ms`."""
        return self.alive & self.available & (self.expires > now_ms)

    def updated(self, changes: Sequence[Item | Withdrawn]) -> tuple[Catalogue, list[int], list[int]]:
        """(the next Catalogue, rows added, rows that died). The last change of an item wins."""
        last = {change.item_id: change for change in changes}
        cells: list[tuple[int, Item]] = []
        fresh: list[Item] = []
        dead: list[int] = []
        for item_id, change in last.items():
            row = self.row_of.get(item_id)
            if isinstance(change, Withdrawn):
                if row is not None:
                    dead.append(row)
            elif row is None:
                fresh.append(change)
            elif same_text(self.items[row], change):
                cells.append((row, change))
            else:
                dead.append(row)
                fresh.append(change)
        return self._applied(cells, fresh, dead), list(range(self.rows, self.rows + len(fresh))), dead

    def _applied(self, cells: list[tuple[int, Item]], fresh: list[Item], dead: list[int]) -> Catalogue:
        items = list(self.items)
        content = self.content - sum(int(self.hashes[r]) for r in dead)
        hashes, available = self.hashes.copy(), self.available.copy()
        price, currency = self.price.copy(), self.currency.copy()
        published, expires = self.published.copy(), self.expires.copy()
        for row, item in cells:
            items[row] = item
            content += (h := item_hash(item)) - int(hashes[row])
            hashes[row], available[row] = h, item.available
            price[row] = item.price.amount if item.price else np.nan
            currency[row] = self.currency_names.number(item.price.currency) if item.price else -1
            published[row] = -1 if item.published_at is None else item.published_at
            expires[row] = NEVER if item.expires_at is None else item.expires_at
        changed: dict[str, Any] = {
            "items": items, "hashes": hashes, "available": available, "price": price, "currency": currency,
            "published": published, "expires": expires, "content": content & _VERSION_MASK,
        }  # fmt: skip
        if not fresh and not dead:
            return replace(self, **changed)

        row_of = dict(self.row_of)
        alive = self.alive.copy()
        alive[dead] = False
        for row in dead:
            row_of.pop(self.items[row].item_id, None)
        items.extend(fresh)
        for at, item in enumerate(fresh, self.rows):
            row_of[item.item_id] = at
        news = [item_hash(i) for i in fresh]

        def grown(old: npt.NDArray[Any], new: list[Any]) -> npt.NDArray[Any]:
            return np.concatenate([old, np.array(new, old.dtype).reshape((len(new), *old.shape[1:]))])

        number, brand, money = self.category_names.number, self.brand_names.number, self.currency_names.number
        changed |= {
            "row_of": row_of,
            "keys": grown(self.keys, [item_key(i.item_id) for i in fresh]),
            "hashes": grown(hashes, news),
            "alive": grown(alive, [True] * len(fresh)),
            "available": grown(available, [i.available for i in fresh]),
            "help": grown(self.help, [i.answer is not None for i in fresh]),
            "price": grown(price, [i.price.amount if i.price else np.nan for i in fresh]),
            "currency": grown(currency, [money(i.price.currency) if i.price else -1 for i in fresh]),
            "categories": grown(
                self.categories,
                [([number(c) for c in i.categories[:CATEGORIES]] + [-1] * CATEGORIES)[:CATEGORIES] for i in fresh],
            ),
            "brand": grown(self.brand, [brand(i.brand) if i.brand else -1 for i in fresh]),
            "published": grown(published, [-1 if i.published_at is None else i.published_at for i in fresh]),
            "expires": grown(expires, [NEVER if i.expires_at is None else i.expires_at for i in fresh]),
            "content": (content + sum(news)) & _VERSION_MASK,
        }
        ids, id_rows = self._ids_after(row_of, fresh, dead)
        order = np.zeros(len(items), np.int32)
        order[id_rows] = np.arange(len(id_rows), dtype=np.int32)
        live = np.flatnonzero(changed["alive"]).astype(np.int32)
        by_key = np.argsort(changed["keys"][live], kind="stable")
        changed |= {
            "ids": ids, "id_rows": id_rows, "order": order,
            "sorted_keys": changed["keys"][live][by_key], "sorted_rows": live[by_key],
            "slots": _slots(changed["keys"], live),
        }  # fmt: skip
        return replace(self, **changed)

    def _ids_after(self, row_of: dict[str, int], fresh: list[Item], dead: list[int]) -> tuple[list[str], Ints]:
        """The sorted ids and their rows: by insertion for a few changes, by a sort for many."""
        if len(fresh) + len(dead) > _FEW:
            ids = sorted(row_of)
            return ids, np.fromiter((row_of[i] for i in ids), np.int32, len(ids))
        ids, rows = list(self.ids), self.id_rows
        for item_id in [self.items[row].item_id for row in dead]:
            at = bisect_left(ids, item_id)
            del ids[at]
            rows = np.delete(rows, at)
        for item in fresh:
            at = bisect_left(ids, item.item_id)
            ids.insert(at, item.item_id)
            rows = np.insert(rows, at, row_of[item.item_id])
        return ids, rows.astype(np.int32)


@kernel(
    reads("uint64"), reads("int32"), reads("uint64"), reads("uint64"), reads("int32"), fills("int32")
)  # fmt: skip
def _rows_of(
    wanted: npt.NDArray[np.uint64], slots: Ints, keys: npt.NDArray[np.uint64], sorted_keys: npt.NDArray[np.uint64],
    sorted_rows: Ints, rows: Ints,
) -> None:  # fmt: skip
    """Fills in the live row of each wanted key, -1 where there is none. Keys are hashes: nearly every row stands in the
    slot that its last bits name, the others are searched for."""
    last_bits = np.uint64(len(slots) - 1)
    for i in range(len(wanted)):
        key = wanted[i]
        row = slots[key & last_bits]
        # in a slot that is taken stands another row with these last bits; who has none finds it empty
        if row >= 0 and keys[row] != key:
            at = np.searchsorted(sorted_keys, key)
            row = sorted_rows[at] if at < len(sorted_keys) and sorted_keys[at] == key else np.int32(-1)
        rows[i] = row


def _slots(keys: npt.NDArray[np.uint64], live: Ints) -> Ints:
    """Four slots or more a live row, so that one in ten at most finds its slot taken."""
    slots = np.full(1 << (4 * len(live)).bit_length(), -1, np.int32)
    slots[(keys[live] & np.uint64(len(slots) - 1)).astype(np.intp)] = live
    return slots


def same_text(old: Item, new: Item) -> bool:
    """Whether two versions of an item read the same: then vector, postings and condition checks stay."""
    return (
        old.title == new.title
        and old.description == new.description
        and old.categories == new.categories
        and old.brand == new.brand
        and old.attributes == new.attributes
        and old.answer == new.answer
    )


def item_hash(item: Item) -> int:
    """64 bits over the item's content, the same for the same content on every machine."""
    canonical = orjson.dumps(item.model_dump(mode="json", exclude_none=True), option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(blake2b(canonical, digest_size=8).digest(), "little")
