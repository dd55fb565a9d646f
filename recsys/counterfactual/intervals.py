"""Intervals for sums of ratios of means over users: what every estimator here comes down to.

value = sum over j of mean(num[:, j]) / mean(den[:, j]). Slates of a user hang together, so users are the units, in the
linearised variance (influence function) as in the bootstrap. The quantile is Student's, with Satterthwaite's degrees of
freedom from the kurtosis of the users' parts: a few heavy weights make the variance itself uncertain, and the interval
wider.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from recsys.counterfactual.slates import Floats, Ints

Method = Literal["normal", "bootstrap"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, its interval, its standard error; all NaN where the data say nothing."""

    value: float
    low: float
    high: float
    error: float


NOTHING = Estimate(np.nan, np.nan, np.nan, np.nan)


@dataclass(frozen=True, slots=True)
class Ratios:
    """num, den [n, J]: see the module's docstring. Differences of two are ratios again: `minus`."""

    num: Floats
    den: Floats

    def minus(self, other: Ratios) -> Ratios:
        return Ratios(np.hstack([self.num, -other.num]), np.hstack([self.den, other.den]))

    def value(self) -> float:
        return float((self.num.sum(axis=0) / self.den.sum(axis=0)).sum())


def estimate(
    ratios: Ratios,
    users: Ints,
    *,
    level: float = 0.95,
    method: Method = "normal",
    floor: float | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> Estimate:
    """`ratios` of slates whose users are `users` [n]. `floor`: the interval does not go below what is impossible."""
    if not len(users) or (ratios.den.sum(axis=0) == 0).any():
        return NOTHING
    _, unit = np.unique(users, return_inverse=True)
    u = int(unit.max()) + 1
    if u < 2:
        return Estimate(ratios.value(), np.nan, np.nan, np.nan)
    num, den = _by_user(ratios.num, unit, u), _by_user(ratios.den, unit, u)
    if method == "bootstrap":
        return _bootstrap(num, den, level, floor, rounds, seed)
    theta = num.sum(axis=0) / den.sum(axis=0)
    parts = ((num - theta * den) / den.mean(axis=0)).sum(axis=1)  # influence of each user, mean 0
    square = float((parts**2).sum())
    error = np.sqrt(square * u / (u - 1)) / u
    if square > 0:
        kurtosis = u * float((parts**4).sum()) / square**2
        freedom = min(u - 1.0, 2 * u / max(kurtosis - 1, 2 / u))
    else:
        freedom = u - 1.0
    half = float(stdtrit(max(freedom, 1.0), 0.5 + level / 2)) * error
    value = float(theta.sum())
    return Estimate(value, _floored(value - half, floor), value + half, float(error))


def _by_user(x: Floats, unit: Ints, u: int) -> Floats:
    return np.stack([np.bincount(unit, x[:, j], u) for j in range(x.shape[1])], axis=1)


def _bootstrap(num: Floats, den: Floats, level: float, floor: float | None, rounds: int, seed: int) -> Estimate:
    """Percentiles over users drawn with replacement (as multinomial counts)."""
    u = len(num)
    draw = np.random.default_rng(seed)
    counts = draw.multinomial(u, np.full(u, 1 / u), rounds).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = (counts @ num / (counts @ den)).sum(axis=1)
    values = values[np.isfinite(values)]
    value = float((num.sum(axis=0) / den.sum(axis=0)).sum())
    if len(values) < rounds / 2:
        return Estimate(value, np.nan, np.nan, np.nan)
    low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
    return Estimate(value, _floored(float(low), floor), float(high), float(values.std()))


def _floored(low: float, floor: float | None) -> float:
    return low if floor is None else max(low, floor)
