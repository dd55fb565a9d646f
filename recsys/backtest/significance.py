"""Significance: how sure a figure is, and whether one policy beats another by more than chance.

In: one number an event and policy, and the event's user. Users are drawn, not events: what one user does hangs
together. Out: bootstrap intervals (Efron 1979, percentile), and for pairs of policies the interval of the difference
with the p-value of a randomisation test (signs of each user's difference flipped; Fisher), corrected over all pairs
(Holm 1979).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
FLIPS = 49_999
"""So many that p stays below .001 after a correction for the 28 pairs of eight policies."""
LEVEL = 0.95
_AT_ONCE = 4_000_000  # numbers held at a time
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over events with the LEVEL interval over users; nan where there are no events."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """`better` minus `worse`, with its interval; `p` is corrected over all pairs that were compared."""

    better: str
    worse: str
    mean: float
    low: float
    high: float
    p: float


def by_user(values: Mapping[str, Values], user: NDArray[np.int64]) -> tuple[dict[str, Values], Values]:
    """(sums over each user's events by name, number of events) of the users that have any."""
    _, line = np.unique(user, return_inverse=True)
    n = np.bincount(line).astype(np.float64)
    return {name: np.bincount(line, column).astype(np.float64) for name, column in values.items()}, n


def intervals(
    values: Mapping[str, Values], user: NDArray[np.int64], seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """The interval of each column's mean, float64[m] each; all from the same draws of users."""
    if not len(user):
        return {name: Interval(np.nan, np.nan, np.nan) for name in values}
    sums, n = by_user(values, user)
    names = list(values)
    drawn = _resampled(np.stack([*(sums[name] for name in names), n]), seed, resamples)
    out = {}
    for at, name in enumerate(names):
        low, high = _between(drawn[at] / drawn[-1])
        out[name] = Interval(float(sums[name].sum() / n.sum()), low, high)
    return out


def differences(
    values: Mapping[str, Values], user: NDArray[np.int64], seed: int = 0, resamples: int = RESAMPLES, flips: int = FLIPS
) -> list[Difference]:
    """Every pair of columns, the better first, the surest first."""
    if not len(user) or len(values) < 2:
        return []
    sums, n = by_user(values, user)
    names = sorted(values, key=lambda name: -float(sums[name].sum()))
    pairs = list(combinations(names, 2))
    gaps = np.stack([sums[a] - sums[b] for a, b in pairs])
    p = holm(_flipped(gaps, seed, flips))
    drawn = _resampled(np.concatenate([gaps, n[None]]), seed, resamples)
    found = []
    for at, (better, worse) in enumerate(pairs):
        low, high = _between(drawn[at] / drawn[-1])
        found.append(Difference(better, worse, float(gaps[at].sum() / n.sum()), low, high, float(p[at])))
    return found


def holm(p: Values) -> Values:
    """p-values corrected for their number: the smallest times n, the next times n - 1, ... never falling, at most 1."""
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty(len(p))
    out[order] = np.minimum(raised, 1.0)
    return out


def _resampled(columns: Values, seed: int, resamples: int) -> Values:
    """float64[columns, resamples]: sums over users drawn with replacement, as many as there are."""
    random = np.random.default_rng([seed, 1])
    users = columns.shape[1]
    step = max(1, _AT_ONCE // users)
    out = []
    for at in range(0, resamples, step):
        many = min(step, resamples - at)
        drawn = random.integers(users, size=(many, users)) + np.arange(many)[:, None] * users
        times = np.bincount(drawn.ravel(), minlength=many * users).reshape(many, users)
        out.append(columns @ times.T.astype(np.float64))
    return np.concatenate(out, axis=1)


def _flipped(gaps: Values, seed: int, flips: int) -> Values:
    """Two-sided p of each row of `gaps`: how often random signs give a sum at least as far from zero."""
    random = np.random.default_rng([seed, 2])
    users = gaps.shape[1]
    gaps = gaps.astype(np.float32)
    observed = np.abs(gaps.sum(axis=1)) * np.float32(1 - 1e-5)  # what rounding alone makes smaller is as far
    as_far = np.ones(len(gaps))  # the arrangement that was found is one of them
    step = max(1, _AT_ONCE // users)
    for at in range(0, flips, step):
        many = min(step, flips - at)
        bits = np.unpackbits(np.frombuffer(random.bytes(many * -(-users // 8)), np.uint8).reshape(many, -1), axis=1)
        signs = np.float32(1) - np.float32(2) * bits[:, :users]
        as_far += (np.abs(gaps @ signs.T) >= observed[:, None]).sum(axis=1)
    return as_far / (flips + 1)


def _between(drawn: Values) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
