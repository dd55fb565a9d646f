"""Interleave: two rankings in one slate, so that the same user chooses between them (team draft).

Radlinski, Kurup & Joachims 2008: in each round a coin decides which ranking picks first; each picks its best item that
is not on the slate yet, and that item is of its team. The ranking whose team gets more of the user's choices wins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
FIRST, SECOND = 1, 2


@dataclass(slots=True)
class Drafted:
    """items [n, K] (-1 behind the end); teams [n, K]: FIRST, SECOND, or 0 behind the end; propensities [n, K]: the
    chance, over the coins, of the item at its place given the items above."""

    items: Ints
    teams: npt.NDArray[np.int8]
    propensities: npt.NDArray[np.float64]


def team_draft(first: Ints, second: Ints, heads: npt.NDArray[np.bool_], ks: Ints) -> Drafted:
    """Rankings [n, L] and [n, M] of items (-1 behind their ends) into slates of up to ks [n] items.

    heads [n, R]: in round r the first ranking picks first; R at least half of the longest slate. A ranking that has no
    item left lets the other one pick, and the item is then of the other's team.
    """
    n, size = len(first), int(ks.max(initial=0))
    line = np.arange(n)
    out = Drafted(np.full((n, size), -1, np.int64), np.zeros((n, size), np.int8), np.ones((n, size)))
    free = [first >= 0, second >= 0]
    lists = (first, second)
    chance_first = np.full(n, 0.5)  # that the first ranking began this round, as far as the items tell
    for k in range(size):
        left = [f.any(axis=1) for f in free]
        best = [np.where(left[i], lists[i][line, free[i].argmax(axis=1)], -1) for i in (0, 1)]
        # by turn: what the slate gets if it is the first's (second's) turn
        by_turn = [np.where(left[i], best[i], best[1 - i]) for i in (0, 1)]
        begins = heads[:, k // 2]
        turn = np.where(begins, 0, 1) if k % 2 == 0 else np.where(begins, 1, 0)
        item = np.where(turn == 0, by_turn[0], by_turn[1])
        owner = np.where(np.where(turn == 0, left[0], left[1]), turn, 1 - turn)
        if k % 2 == 0:
            chance_first = np.full(n, 0.5)
        if_first, if_second = (by_turn[0], by_turn[1]) if k % 2 == 0 else (by_turn[1], by_turn[0])
        share = chance_first * (if_first == item) + (1 - chance_first) * (if_second == item)
        chance_first = chance_first * (if_first == item) / share
        there = (item >= 0) & (k < ks)
        out.items[:, k] = np.where(there, item, -1)
        out.teams[:, k] = np.where(there, owner + 1, 0)
        out.propensities[:, k] = np.where(there, share, 1.0)
        for i in (0, 1):
            free[i] = free[i] & ~((lists[i] == item[:, None]) & there[:, None])
    return out
