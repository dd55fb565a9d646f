"""Slices: the parts of a log that a mean hides: new items, new users, heavy users, categories, stretches of time.

In: what is known of each predicted event as columns. Out: named masks over the events.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

COLD = 5
"""Earlier interactions below which an item or a user counts as new."""
HEAVY = 50
"""Earlier interactions from which on a user counts as heavy."""
CATEGORIES = 12
STRETCHES = 10
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Slice:
    """`kind`: all, item, user or category."""

    name: str
    kind: str
    mask: Mask


def slices_of(
    item_before: NDArray[np.int64],
    user_before: NDArray[np.int64],
    category: NDArray[np.int32],
    names: list[str],
) -> list[Slice]:
    """All columns [m]; `category` -1 where an item has none. The largest categories only; empty slices are left out."""
    found = [
        Slice("all events", "all", np.ones(len(item_before), bool)),
        Slice(f"new items (fewer than {COLD} events before)", "item", item_before < COLD),
        Slice("other items", "item", item_before >= COLD),
        Slice("first event of a user", "user", user_before == 0),
        Slice(f"new users (fewer than {COLD} events before)", "user", user_before < COLD),
        Slice(f"heavy users ({HEAVY} events before, or more)", "user", user_before >= HEAVY),
    ]
    many = np.bincount(category[category >= 0], minlength=len(names))
    largest = np.argsort(-many, kind="stable")[:CATEGORIES].tolist()
    found += [Slice(names[number], "category", category == number) for number in largest]
    return [one for one in found if one.mask.any()]


def stretches(m: int) -> list[slice]:
    """The events in STRETCHES parts of equal number, in the order of time; fewer where there are few events."""
    ends = np.unique(np.linspace(0, m, min(STRETCHES, m) + 1).astype(np.int64)).tolist()
    return [slice(a, b) for a, b in pairwise(ends)]
