"""Drift: says that the serving score is no longer what it was. It raises an alert and decides nothing.

In: the serving release's prequential scores, in order. Out: a `Drifted` where ADWIN (Bifet & Gavalda 2007, river's)
finds that the recent mean is another one. A user counts a few times at most within a stretch of choices, so that one
user's flood is no drift of the shop.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river.drift import ADWIN

_KEPT = 4096
_STRETCH = 1000
_MOST = 20


@dataclass(frozen=True, slots=True)
class Drifted:
    """Means before and after; `at`: how many scores had counted by then."""

    at: int
    before: float
    after: float


class Drift:
    """`delta`: ADWIN's confidence; a smaller one is slower and surer."""

    def __init__(self, delta: float = 0.002) -> None:
        self.delta = delta
        self._adwin: Any = ADWIN(delta)  # type: ignore[no-untyped-call]
        self._latest: deque[float] = deque(maxlen=_KEPT)  # since the last change
        self._times: Counter[int] = Counter()
        self._taken = 0

    def observe(self, scores: NDArray[np.float64], users: NDArray[np.uint64]) -> list[Drifted]:
        """Takes in scores float64[n] of choices by users uint64[n]; the changes found among them."""
        found = []
        for score, user in zip(scores.tolist(), users.tolist(), strict=True):
            if score != score or self._times[user] >= _MOST:
                continue
            self._times[user] += 1
            self._taken += 1
            if self._taken % _STRETCH == 0:
                self._times.clear()
            self._latest.append(score)
            before = self._adwin.estimation
            self._adwin.update(score)
            if self._adwin.drift_detected:
                found.append(Drifted(self._taken, before, self._adwin.estimation))
                # river begins anew at the next value, and so does what a restart feeds it
                self._latest.clear()
        return found

    def dump(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs."""
        return {
            "drift_latest": np.array(self._latest),
            "drift_taken": np.array([self._taken]),
            "drift_times": np.array(sorted(self._times.items()), np.uint64).reshape(-1, 2),
        }

    @classmethod
    def restore(cls, dumped: dict[str, NDArray[Any]], delta: float = 0.002) -> Drift:
        """As it was; of a calm of more than 4,096 scores the latest stand for all."""
        self = cls(delta)
        for score in dumped["drift_latest"].tolist():
            self._latest.append(score)
            self._adwin.update(score)
        self._taken = int(dumped["drift_taken"][0])
        self._times = Counter(dict(dumped["drift_times"].tolist()))
        return self
