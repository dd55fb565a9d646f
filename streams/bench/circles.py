"""Circles: shoppers whose taste only company tells, for rehearsals in which what is learnt over all users matters.

In the demo's shop a taste lies along shelves, themes and brands, which a shopper's own evidence tells: a shopper who
changes takes any recommender along. Here people belong to circles. Which items a circle likes is dealt at random over
all shelves, so no words, category, brand or price say that two items go together; only that the same people turn to
both does. Besides, each shopper is fond of one shelf (that own evidence can tell), and some items please everybody
more than others do (popularity).

In: the demo's catalogue, and a seed. Out: events, as of `streams.demo.market.Market`. `redeal` turns everything at
once: what goes together is dealt anew, what pleased everybody pleases nobody, and everyone joins another circle.
Nobody talks or searches: words would name shelves, and a taste has none here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.demo.market import Market
from streams.demo.shoppers import Shopper, Turn
from streams.demo.taste import Features

CIRCLES = 10
# log-odds of a click, added up
NO_INTEREST = -4.6
CIRCLE = 3.0
SHELF = 1.0
APPEAL = 0.6
HELP = -9.0  # articles of advice are in nobody's circle


@dataclass(frozen=True, slots=True)
class Deal:
    """circle int64[N] and appeal float64[N] (standard normal) of each item of the catalogue."""

    circle: npt.NDArray[np.int64]
    appeal: npt.NDArray[np.float64]


class Member(Shopper):
    """A shopper of a circle."""

    def __init__(self, number: int, features: Features, seed: int, deal: Deal) -> None:
        super().__init__(number, features, seed)
        self.join(deal)

    def join(self, deal: Deal) -> None:
        """A circle and a shelf at random; nothing of the old taste stays."""
        features = self.features
        circle, shelf = self.random.integers(CIRCLES), self.random.integers(len(features.shelves))
        odds = NO_INTEREST + CIRCLE * (deal.circle == circle) + SHELF * (features.shelf == shelf) + APPEAL * deal.appeal
        odds += HELP * (features.category == features.names["category"].index("help"))
        self._chances = 1 / (1 + np.exp(-odds))

    def arrive(self, now: int) -> Turn:
        self._visit += 1
        turn = Turn()
        for _ in range(1 + (self.random.random() < 0.5)):
            self._browse(turn, now)
        return turn

    def _move_on(self, turn: Turn, now: int, pleased: bool) -> None:
        chance = self.random.random()
        if pleased:
            turn.leaves = chance > 0.9
        elif chance < 0.5:
            self._browse(turn, now)
        else:
            turn.leaves = True


class Crowd(Market):
    """`shoppers` people in CIRCLES circles; the seed decides all but the times."""

    def __init__(self, items: Sequence[dict[str, Any]], shoppers: int, seed: int) -> None:
        super().__init__(items, shoppers, seed)
        self._dealing = np.random.default_rng([seed, 5])
        self._n = len(items)
        self.deal = self._dealt(self._dealing.standard_normal(self._n))
        self.members = [Member(number, self.features, seed, self.deal) for number in range(shoppers)]
        self.shoppers = list(self.members)

    def redeal(self) -> None:
        """Everybody's taste is another from now on."""
        self.deal = self._dealt(-self.deal.appeal)
        for member in self.members:
            member.join(self.deal)

    def by_appeal(self) -> list[str]:
        """Items that somebody may like, what pleases everybody most first."""
        help_ = self.features.names["category"].index("help")
        order = np.argsort(-self.deal.appeal, kind="stable")
        return [self.features.item_ids[row] for row in order.tolist() if self.features.category[row] != help_]

    def _dealt(self, appeal: npt.NDArray[np.float64]) -> Deal:
        return Deal(self._dealing.permutation(self._n) % CIRCLES, appeal)
