"""Priors of categories: what people turn to weighs, prices in one currency, changes followed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys.keys import item_keys
from recsys.priors import UNTOUCHED, Shelf
from recsys.tallies import Priors
from schemas.items import Item, Withdrawn


def item(item_id: str, amount: float | None, currency: str = "EUR", categories: tuple[str, ...] = ("hats",)) -> Item:
    price: Any = None if amount is None else {"amount": amount, "currency": currency}
    return Item(item_id=item_id, title=item_id, categories=list(categories), price=price)


def priors(shelf: Shelf, **weights: float) -> Priors:
    keys = item_keys(weights)
    order = np.argsort(keys)
    weight = np.array(list(weights.values()), float)[order]
    return shelf.priors(keys[order], weight, weight)


def test_mean_and_variance_of_log_prices_are_weighted_by_popularity() -> None:
    shelf = Shelf()
    for one in (item("a", 10), item("b", 1000), item("free", 0), item("unpriced", None)):
        shelf.place(one)
    found = priors(shelf, a=3.0, b=1.0, elsewhere=50.0)
    logs, weights = np.log([10, 1000]), np.array([3.0, 1.0]) + UNTOUCHED
    mean = np.average(logs, weights=weights)
    assert found.category_popularity == {"hats": pytest.approx(4.0)}
    assert found.price_log_mean["hats"] == pytest.approx(mean)
    assert found.price_log_var["hats"] == pytest.approx(np.average((logs - mean) ** 2, weights=weights))


def test_only_prices_in_the_categorys_most_usual_currency_count() -> None:
    shelf = Shelf()
    shelf.place(item("a", 10, "EUR"))
    shelf.place(item("b", 70, "CNY"))
    shelf.place(item("c", 80, "CNY", ("hats", "caps")))
    found = priors(shelf)
    assert found.price_currency == {"hats": "CNY", "caps": "CNY"}
    assert found.price_log_mean["hats"] == pytest.approx(np.log([70, 80]).mean())
    assert found.category_popularity == {"hats": 0, "caps": 0}


def test_changes_and_withdrawals_are_followed() -> None:
    shelf = Shelf()
    assert shelf.place(item("a", 10))
    assert not shelf.place(item("a", 10)), "nothing new"
    assert shelf.place(item("a", 20, categories=("caps",)))
    assert priors(shelf, a=2.0).category_popularity == {"caps": 2.0}
    assert shelf.place(Withdrawn("a"))
    assert not shelf.place(Withdrawn("a"))
    assert priors(shelf, a=2.0) == Priors()
    for n in range(3000):
        shelf.place(item(f"i{n}", 5))
    assert len(shelf) == 3000
    assert priors(shelf, i7=1.0, i2999=1.0).category_popularity == {"hats": 2.0}
