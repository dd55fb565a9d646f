"""What a condition means for an item.

In: a condition, an item. Out: yes or no. `checker` works out once what depends on the condition alone, so that a
catalogue of 100,000 items is checked in well under a second; `satisfies` is the same for one item. Whatever
checks faster, over columns, has to agree with this page.

- price: the amounts compared; with a unit the currency has to be that one. No price satisfies no condition.
- category: one of the item's is named by the word (`naming.names_category`).
- brand: the same brand, whatever the case; refused is also an item without a brand whose title names it.
- colour: the attribute states it; without such an attribute, the title or the description names it. Where red is
  refused, so is "dark red".
- word: the title, the categories or the description contain it, in any number ("dress", "dresses").
- any other name: that attribute, equal as a string or a number, or compared as a number.

Total: a condition that makes no sense (a price of "cheap") is met by nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from recsys.dialogue import naming
from recsys.dialogue.shop_words import ATTRIBUTES
from recsys.dialogue.tokens import folded, is_han, key, key_tokens
from recsys.text import surfaces
from recsys.user import Condition
from schemas.items import Item

Check = Callable[[Item], bool]


def satisfies(item: Item, constraint: Condition) -> bool:
    """Whether an item meets a condition."""
    return checker(constraint)(item)


def satisfies_all(item: Item, constraints: Iterable[Condition]) -> bool:
    """Whether an item meets every one of the conditions."""
    return all(satisfies(item, constraint) for constraint in constraints)


def checker(constraint: Condition) -> Check:
    """The condition as a function of an item. It remembers per value, so make a new one for each catalogue."""
    name, op, value = constraint.name, constraint.op, constraint.value
    values = value if isinstance(value, list) else [str(value)]
    refused = op == "not_in"
    if name == "price":
        return _price(constraint)
    if op in ("<=", ">="):
        named = name in ("category", "brand", "colour", "word")
        return _nothing if named else _compared(name, op, _as_number(value))
    if name == "category":
        return _category(values, refused)
    if name == "brand":
        return _brand(values, refused)
    if name == "colour":
        return _colour(values, refused)
    if name == "word":
        return _word(values, refused)
    return _attribute(name, value if isinstance(value, list) else [value], refused)


def _nothing(_: Item) -> bool:
    return False


def _price(constraint: Condition) -> Check:
    op, unit, value = constraint.op, constraint.unit, constraint.value
    amounts = {n for v in (value if isinstance(value, list) else [value]) if (n := _as_number(v)) is not None}
    limit = value if isinstance(value, (int, float)) else None

    def check(item: Item) -> bool:
        price = item.price
        if price is None or (unit is not None and price.currency != unit):
            return False
        if op == "<=":
            return limit is not None and price.amount <= limit
        if op == ">=":
            return limit is not None and price.amount >= limit
        return (price.amount in amounts) != (op == "not_in")

    return check


def _category(values: list[str], refused: bool) -> Check:
    known: dict[str, bool] = {}
    wanted = frozenset(one for value in values for one in naming.word_keys(value))

    def check(item: Item) -> bool:
        for category in item.categories:
            named = known.get(category)
            if named is None:
                named = known[category] = not wanted.isdisjoint(naming.category_keys(category))
            if named:
                return not refused
        return refused

    return check


def _brand(values: list[str], refused: bool) -> Check:
    wanted = {naming.brand_key(value) for value in values}
    in_title = _mentions([name for value in values for name in naming.names_of(value)])

    def check(item: Item) -> bool:
        if item.brand:
            return (naming.brand_key(item.brand) in wanted) != refused
        return refused and not in_title(item.title)

    return check


def _colour(values: list[str], refused: bool) -> Check:
    wanted = frozenset(naming.colour_key(value) for value in values)
    own_names = [name for value in values if naming.colour_key(value)[:1] != "#" for name in [value]]
    said = _mentions(own_names)
    perhaps = naming.colour_finder(wanted)

    def in_text(text: str) -> bool:
        # Most texts hold none of its names: a short pattern goes before the one of all colours.
        return (perhaps(text) and not wanted.isdisjoint(naming.colours_in(text))) or said(text)

    def check(item: Item) -> bool:
        colours = _colour_values(item)
        if colours is None:
            met = in_text(item.title) or bool(item.description and in_text(item.description))
        elif refused:
            met = any(not wanted.isdisjoint(naming.colours_named(colour)) or said(colour) for colour in colours)
        else:
            met = any(not wanted.isdisjoint(naming.colour_keys(colour)) for colour in colours)
        return met != refused

    return check


def _colour_values(item: Item) -> list[str] | None:
    """What the item's colour attribute states; None where it has none."""
    found: list[str] | None = None
    for name, value in item.attributes.items():
        if value and name.lower() in naming.COLOUR_ATTRIBUTES:
            found = found or []
            found += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
    return found


def _word(values: list[str], refused: bool) -> Check:
    mentions = _mentions(values)

    def check(item: Item) -> bool:
        met = (
            mentions(item.title)
            or any(mentions(category) for category in item.categories)
            or bool(item.description and mentions(item.description))
        )
        return met != refused

    return check


def _mentions(terms: list[str]) -> Callable[[str], bool]:
    """Whether a text contains one of the terms: whole words in any number, Chinese anywhere."""
    patterns = [pattern for term in terms if (pattern := _pattern(term))]
    if not patterns:
        return lambda _: False
    search = re.compile("|".join(patterns)).search
    # Most texts do not even hold the beginning of a term, which is the fastest thing to look for.
    starts = {_beginning(surfaces(tokens[0])) for term in terms if (tokens := key_tokens(term))}
    latin = [start for start in starts if start.isascii()]

    def mentions(text: str) -> bool:
        text = folded(text)
        for start in latin if text.isascii() else starts:
            if start in text:
                return search(text) is not None
        return False

    return mentions


def _beginning(words: tuple[str, ...]) -> str:
    """What all the words begin with."""
    first, last = min(words), max(words)
    same = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[:same]


def _pattern(term: str) -> str:
    tokens = key_tokens(term)
    if not tokens:
        return ""
    words = []
    for token in tokens:
        either = "|".join(re.escape(surface) for surface in surfaces(token))
        words.append(either if is_han(token) else rf"(?:{either})(?:'s|s')?")
    inner = r"[\W_]*" if all(map(is_han, tokens)) else r"[\W_]+"
    before = "" if is_han(tokens[0]) else r"(?<![a-z0-9])"
    after = "" if is_han(tokens[-1]) else r"(?![a-z0-9])"
    return before + inner.join(words) + after


def _attribute(name: str, values: list[Any], refused: bool) -> Check:
    wanted = {key(str(value)) or str(value).casefold() for value in values}
    numbers = {number for value in values if (number := _as_number(value)) is not None}

    def equals(one: Any) -> bool:
        if isinstance(one, bool):
            return str(one).lower() in wanted
        if isinstance(one, str):
            return (key(one) or one.casefold()) in wanted
        return isinstance(one, (int, float)) and float(one) in numbers

    def check(item: Item) -> bool:
        held = _held(item, name)
        met = any(map(equals, held)) if isinstance(held, list) else equals(held)
        return met != refused

    return check


def _compared(name: str, op: str, limit: float | None) -> Check:
    def check(item: Item) -> bool:
        value = _as_number(_held(item, name))
        if value is None or limit is None:
            return False
        return value <= limit if op == "<=" else value >= limit

    return check


def _held(item: Item, name: str) -> Any:
    if name in item.attributes:
        return item.attributes[name]
    own = attribute_key(name)
    for other, value in item.attributes.items():
        if attribute_key(other) == own:
            return value
    return None


@lru_cache(maxsize=65_536)
def attribute_key(name: str) -> str:
    """One key for all spellings of an attribute's name: screen_size, "Screen size"; 尺码 for size."""
    own = key(name.replace("_", " "))
    for line in ATTRIBUTES.values():
        if own in map(key, (line.english[0], *line.chinese)):
            return "#" + line.name
    return own


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
