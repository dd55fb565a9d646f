"""What a simulated shopper secretly likes, and how likely that makes a click on each item of the catalogue.

In: item records and a seed. Out: `Features` (the catalogue as arrays), `Taste` values, and `chances`: one
function of hidden taste by which everything shown is judged, whoever made the list. The recommender never
sees any of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# log-odds of a click; `chances` adds them up
NO_INTEREST = -4.6
SHELF = 3.4  # an item of a shelf that is liked, times how much
CATEGORY = 0.8  # another shelf of the same department
THEME = 1.1  # the same word elsewhere: who likes horror films may like a horror game
BRAND = 0.9
COLOUR = 0.9
PRICE = 0.7
APPEAL = 0.45  # some items are nicer to everybody
UNREADABLE = -1.4  # a title only in the other language
WANTED = 1.2  # fits what the shopper has just asked for
UNWANTED = -2.5  # does not


@dataclass(frozen=True)
class Features:
    """The catalogue as arrays, all of length N (items, in the catalogue's order).

    shelf, category, theme, brand, colour: int64 codes, -1 for none; price: CNY, NaN for none; price_level:
    0 (cheapest of its shelf) to 1; readable: language -> bool[N]; appeal: standard normal.
    """

    item_ids: list[str]
    row: dict[str, int]
    shelves: list[tuple[str, str]]
    names: dict[str, list[str]]  # "brand", "colour", "theme", "category" -> what a code stands for
    shelf: npt.NDArray[np.int64]
    category: npt.NDArray[np.int64]
    theme: npt.NDArray[np.int64]
    brand: npt.NDArray[np.int64]
    colour: npt.NDArray[np.int64]
    price: Floats
    price_level: Floats
    readable: dict[str, npt.NDArray[np.bool_]]
    appeal: Floats


def features(items: Sequence[dict[str, Any]], seed: int) -> Features:
    """The arrays of a catalogue. The seed draws the appeal of each item, which no record states."""
    names: dict[str, list[str]] = {}

    def codes(field: str, values: list[Any]) -> npt.NDArray[np.int64]:
        names[field] = sorted({value for value in values if value is not None})
        code = {name: number for number, name in enumerate(names[field])}
        return np.array([code.get(value, -1) for value in values], dtype=np.int64)

    places = [(item["categories"][0], item["categories"][1]) for item in items]
    shelves = sorted(set(places))
    number_of = {shelf: number for number, shelf in enumerate(shelves)}
    shelf = np.array([number_of[place] for place in places], dtype=np.int64)
    price = np.array([item.get("price", {}).get("amount", np.nan) for item in items])
    level = np.full(len(items), 0.5)
    for number in range(len(shelves)):
        mine = np.flatnonzero((shelf == number) & ~np.isnan(price))
        level[mine[np.argsort(price[mine], kind="stable")]] = np.linspace(0, 1, mine.size)
    languages = [item["attributes"].get("languages", ["en", "zh"]) for item in items]
    return Features(
        item_ids=[item["item_id"] for item in items],
        row={item["item_id"]: row for row, item in enumerate(items)},
        shelves=shelves,
        names=names,
        shelf=shelf,
        category=codes("category", [place[0] for place in places]),
        theme=codes("theme", [place[1] for place in places]),
        brand=codes("brand", [item.get("brand") for item in items]),
        colour=codes("colour", [item["attributes"].get("colour") for item in items]),
        price=price,
        price_level=level,
        readable={tongue: np.array([tongue in spoken for spoken in languages]) for tongue in ("en", "zh")},
        appeal=np.random.default_rng([seed, 11]).standard_normal(len(items)),
    )


@dataclass(frozen=True)
class Wish:
    """What a shopper has asked for just now: conditions, each None where it was left open.

    shelf: a number of Features.shelves; colour: a code; most: CNY; not_theme: a theme's code.
    """

    shelf: int | None = None
    colour: int | None = None
    most: float | None = None
    not_theme: int | None = None


@dataclass(frozen=True)
class Taste:
    """Hidden: a mixture over shelves (number -> weight, at most 1), brands, colours, price level (0 to 1)."""

    language: str
    shelves: dict[int, float]
    brands: frozenset[int]
    colours: frozenset[int]
    price_level: float
    wish: Wish | None = None

    def wishing(self, wish: Wish | None) -> Taste:
        return replace(self, wish=wish)


def draw_taste(features: Features, random: np.random.Generator, language: str) -> Taste:
    """A taste at random: two to four shelves, mostly of one department, some shelves liked by many."""
    shopping = [n for n, (category, _) in enumerate(features.shelves) if category != "help"]
    # fashions: the seed of the catalogue's order decides which shelves many people like
    fashion = 1.0 / (1.0 + np.arange(len(shopping)) * 7 % len(shopping))
    weights = fashion + 0.15
    first = int(random.choice(shopping, p=weights / weights.sum()))
    shelves = {first: 1.0}
    for weight in (0.9, 0.75, 0.6)[: random.integers(1, 4)]:
        near = [n for n in shopping if n not in shelves and features.shelves[n][0] == features.shelves[first][0]]
        rest = [n for n in shopping if n not in shelves]
        shelves[int(random.choice(near if near and random.random() < 0.55 else rest))] = weight
    liked = np.isin(features.shelf, list(shelves))
    brands, colours = np.unique(features.brand[liked]), np.unique(features.colour[liked])
    brands, colours = brands[brands >= 0], colours[colours >= 0]
    return Taste(
        language=language,
        shelves=shelves,
        brands=frozenset(random.permutation(brands)[:3].tolist()),
        colours=frozenset(random.permutation(colours)[:2].tolist()),
        price_level=float(random.choice([0.1, 0.5, 0.9])),
    )


def chances(features: Features, taste: Taste) -> Floats:
    """Probability of a click on each item once it is looked at, float64[N]."""
    shelf = np.zeros(len(features.shelves))
    near = np.zeros(len(features.shelves))
    for number, weight in taste.shelves.items():
        shelf[number] = SHELF * weight
        category, theme = features.shelves[number]
        for other, (its_category, its_theme) in enumerate(features.shelves):
            if other not in taste.shelves:
                near[other] = max(near[other], weight * (CATEGORY * (its_category == category)))
                near[other] = max(near[other], weight * (THEME * (its_theme == theme)))
    odds = NO_INTEREST + (shelf + near)[features.shelf]
    odds += BRAND * np.isin(features.brand, list(taste.brands))
    odds += COLOUR * np.isin(features.colour, list(taste.colours))
    odds += PRICE * (1 - 2 * np.abs(features.price_level - taste.price_level))
    odds += APPEAL * features.appeal
    odds += UNREADABLE * ~features.readable[taste.language]
    odds[features.category == features.names["category"].index("help")] -= 2.0
    if taste.wish is not None:
        fits = fulfils(features, taste.wish)
        asked = taste.wish.shelf is not None
        odds = np.where(fits, np.maximum(odds, -1.0) + WANTED if asked else odds, odds + UNWANTED)
    return np.asarray(1.0 / (1.0 + np.exp(-odds)), dtype=np.float64)


def fulfils(features: Features, wish: Wish) -> npt.NDArray[np.bool_]:
    """Which items meet every condition of a wish, bool[N]. An item without a price meets no limit on it."""
    fits = np.ones(len(features.item_ids), dtype=np.bool_)
    if wish.shelf is not None:
        fits &= features.shelf == wish.shelf
    if wish.colour is not None:
        fits &= features.colour == wish.colour
    if wish.most is not None:
        fits &= features.price <= wish.most
    if wish.not_theme is not None:
        fits &= features.theme != wish.not_theme
    return fits
