"""Trial: whether a canary's users are served worse than the others, by what became of their recommendations.

In: recommendations of both kinds of users, acts on them, and the time. Out: a verdict: wait, promote, or hold, which
here means that the canary has to go.

A recommendation is settled a while after it was made: it has earned what the best act on it was worth, 1 at most, or
nothing. Rounds set canary's against others' of about the same time (each has one or more of both kinds), so that a
slump of the whole shop falls on both. Their differences go into the confidence sequence of `recsys.learning.gate`,
which holds however often one looks. Users are the units: a user's recommendations count 1, 1/2, 1/4, ...
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

import numpy as np

from recsys.learning.gate import Verdict, bounds

_MOST = 8
"""Recommendations of a user that count at all."""
_EARLY = 20_000
"""Acts that are kept for recommendations that are not known yet."""
_DUE = 20
"""So many recommendations of the canary there should have been before their lack says anything."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What it takes. Times in ms."""

    outcomes: int = 200
    """Recommendations of the canary that have to be settled, and the users that they are of."""
    users: int = 10
    settled_ms: int = 60_000
    """From a recommendation to its settlement."""
    limit_ms: int = 3_600_000
    """After so long, or ten times the outcomes, it is decided by what there is."""
    beside: float = 4.0
    """Recommendations of others for each of the canary, as users were dealt."""
    worse: float = 0.05
    """The chance that an equal canary is taken for worse, ever."""
    margin: float = 0.1
    """It may earn this part less than the others, and still count as no worse for being promoted."""


@dataclass(slots=True)
class _Open:
    rec_id: str
    user: int
    canary: bool
    ts: int
    asked: bool
    earned: float = 0.0


class Trial:
    """Tell it what was `made`, `shown` and `acted`; `until` settles; `verdict` tells."""

    def __init__(self, terms: Terms, began_ms: int) -> None:
        self.terms, self.began_ms = terms, began_ms
        self.settled = {True: 0, False: 0}
        """Recommendations that counted: the canary's, and the others'."""
        self._open: dict[str, _Open] = {}
        self._order: deque[_Open] = deque()
        self._early: dict[str, float] = {}
        self._asked = False
        self._times: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
        self._round: dict[bool, list[tuple[float, float]]] = {True: [], False: []}  # (weight, earned)
        self._rounds: list[tuple[float, float, float]] = []  # weight, the canary's, the others'

    @property
    def users(self) -> int:
        """Users of the canary of whom anything was settled."""
        return len(self._times[True])

    def made(self, rec_id: str, user: int, canary: bool, ts: int, asked: bool) -> None:
        """A recommendation to a user (by hash), by the canary or by what serves; `asked`: by a request or a chat."""
        if rec_id in self._open:
            return
        one = _Open(rec_id, user, canary, ts, asked, self._early.pop(rec_id, 0.0))
        self._asked |= asked
        self._open[rec_id] = one
        self._order.append(one)

    def shown(self, rec_id: str) -> None:
        """An impression of it came."""
        if (one := self._open.get(rec_id)) is not None:
            one.asked = self._asked = True

    def acted(self, rec_id: str, worth: float) -> None:
        """An act on one of its items, of this weight."""
        worth = min(1.0, max(0.0, worth))
        if (one := self._open.get(rec_id)) is not None:
            one.earned = max(one.earned, worth)
        elif worth:
            self._early[rec_id] = max(worth, self._early.get(rec_id, 0.0))
            if len(self._early) > _EARLY:
                del self._early[next(iter(self._early))]

    def until(self, now_ms: int) -> None:
        """Settles what was made long enough before."""
        while self._order and self._order[0].ts + self.terms.settled_ms <= now_ms:
            one = self._order.popleft()
            del self._open[one.rec_id]
            # what nobody asked for or saw says nothing, where other recommendations do
            if one.asked or not self._asked:
                self._settle(one)

    def _settle(self, one: _Open) -> None:
        times = self._times[one.canary]
        n, times[one.user] = times[one.user], times[one.user] + 1
        if n >= _MOST:
            return
        self.settled[one.canary] += 1
        self._round[one.canary].append((0.5**n, one.earned))
        mine, theirs = self._round[True], self._round[False]
        if mine and theirs:
            self._rounds.append((max(weight for weight, _ in mine), _mean(mine), _mean(theirs)))
            self._round = {True: [], False: []}

    def verdict(self, now_ms: int) -> Verdict:
        """What to do with the canary, by all that was settled."""
        terms, n, others = self.terms, self.settled[True], self.settled[False]
        rows = np.array(self._rounds).reshape(-1, 3)
        weights, difference = rows[:, 0], rows[:, 1] - rows[:, 2]
        figures = {"live_outcomes": float(n), "live_others": float(others), "live_users": float(self.users)}
        over = now_ms - self.began_ms >= terms.limit_ms or n >= 10 * terms.outcomes
        seen = f"{n} recommendations of {self.users} users"
        if others / terms.beside >= _DUE and n < others / terms.beside / 4:
            due = f"{others / terms.beside:.0f} were due"
            if over:
                return Verdict("hold", f"it served far fewer users than its share: {seen}, and {due}", figures)
            return Verdict("wait", f"{seen}, and {due}", figures)
        if not rows[:, 1:].any():
            return Verdict("promote" if over else "wait", f"nothing came of it in its time: {seen}", figures)
        total = weights.sum()
        mean, usual = float(weights @ difference / total), float(weights @ rows[:, 2] / total)
        lower, upper = bounds(difference, weights, terms.worse)
        figures |= {"live_difference": mean, "live_serving": usual, "live_lower": lower, "live_upper": upper}
        told = f"{mean:+.3f} ({lower:+.3f} to {upper:+.3f}) of {usual:.3f} a recommendation, over {seen}"
        if upper < 0:
            return Verdict("hold", f"its users earn less: {told}", figures)
        good = mean >= -terms.margin * usual
        if n >= terms.outcomes and self.users >= terms.users and good:
            return Verdict("promote", f"its users earn no less: {told}", figures)
        if over:
            why = "not known to earn less" if good else "not known to earn no less"
            return Verdict("promote" if good else "hold", f"its time is over, {why}: {told}", figures)
        return Verdict("wait", told, figures)


def _mean(some: list[tuple[float, float]]) -> float:
    return sum(weight * earned for weight, earned in some) / sum(weight for weight, _ in some)
