"""Forward decay (Cormode and others, 2009): weights that fade with age and can still be added up.

An event at time t counts 2^((t - L) / H), where H is the half-life and L a landmark; dividing a sum of such
weights by 2^((now - L) / H) gives the decayed sum at any `now`. Nothing has to be touched as time passes.
Here a landmark is a whole number of half-lives since the epoch (a `step`), and moves with the log's time:
moving it multiplies sums by a power of two, which is exact, so that it does not matter when it was moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DAY_MS = 86_400_000
WINDOWS_DAYS = (1, 7, 30, 90, 365, 3650)
"""Half-lives of popularity; the last is as good as for ever."""
RATES_DAYS = 30
"""Half-life of refusals and exposures, so that they compare with the third window of popularity."""
TOGETHER_DAYS = 180
"""Half-life of co-visitation: what goes together changes more slowly than what is liked."""
HALF_LIVES_MS: NDArray[np.int64] = DAY_MS * np.array([*WINDOWS_DAYS, RATES_DAYS, RATES_DAYS, TOGETHER_DAYS], np.int64)
"""int64[9], ms: the columns of an item's counts (popularity, refusals, exposures), and co-visitation last."""

_LEAST = -1100  # beyond this power of two a float64 is zero anyway


def steps_at(now: int) -> NDArray[np.int64]:
    """int64[9]: the landmarks, in whole half-lives since the epoch, of the log's time `now` (ms)."""
    return now // HALF_LIVES_MS


def weights_at(ts: NDArray[np.int64], half_life_ms: int, step: int) -> NDArray[np.float64]:
    """float64[n]: what events at `ts` (ms) count relative to the landmark `step`."""
    whole, rest = np.divmod(ts, half_life_ms)
    return np.ldexp(np.exp2(rest / half_life_ms), np.maximum(whole - step, _LEAST).astype(np.int32))


def shift(old: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[9]: what sums are multiplied by when landmarks move from `old` to `new`; powers of two."""
    return np.ldexp(np.ones(len(old)), np.clip(old - new, _LEAST, -_LEAST).astype(np.int32))


def decayed_to(now: int, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[9]: what sums relative to `steps` are multiplied by, to be the decayed sums at `now`."""
    whole, rest = np.divmod(now, HALF_LIVES_MS)
    powers: NDArray[Any] = np.maximum(steps - whole, _LEAST).astype(np.int32)
    return np.ldexp(np.exp2(-rest / HALF_LIVES_MS), powers)
