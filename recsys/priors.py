"""Priors: how popular a category is, and what its items cost, weighted by what people turn to.

In: the catalogue as it changes, and the counts at a moment. Out: `Priors`, part of every statistics release.
They are worked out from item counts when a release is made, so an item that was clicked before it appeared
counts as soon as it does.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.keys import item_key
from recsys.tallies import Priors
from schemas.items import Item, Withdrawn

CATEGORIES = 4
"""Categories of an item that count."""
UNTOUCHED = 0.1
"""Weight that a price has before anybody turned to its item."""


class Shelf:
    """Categories and prices of the live items, in columns that grow."""

    def __init__(self) -> None:
        self._row_of: dict[int, int] = {}
        self._free: list[int] = []
        self._keys = np.zeros(0, np.uint64)
        self._categories = np.full((0, CATEGORIES), -1, np.int32)
        self._log_price = np.zeros(0)
        self._currency = np.zeros(0, np.int32)
        self._category_of: dict[str, int] = {}
        self._currency_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._row_of)

    def place(self, change: Item | Withdrawn) -> bool:
        """Takes in a change of an item. Says whether it can change a prior."""
        key = item_key(change.item_id)
        row = self._row_of.get(key)
        if isinstance(change, Withdrawn):
            if row is None:
                return False
            del self._row_of[key]
            self._free.append(row)
            self._keys[row] = 0
            self._categories[row] = -1
            return True
        number = self._category_of.setdefault
        names = dict.fromkeys(change.categories[:CATEGORIES])
        categories = [number(name, len(self._category_of)) for name in names]
        categories += [-1] * (CATEGORIES - len(categories))
        currency, log_price = -1, 0.0
        if change.price is not None and change.price.amount > 0:
            currency = self._currency_of.setdefault(change.price.currency, len(self._currency_of))
            log_price = log(change.price.amount)
        if row is None:
            row = self._row_of[key] = self._free.pop() if self._free else self._room()
        elif (
            self._categories[row].tolist() == categories
            and self._currency[row] == currency
            and self._log_price[row] == log_price
        ):
            return False
        self._keys[row], self._categories[row] = key, categories
        self._currency[row], self._log_price[row] = currency, log_price
        return True

    def _room(self) -> int:
        row = len(self._row_of)
        if row == len(self._keys):
            size = max(1024, 2 * row)

            def grown(old: NDArray[Any], blank: float) -> NDArray[Any]:
                return np.concatenate([old, np.full((size - row, *old.shape[1:]), blank, old.dtype)])

            self._keys, self._categories = grown(self._keys, 0), grown(self._categories, -1)
            self._log_price, self._currency = grown(self._log_price, 0), grown(self._currency, -1)
        return row

    def priors(self, keys: NDArray[np.uint64], month: NDArray[np.float64], year: NDArray[np.float64]) -> Priors:
        """`keys` uint64[N] sorted, with the decayed popularity float64[N] of each in two windows."""
        live = np.flatnonzero(self._keys)
        if not len(live) or not self._category_of:
            return Priors()
        at = np.minimum(np.searchsorted(keys, self._keys[live]), len(keys) - 1) if len(keys) else None
        known = keys[at] == self._keys[live] if at is not None else np.zeros(len(live), bool)
        recent, weight = np.zeros(len(live)), np.full(len(live), UNTOUCHED)
        if at is not None:
            recent[known] = month[at[known]]
            weight[known] += year[at[known]]

        categories = self._categories[live]
        item, column = np.nonzero(categories >= 0)
        category = categories[item, column]
        names = list(self._category_of)
        present = np.bincount(category, minlength=len(names)) > 0
        popularity = np.bincount(category, recent[item], len(names))

        currency, price = self._currency[live][item], self._log_price[live][item]
        priced = currency >= 0
        currencies = list(self._currency_of)
        cell = category[priced].astype(np.int64) * len(currencies) + currency[priced]
        cells, w, p = len(names) * len(currencies), weight[item][priced], price[priced]
        mass = np.bincount(cell, w, cells)
        safe = np.where(mass > 0, mass, 1.0)
        mean = np.bincount(cell, w * p, cells) / safe
        variance = np.bincount(cell, w * (p - mean[cell]) ** 2, cells) / safe
        out = Priors({n: float(popularity[i]) for i, n in enumerate(names) if present[i]})
        if len(currencies):
            usual = mass.reshape(len(names), -1).argmax(axis=1)
            for i, name in enumerate(names):
                at_cell = i * len(currencies) + int(usual[i])
                if mass[at_cell] > 0:
                    out.price_log_mean[name] = float(mean[at_cell])
                    out.price_log_var[name] = float(variance[at_cell])
                    out.price_currency[name] = currencies[int(usual[i])]
        return out
