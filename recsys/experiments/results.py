"""Results: what the arms of an experiment earned, whether they differ, and whether the experiment was sound.

In: who was in which arm, what each of their recommendations earned, and whose item was chosen where two rankings were
interleaved. Users are the units throughout, since arms are dealt by user.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, chdtrc, stdtr, stdtrit

from recsys.experiments.assign import MAIN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ALARM = 0.001
"""The sample-ratio check warns below this p: by chance alone one sound experiment in a thousand."""


@dataclass(frozen=True, slots=True)
class ArmResult:
    """`rate`: reward per recommendation, of the mean user, with its interval."""

    name: str
    users: int
    recommendations: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """An arm's rate minus that of `baseline`; p is Welch's, `adjusted` for all arms compared (Holm 1979)."""

    name: str
    baseline: str
    value: float
    low: float
    high: float
    p: float
    adjusted: float


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Users by arm as counted and as the shares would have them; p of a chi-square test."""

    counted: dict[str, int]
    expected: dict[str, float]
    p: float


@dataclass(frozen=True, slots=True)
class Duel:
    """Two interleaved rankings. wins_*: users who chose more of that one's items; p of a two-sided sign test over users
    who chose more of either. slates_*: the same count over slates."""

    first: str
    second: str
    users: int
    wins_first: int
    wins_second: int
    ties: int
    slates_first: int
    slates_second: int
    p: float


def arm_results(
    users: Ints, arms: Ints, rewards: Floats, names: list[str], level: float = 0.95
) -> tuple[list[ArmResult], list[Difference]]:
    """users, arms (places in `names`), rewards: [n], one a recommendation. The baseline is `main`, or else the first.

    A user's rate is the mean over their recommendations; arms are compared by Welch's unequal-variances t-test.
    """
    samples: dict[str, tuple[Floats, int]] = {}
    for arm in sorted(set(arms.tolist()), key=lambda a: (names[a] != MAIN, names[a])):
        at = arms == arm
        _, unit = np.unique(users[at], return_inverse=True)
        samples[names[arm]] = (np.bincount(unit, rewards[at]) / np.bincount(unit), int(at.sum()))
    results = []
    for name, (rates, count) in samples.items():
        half = float(stdtrit(max(len(rates) - 1, 1), 0.5 + level / 2)) * _error(rates)
        mean = float(rates.mean())
        results.append(ArmResult(name, len(rates), count, mean, mean - half, mean + half))
    base = next(iter(samples), MAIN)
    found = [(name, *welch(samples[name][0], samples[base][0], level)) for name in list(samples)[1:]]
    adjusted = holm(np.array([p for *_, p in found]))
    return results, [
        Difference(name, base, value, low, high, p, float(q))
        for (name, value, low, high, p), q in zip(found, adjusted, strict=True)
    ]


def welch(a: Floats, b: Floats, level: float = 0.95) -> tuple[float, float, float, float]:
    """(mean(a) - mean(b), low, high, two-sided p) by Welch 1947; NaN for samples of fewer than two."""
    value = float(a.mean() - b.mean())
    va, vb = _error(a) ** 2, _error(b) ** 2
    if not np.isfinite(va + vb):
        return value, np.nan, np.nan, np.nan
    if va + vb == 0:
        return value, value, value, 1.0 if value == 0 else 0.0
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    error = float(np.sqrt(va + vb))
    half = float(stdtrit(freedom, 0.5 + level / 2)) * error
    return value, value - half, value + half, float(2 * stdtr(freedom, -abs(value) / error))


def holm(p: Floats) -> Floats:
    """p-values adjusted so that the chance of any false alarm among them stays what one alone has (Holm 1979)."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty_like(p)
    out[order] = np.minimum(stepped, 1)
    return out


def sample_ratio(users: Ints, arms: Ints, names: list[str], shares: Mapping[str, float]) -> SampleRatio | None:
    """Whether users fell into arms as they should have. None where fewer than two arms have a share."""
    due = {name: share for name, share in shares.items() if share > 0}
    if len(due) < 2:
        return None
    counted = dict.fromkeys(due, 0)
    for arm in set(arms.tolist()):
        if names[arm] in counted:
            counted[names[arm]] = len(np.unique(users[arms == arm]))
    total, whole = sum(counted.values()), sum(due.values())
    expected = {name: total * share / whole for name, share in due.items()}
    if not total:
        return None
    square = sum((counted[name] - expected[name]) ** 2 / expected[name] for name in due)
    return SampleRatio(counted, expected, float(chdtrc(len(due) - 1, square)))


def duel(users: Ints, credit: Ints, first: str, second: str) -> Duel:
    """credit [n]: items chosen of the first ranking minus those of the second, one a slate."""
    _, unit = np.unique(users, return_inverse=True)
    by_user = np.bincount(unit, credit) if len(users) else np.zeros(0)
    a, b = int((by_user > 0).sum()), int((by_user < 0).sum())
    return Duel(
        first, second, len(by_user), a, b, int((by_user == 0).sum()), int((credit > 0).sum()), int((credit < 0).sum()),
        sign_test(a, b),
    )  # fmt: skip


def sign_test(a: int, b: int) -> float:
    """Two-sided p of a wins against b under a fair coin (exact binomial)."""
    return min(1.0, 2 * float(bdtr(min(a, b), a + b, 0.5))) if a + b else 1.0


def crossed(users: Ints, arms: Ints) -> npt.NDArray[np.bool_]:
    """[n] of bool: the user stands in more than one arm."""
    _, unit = np.unique(users, return_inverse=True)
    low = np.full(int(unit.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    high = np.full(len(low), -1)
    np.minimum.at(low, unit, arms)
    np.maximum.at(high, unit, arms)
    mixed: npt.NDArray[np.bool_] = (low < high)[unit]
    return mixed


def _error(x: Floats) -> float:
    return float(x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else np.nan
