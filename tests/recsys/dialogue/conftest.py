"""A small shop's vocabulary, and conditions in one line of text."""

from collections.abc import Callable, Iterable

import pytest

from recsys.dialogue.vocabulary import Vocabulary
from recsys.user import Condition

CATEGORIES = {
    ("Clothing", "Dresses"): 50,
    ("Clothing", "Jackets"): 20,
    ("Clothing", "Jackets", "Men"): 9,
    ("Clothing", "T-Shirts"): 20,
    ("Shoes",): 30,
    ("Shoes", "Sneakers"): 10,
    ("Shoes", "Women"): 12,
    ("Bags",): 5,
    ("Electronics", "Laptops"): 20,
    ("Electronics", "Phones"): 30,
    ("Electronics", "Headphones"): 12,
    ("Electronics", "Watches"): 8,
    ("Games", "Horror"): 13,
    ("Games", "Puzzle"): 9,
    ("Games", "Strategy"): 9,
    ("Films", "Horror"): 12,
    ("Films", "Comedy"): 12,
    ("Films", "Science Fiction"): 2,
    ("Books", "Novels"): 10,
    ("Books", "History"): 10,
    ("Help",): 12,
}
BRANDS = {
    "Nike": 30, "Adidas": 20, "Apple": 20, "Lenovo": 10, "Huawei": 10, "Sony": 9, "Under Armour": 3, "Zara": 6,
    "三星": 8, "Uniqlo": 4,
}  # fmt: skip
ATTRIBUTES = {
    "colour": {"red": 20, "blue": 9, "black": 10, "space grey": 2},
    "size": {"M": 2, "L": 3, "XL": 2},
    "material": {"leather": 5, "cotton": 20, "silk": 2},
}
NUMBERS = ["memory", "screen_size"]


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary.build(CATEGORIES, BRANDS, ATTRIBUTES, NUMBERS)


def _line(constraint: Condition) -> str:
    sign = {"==": "=", "in": "=", "not_in": "!="}.get(constraint.op, constraint.op)
    value = constraint.value
    if isinstance(value, float):
        text = f"{value:g}"
    elif isinstance(value, str):
        text = value
    else:
        # Of a refused word the names in both languages follow; the first is what was said.
        text = value[0] if constraint.name == "word" else "|".join(value)
    return f"{constraint.name}{sign}{text}{' ' + constraint.unit if constraint.unit else ''}"


@pytest.fixture(scope="session")
def lines() -> Callable[[Iterable[Condition]], list[str]]:
    """Conditions as sorted lines like `price<=500 CNY`, `colour=red|blue`, `brand!=Nike`."""
    return lambda constraints: sorted(_line(constraint) for constraint in constraints)
