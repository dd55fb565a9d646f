"""The demo's yardstick: would the shopper click at least one of these ten? Ours against popularity, on
equal terms.

Written down before any figure of Headwater's was seen, and not changed since:

- A *trial* is one ranking at the moment when its shopper looks at it. All rankings looked at are trials,
  those that answer a chat or a request too, except for the warm-up: until the shoppers have clicked
  `WARM_UP` times in all, popularity has nothing to stand on, and neither side is counted.
- Both lists are at most ten items that this shopper has not touched before. Popularity is the ten items
  with the most positive actions (view, click, add_to_cart, purchase, like, by anybody) at that very moment,
  ties by catalogue order.
- Both are judged by the same hidden taste and the same random draws: place p is looked at if its draw is
  under 1 / (1 + BIAS p), and an item looked at is clicked if *its* draw is under the taste's chance for it.
  An item at the same place in both lists is clicked in both or in neither.
- The shopper acts on what Headwater showed. Judging the popular list changes nothing, in no one's behaviour.

In: lists of rows and a `Look`. Out: hits out of trials.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TOP = 10
BIAS = 0.12
WARM_UP = 200
POSITIVE = frozenset({"view", "click", "add_to_cart", "purchase", "like"})


@dataclass(frozen=True)
class Look:
    """One shopper's eyes at one moment: chances and draws by item (float64[N]) and draws by place
    (float64[TOP]).
    """

    chances: npt.NDArray[np.float64]
    item_draws: npt.NDArray[np.float64]
    place_draws: npt.NDArray[np.float64]

    def examined(self, rows: list[int]) -> list[int]:
        """Which of the items, given by row in order of place, are looked at. A row of -1: unknown."""
        eyes = self.place_draws < 1.0 / (1.0 + BIAS * np.arange(TOP))
        return [row for place, row in enumerate(rows[:TOP]) if eyes[place] and row >= 0]

    def clicked(self, rows: list[int]) -> list[int]:
        """Which are clicked, in order of place."""
        return [row for row in self.examined(rows) if self.item_draws[row] < self.chances[row]]


class Popularity:
    """Counts of positive actions; the list that everybody gets but for what they know already."""

    def __init__(self, items: int) -> None:
        self.counts = np.zeros(items, dtype=np.int64)

    def top(self, seen: npt.NDArray[np.bool_]) -> list[int]:
        """Rows of the ten most popular items that are not seen (bool[N])."""
        order = np.argsort(-np.where(seen, -1, self.counts), kind="stable")[:TOP]
        return [int(row) for row in order if not seen[row]]


@dataclass
class Score:
    """Hits of both sides over the trials so far."""

    trials: int = 0
    ours: int = 0
    popular: int = 0

    def add(self, ours: bool, popular: bool) -> None:
        self.trials += 1
        self.ours += ours
        self.popular += popular

    def rates(self) -> tuple[float, float]:
        """Hit rates (ours, popularity), 0 before the first trial."""
        return self.ours / max(self.trials, 1), self.popular / max(self.trials, 1)
