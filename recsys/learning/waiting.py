"""Waiting: visits to items whose vectors have not come yet.

In: visits in the order of the log. Out: those whose items are known by now, in the same order. They are few while all
goes well: the vectors of an item come seconds after it. After an encoder was away they are those of hours.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

MOST = 50_000
"""Visits that wait; the oldest fall out. A quarter of an hour of a busy shop, in 1.4 MB of a checkpoint."""


class Visits(NamedTuple):
    """users int64[n]; keys uint64[n] of items; seconds int64[n]; weights float32[n] of evidence, > 0."""

    users: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]
    seconds: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]

    def of(self, some: npt.NDArray[np.bool_]) -> Visits:
        return Visits(self.users[some], self.keys[some], self.seconds[some], self.weights[some])

    @classmethod
    def listed(cls, rows: Any) -> Visits:
        """Of an iterable of (user, key, seconds, weight)."""
        users, keys, seconds, weights = zip(*rows, strict=True) if rows else ((), (), (), ())
        return cls(
            np.array(users, np.int64), np.array(keys, np.uint64), np.array(seconds, np.int64),
            np.array(weights, np.float32),
        )  # fmt: skip


class Waiting:
    """At most `most` visits."""

    def __init__(self, most: int = MOST) -> None:
        self._held: deque[tuple[int, int, int, float]] = deque(maxlen=most)

    def __len__(self) -> int:
        return len(self._held)

    def put(self, visits: Visits) -> None:
        self._held.extend(zip(*(column.tolist() for column in visits), strict=True))

    def come(self, keys: npt.NDArray[np.uint64]) -> Visits:
        """Takes out the visits to these items."""
        if not self._held or not len(keys):
            return Visits.listed(())
        held = Visits.listed(self._held)
        there = np.isin(held.keys, keys)
        if there.any():
            self._held.clear()
            self.put(held.of(~there))
        return held.of(there)

    def forget(self, user: int) -> int:
        """Lets go of a user's; how many there were."""
        before = len(self._held)
        kept = [one for one in self._held if one[0] != user]
        if len(kept) < before:
            self._held.clear()
            self._held.extend(kept)
        return before - len(kept)

    # checkpoints -----------------------------------------------------------------------------------------------
    def dump(self) -> dict[str, npt.NDArray[Any]]:
        return Visits.listed(self._held)._asdict()

    @classmethod
    def restore(cls, arrays: dict[str, npt.NDArray[Any]], most: int = MOST) -> Waiting:
        """None wait in a checkpoint that does not speak of them. Raises KeyError where it does so by half."""
        made = cls(most)
        if arrays:
            made.put(Visits(*(arrays[name] for name in Visits._fields)))
        return made
