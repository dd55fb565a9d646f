"""Gate: which candidate of a lane may serve, judged by choices that neither it nor the serving release has learnt from.

In: for each choice, how well the serving and the candidate snapshot ranked it before the learner learnt from it
(prequential evaluation, Dawid 1984), and who chose. Out: a verdict, promote, hold or wait, with its reason.

In calm times a candidate is promoted unless it is worse. When the serving release's own score has collapsed, labels may
be noise or tastes may have changed, and the two look alike: then a candidate has to be provably better, and provably
better than chance at telling what was chosen from what a choice at random would have named as likely (its skill). The
first alone can be had from noise: what serves ranks it worse than chance, since it puts first what it would offer, and
a candidate that has unlearnt that is better. The second cannot: of labels at random, whatever ranks them has no skill.

Proof is a confidence sequence by betting (Waudby-Smith & Ramdas 2024; time-uniform as in Howard, Ramdas, McAuliffe &
Sekhon 2021): it holds however often one looks. Users are the units: a user's choices count 1, 1/2, 1/4, ..., so that
one who floods the log counts less than two.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import log1p, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Users = NDArray[np.uint64]
_BETS: Doubles = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.55, 0.8, 0.95])
_MOST = 8
"""Choices of a user that count at all."""


def bounds(values: Doubles, weights: Doubles, alpha: float) -> tuple[float, float]:
    """The confidence sequence of a mean, now: (lower, upper). Values float64[n] in -1..1, weights float64[n] in 0..1.

    At any time, each bound is wrong with a chance of `alpha` at most, if the mean, given what came before, is the same
    for all. The bettor stakes a mixture of shares; a mean is ruled out once the stake has grown 1/alpha-fold.
    """
    return _lower(values, weights, alpha), -_lower(-values, weights, alpha)


def _lower(values: Doubles, weights: Doubles, alpha: float) -> float:
    low, high = -1.0, 1.0
    for _ in range(16):
        mean = (low + high) / 2
        gains = np.log1p(np.outer(weights * (values - mean), _BETS / (1 + mean))).sum(axis=0)
        most = gains.max()
        if most + np.log(np.mean(np.exp(gains - most))) > -np.log(alpha):
            low = mean
        else:
            high = mean
    return low


@dataclass(frozen=True, slots=True)
class Rules:
    """What it takes. Scores are NDCG@10, 0..1."""

    least: int = 50
    """Choices, and users, below which nothing is decided."""
    users: int = 10
    margin: float = 0.005
    """A candidate may score this much less on average and still count as no worse."""
    worse: float = 0.05
    proof: float = 0.01
    """Chances of an error: of holding an equal candidate as worse; of one promotion, in a whole collapse, by luck."""
    patience: int = 400
    """Choices that count, after which a candidate that could not be promoted is held."""
    false_alarm: int = 10_000
    """Choices between two collapses that are none."""
    half_life: int = 5000
    """Of the serving score's long-run level, choices."""
    window: int = 128
    """Latest choices, not yet part of the long-run level. Of a user who made over a twentieth each counts less."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` in a sentence; `figures` behind it."""

    decision: Literal["wait", "promote", "hold"]
    why: str
    figures: dict[str, float]


class Level:
    """The serving score against its long run. `collapsed`: it fell to half or less (CUSUM, Page 1954), and has not come
    back to three quarters."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.collapsed = False
        self.mean = self.variance = self.weight = 0.0
        self._fallen = self._risen = 0.0
        self._latest: deque[tuple[float, float, int]] = deque()  # score, weight, user
        self._times: Counter[int] = Counter()

    @property
    def known(self) -> bool:
        return self.weight >= self.rules.least

    def take(self, score: float, user: int) -> float:
        """One choice. Returns its weight: less where the user made more than a twentieth of the window's."""
        self._times[user] += 1
        weight = min(1.0, max(1.0, self.rules.window / 20) / self._times[user]) ** 2
        if self.known:
            self._test(score, weight)
        self._latest.append((score, weight, user))
        if len(self._latest) > self.rules.window:
            old_score, old_weight, gone = self._latest.popleft()
            self._times[gone] -= 1
            if not self._times[gone]:
                del self._times[gone]
            # a lasting change becomes the level in time, but not while it may be a passing one
            self._learn(old_score, old_weight * (0.1 if self.collapsed else 1.0))
        return weight

    def _test(self, score: float, weight: float) -> None:
        spread = sqrt(max(self.variance, 1e-6))
        short = (self.mean - score) / spread
        slack = max(0.25 * self.mean / spread, 0.02)  # half of the way to half of the level
        # the bound that a level score crosses once in `false_alarm` choices, for a normal sum
        odds, bound = 2 * slack**2 * self.rules.false_alarm, 1.0
        for _ in range(8):
            bound = log1p(odds + bound)
        bound /= 2 * slack
        if not self.collapsed:
            self._fallen = max(0.0, self._fallen + weight * (short - slack))
            if self._fallen > bound:
                self.collapsed, self._risen = True, 0.0
        else:
            self._risen = max(0.0, self._risen + weight * (slack - short))
            if self._risen > bound:
                self.collapsed, self._fallen = False, 0.0

    def _learn(self, score: float, weight: float) -> None:
        self.weight = self.weight * 0.5 ** (weight / self.rules.half_life) + weight
        share, gap = weight / self.weight, score - self.mean
        self.mean += share * gap
        self.variance += share * (gap * gap * (1 - share) - self.variance)

    def restart(self, scores: Doubles) -> None:
        """Another release serves, whose level is another one: that of `scores`."""
        self.collapsed, self._fallen, self._risen = False, 0.0, 0.0
        self.mean, self.variance, self.weight = float(scores.mean()), float(scores.var()), float(len(scores))
        self._latest.clear()
        self._times.clear()


class Gate:
    """One lane's. `begin` puts up a candidate, `observe` takes in choices, `verdict` tells, `promoted` is told."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.level = Level(self.rules)
        self.candidate: str | None = None
        self._strikes = 0  # candidates put up in this collapse before this one
        self._usual, self._windows = 0.0, 0  # the serving score over a candidate's choices, as a rule; of how many
        self._clear()

    def _clear(self) -> None:
        self._rows: list[tuple[float, float, float, float]] = []  # weight, serving, candidate, its skill (nan: unknown)
        self._who: list[int] = []
        self._times: Counter[int] = Counter()
        self._seen, self._broken = 0.0, 0

    def begin(self, candidate: str) -> None:
        """From here on choices are those of this candidate."""
        self._remember()
        self._strikes = self._strikes + 1 if self.level.collapsed else 0
        self.candidate = candidate
        self._clear()

    def promoted(self) -> None:
        """The candidate serves now. After a collapse its scores are the new level."""
        if self.level.collapsed and self._rows:
            self.level.restart(np.array(self._rows)[:, 2])
            self._windows = 0
        else:
            self._remember()
        self.candidate, self._strikes = None, 0
        self._clear()

    def observe(self, serving: Doubles, candidate: Doubles | None, users: Users, skill: Doubles | None = None) -> None:
        """Scores float64[n] in 0..1 of the same choices, before they were learnt from, and user hashes uint64[n].
        `candidate`: None while none is put up. `skill` float64[n] in -1..1: how much better than chance the candidate
        was, with a mean of 0 at most where labels are random; None where that is not known."""
        rated = np.isfinite(serving) & (serving >= 0) & (serving <= 1)
        theirs = candidate if candidate is not None else np.zeros(len(serving))
        good = np.isfinite(theirs) & (theirs >= 0) & (theirs <= 1)
        self._broken += int((~good).sum())
        room = _MOST * self.rules.patience
        skills = np.full(len(serving), np.nan) if skill is None else np.where(np.abs(skill) <= 1, skill, np.nan)
        lines = zip(serving.tolist(), theirs.tolist(), users.tolist(), skills.tolist(), rated & good, strict=True)
        for own, other, user, skilled, fine in lines:
            if own != own or not 0 <= own <= 1:
                continue
            weight = self.level.take(own, user)
            if candidate is None or not fine:
                continue
            self._seen += weight
            if self._times[user] < _MOST and len(self._rows) < room:
                self._rows.append((0.5 ** self._times[user], own, other, skilled))
                self._who.append(user)
                self._times[user] += 1

    def verdict(self) -> Verdict:
        """What to do with the candidate, by all that was observed since `begin`. `hold`: put up another."""
        rules, n = self.rules, len(self._rows)
        rows = np.array(self._rows).reshape(-1, 4)
        weights, serving, difference = rows[:, 0], rows[:, 1], rows[:, 2] - rows[:, 1]
        level = self.level
        figures = {
            "choices": float(n), "seen": self._seen, "users": float(len(self._times)),
            "level": level.mean, "collapsed": float(level.collapsed),
        }  # fmt: skip
        if self._broken:
            return Verdict("hold", f"{self._broken} of the candidate's scores are no numbers from 0 to 1", figures)
        tired = n >= rules.patience or self._seen >= 10 * rules.patience
        if n < rules.least or len(self._times) < rules.users:
            why = f"{n} choices of {len(self._times)} users so far; it takes {rules.least} of {rules.users}"
            return Verdict("hold" if tired else "wait", why, figures)
        total = weights.sum()
        mean, own = float(weights @ difference / total), float(weights @ serving / total)
        low = self._is_low(own, total / sqrt(float(weights @ weights)))
        doubt = level.collapsed or low
        # over all candidates of a collapse the chances add up to `proof`
        alpha = rules.proof / ((self._strikes + 1) * (self._strikes + 2)) if doubt else rules.worse
        lower, upper = bounds(difference, weights, alpha)
        figures |= {"serving": own, "candidate": own + mean, "difference": mean, "lower": lower, "upper": upper}
        told = f"{mean:+.4f} ({lower:+.4f} to {upper:+.4f}) over {n} choices"
        if upper < 0:
            return Verdict("hold", f"worse: {told}", figures)
        if doubt:
            state = f"the serving score {'collapsed' if level.collapsed else 'is low'}, {own:.4f} of {level.mean:.4f}"
            known = np.isfinite(rows[:, 3])
            skill, _ = bounds(rows[known, 3], weights[known], alpha)
            figures["skill"] = skill
            if lower > 0 and skill > 0:
                return Verdict("promote", f"{state}, and the candidate is provably better: {told}", figures)
            if lower > 0:
                told += f", and may be no better than chance ({skill:+.4f} at least)"
            return Verdict("hold" if tired else "wait", f"{state}; not proven better: {told}", figures)
        if mean > -rules.margin:
            return Verdict("promote", f"not worse: {told}", figures)
        return Verdict("hold" if tired else "wait", f"not yet known to be no worse: {told}", figures)

    def better(self) -> str | None:
        """Why the candidate is provably better than what serves, in any times; None while that is not known."""
        rules = self.rules
        if len(self._rows) < rules.least or len(self._times) < rules.users or self._broken:
            return None
        rows = np.array(self._rows)
        weights, difference = rows[:, 0], rows[:, 2] - rows[:, 1]
        lower, upper = bounds(difference, weights, rules.proof)
        if lower <= 0:
            return None
        mean = float(weights @ difference / weights.sum())
        return f"{mean:+.4f} ({lower:+.4f} to {upper:+.4f}) over {len(rows)} choices"

    @property
    def tired(self) -> bool:
        """Whether more choices would not change what is known."""
        return len(self._rows) >= self.rules.patience

    def _is_low(self, own: float, root: float) -> bool:
        """Whether the serving score, on the candidate's own choices, looks as if it were about to collapse. It is
        compared with that over the choices of earlier candidates: weighed alike, and so as often of users who are
        new."""
        level = self.level
        gap = (self._usual - own) * root / sqrt(max(level.variance, 1e-6))
        return level.known and self._windows > 0 and own < 0.75 * self._usual and gap > 2

    def _remember(self) -> None:
        """Takes the serving score over the choices so far into what is usual; a low one slowly, as it may pass."""
        if len(self._rows) < self.rules.least:
            return
        rows = np.array(self._rows)
        total = rows[:, 0].sum()
        own = float(rows[:, 0] @ rows[:, 1] / total)
        low = self.level.collapsed or self._is_low(own, total / sqrt(float(rows[:, 0] @ rows[:, 0])))
        share = 0.02 if low else max(0.1, 1 / (self._windows + 1))
        self._usual += share * (own - self._usual)
        self._windows += not low

    def dump(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The whole state as arrays and a dict for JSON. `restore` takes them back."""
        level = self.level
        arrays = {
            "rows": np.array(self._rows).reshape(-1, 4),
            "who": np.array(self._who, np.uint64),
            "latest": np.array([[score, weight] for score, weight, _ in level._latest]).reshape(-1, 2),
            "latest_users": np.array([user for *_, user in level._latest], np.uint64),
        }
        meta = {name: getattr(self, name) for name in _GATE} | {name: getattr(level, name) for name in _LEVEL}
        return arrays, meta

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any], rules: Rules | None = None) -> Gate:
        """The state that `dump` gave."""
        self = cls(rules)
        for name in _GATE:
            setattr(self, name, meta[name])
        for name in _LEVEL:
            setattr(self.level, name, meta[name])
        rows = arrays["rows"]
        if rows.shape[1] == 3:  # from before skill was measured
            rows = np.pad(rows, ((0, 0), (0, 1)), constant_values=np.nan)
        self._rows = [(weight, own, other, skill) for weight, own, other, skill in rows.tolist()]
        self._who = arrays["who"].tolist()
        self._times = Counter(self._who)
        users = arrays["latest_users"].tolist()
        pairs = zip(arrays["latest"].tolist(), users, strict=True)
        self.level._latest = deque((score, weight, user) for (score, weight), user in pairs)
        self.level._times = Counter(users)
        return self


_GATE = ("candidate", "_strikes", "_seen", "_broken", "_usual", "_windows")
_LEVEL = ("collapsed", "mean", "variance", "weight", "_fallen", "_risen")
