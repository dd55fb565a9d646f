"""The two sides of the question: slates as logged, with chances and rewards; and what the target would have shown.

A place without an item is an action too: its propensity is 1, and the target's chance of it 1 or 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
GREEDY = 0.5
"""A propensity of at least this was the ranking's own choice, one below it a draw (true while exploration < 1/2)."""


@dataclass(frozen=True, slots=True)
class Logged:
    """n slates of up to K places. `users` [n] says whose; slates of one user are not independent of each other.

    items [n, K]: -1 where the slate has ended; rewards [n, K] (0 there); propensities [n, K] in (0, 1]: the chance of
    the item at its place given the places above (1 where there is none), as `recsys.select` writes it.
    """

    users: Ints
    items: Ints
    rewards: Floats
    propensities: Floats

    def __post_init__(self) -> None:
        if not (self.items.shape == self.rewards.shape == self.propensities.shape) or self.items.ndim != 2:
            raise ValueError("items, rewards and propensities should have one shape [n, K]")
        if len(self.users) != len(self.items):
            raise ValueError("there should be one user a slate")
        if len(self.items) and not (self.propensities.min() > 0 and self.propensities.max() <= 1):
            raise ValueError("a propensity should be above 0 and at most 1")

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, slots=True)
class Target:
    """What another policy would do where the log stands.

    shares [n, K]: its chance of the logged item at that place, given the same places above. items [n, K]: the slate of
    a policy without chance, which lets a model speak of the items; None where the policy draws.
    """

    shares: Floats
    items: Ints | None = None


def ranking(logged: Logged, items: Ints) -> Target:
    """A target that shows exactly `items` [n, K] (-1: nothing), whatever chance says."""
    return Target((items == logged.items).astype(np.float64), items)


def exploring(logged: Logged, factor: float, exploration: float = 0.0) -> Target:
    """The logging policy itself with its exploration times `factor` (0: none at all).

    1 - p of the ranking's own choice and p of a draw are both in proportion to the exploration, so its size need not
    be known, unless it may be above 1/2: then say how large (`exploration`), or draws are taken for choices.
    """
    p, there = logged.propensities, logged.items >= 0
    own = min(GREEDY, 1 - exploration - 1e-6)  # a choice is at least as likely as not to explore
    shares = np.where(p >= own, 1 - factor * (1 - p), factor * p)
    return Target(np.where(there, np.clip(shares, 0, 1), 1.0))
