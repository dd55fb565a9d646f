"""Tallies: the sums of the statistics lane as they travel in a release, before they are decayed to a moment.

In: rows of `recsys.counting.Counts`, all of them or those touched since an earlier, whole set. Out: `overlay`
puts a difference on its whole set; `Statistics.of` turns the result into what the ranker reads. Sums are kept
relative to landmarks (`recsys.decay`), so a row that nobody touched stays right without being sent again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recsys.decay import HALF_LIVES_MS, shift

COUNTS = len(HALF_LIVES_MS) - 1
NEIGHBOURS = 64
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Priors:
    """What is known of a category before an item of it is. Prices as natural logs of amounts.

    `category_popularity`: decayed weight (30 days) of the category's items. `price_log_mean` and
    `price_log_var` are weighted by popularity, over the items priced in the category's most usual currency,
    `price_currency`.
    """

    category_popularity: dict[str, float] = field(default_factory=dict)
    price_log_mean: dict[str, float] = field(default_factory=dict)
    price_log_var: dict[str, float] = field(default_factory=dict)
    price_currency: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tallies:
    """Rows sorted by key. Sums are relative to `steps`; `as_of` is the log's time in ms.

    keys uint64[N]; counts float64[N, 8] (popularity in six windows, refusals, exposures); first_ts int64[N]
    in ms, NEVER where nobody has touched the item; neighbours uint64[N, 64] (0: none) and their weights
    float32[N, 64], strongest first.
    """

    as_of: int
    steps: NDArray[np.int64]
    keys: NDArray[np.uint64]
    counts: NDArray[np.float64]
    first_ts: NDArray[np.int64]
    neighbours: NDArray[np.uint64]
    weights: NDArray[np.float32]
    priors: Priors

    @classmethod
    def blank(cls, rows: int) -> Tallies:
        """`rows` rows of nothing."""
        return cls(
            0, np.zeros(COUNTS + 1, np.int64), np.zeros(rows, np.uint64), np.zeros((rows, COUNTS)),
            np.full(rows, NEVER), np.zeros((rows, NEIGHBOURS), np.uint64),
            np.zeros((rows, NEIGHBOURS), np.float32), Priors(),
        )  # fmt: skip


def overlay(base: Tallies, delta: Tallies) -> Tallies:
    """The whole set `base` with the rows of `delta` in place of its own, at the time of `delta`.

    Exactly what the learner held when it took `delta`, if `delta` has all rows touched since `base` was
    taken.
    """
    keys = np.union1d(base.keys, delta.keys) if len(base.keys) else delta.keys
    factors = shift(base.steps, delta.steps)
    at_base, at_delta = np.searchsorted(keys, base.keys), np.searchsorted(keys, delta.keys)
    out = Tallies.blank(len(keys))
    for target, old, new, factor in (
        (out.counts, base.counts, delta.counts, factors[:COUNTS]),
        (out.first_ts, base.first_ts, delta.first_ts, None),
        (out.neighbours, base.neighbours, delta.neighbours, None),
        (out.weights, base.weights, delta.weights, np.float32(factors[COUNTS])),
    ):
        target[at_base] = old if factor is None or np.all(factor == 1) else old * factor
        target[at_delta] = new
    return Tallies(delta.as_of, delta.steps, keys, out.counts, out.first_ts, out.neighbours, out.weights, delta.priors)
