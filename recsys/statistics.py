"""Statistics: what is counted over all users, as one immutable snapshot that the ranker reads.

In: the Tallies of a statistics release (or of a fold within a replay). Out: arrays by item, aligned with
`keys`, all decayed to one moment, `as_of`. Part of the World: swapped by pointer, never changed in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recsys.decay import WINDOWS_DAYS, decayed_to
from recsys.tallies import COUNTS, NEIGHBOURS, NEVER, Tallies

__all__ = ["NEIGHBOURS", "NEVER", "WINDOWS_DAYS", "Statistics"]


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """One snapshot; N items, W = 6 windows, K = 64 neighbours.

    keys               uint64[N], sorted: `recsys.keys.item_key` of the item
    popularity         float32[N, W]: decayed weight of what was done with it, by half-life (WINDOWS_DAYS)
    refusals           float32[N]: decayed weight of skips, dislikes and low ratings; half-life 30 days
    exposures          float32[N]: decayed number of times the item was shown; half-life 30 days
    first_ts           int64[N], ms: first interaction; NEVER (the largest int64) if it was only shown
    neighbours         uint64[N, K]: keys of items that its users turned to just before or after, best first;
                       0: none
    neighbour_weights  float32[N, K]: decayed sum of 1/gap; half-life 180 days

    By category: category_popularity (30 days), price_log_mean and price_log_var (natural log of the amount,
    weighted by popularity, in the category's most usual currency, price_currency).
    """

    statistics_id: str
    as_of: int
    keys: NDArray[np.uint64]
    popularity: NDArray[np.float32]
    refusals: NDArray[np.float32]
    exposures: NDArray[np.float32]
    first_ts: NDArray[np.int64]
    neighbours: NDArray[np.uint64]
    neighbour_weights: NDArray[np.float32]
    category_popularity: dict[str, float] = field(default_factory=dict)
    price_log_mean: dict[str, float] = field(default_factory=dict)
    price_log_var: dict[str, float] = field(default_factory=dict)
    price_currency: dict[str, str] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> Statistics:
        """Nothing counted yet; statistics_id "none"."""
        return cls.of(Tallies.blank(0), "none")

    @classmethod
    def of(cls, tallies: Tallies, statistics_id: str) -> Statistics:
        """The snapshot at `tallies.as_of`."""
        factors = decayed_to(tallies.as_of, tallies.steps)
        counts = (tallies.counts * factors[:COUNTS]).astype(np.float32)
        windows = len(WINDOWS_DAYS)
        priors = tallies.priors
        return cls(
            statistics_id=statistics_id,
            as_of=tallies.as_of,
            keys=tallies.keys,
            popularity=np.ascontiguousarray(counts[:, :windows]),
            refusals=np.ascontiguousarray(counts[:, windows]),
            exposures=np.ascontiguousarray(counts[:, windows + 1]),
            first_ts=tallies.first_ts,
            neighbours=tallies.neighbours,
            neighbour_weights=tallies.weights * np.float32(factors[COUNTS]),
            category_popularity=priors.category_popularity,
            price_log_mean=priors.price_log_mean,
            price_log_var=priors.price_log_var,
            price_currency=priors.price_currency,
        )

    def take(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row of each key, int64 in the shape of `keys`; -1 where the item has no statistics."""
        if not len(self.keys):
            return np.full(np.shape(keys), -1, np.int64)
        rows = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[rows] == keys, rows, -1)
