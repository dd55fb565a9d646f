"""Popularity: how much of late each item was turned to, as it was when a visit came.

In: visits in the order of the log. Out: the log of each item's weight at the beginning of each chunk of the log, which
is added to the sequence model's scores (`recsys.learning.sequence`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.sequence import LEAST

Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
HALF_LIFE_DAYS = 90
"""Of the popularity that is added to scores: the same window as `popularity_quarter`."""
CHUNKS = 64
_CHUNK_S = 15 * 86_400
_GROWN = 2.0  # a log that has only begun changes its popularity by the minute: then a chunk ends when it has doubled
_NONE = np.float32(np.log(LEAST))


class Popularity:
    """`weights` float64[items], faded to the chunk that runs; `logs`: of each chunk float32[items there were then]."""

    def __init__(self) -> None:
        self.weights = np.zeros(0)
        self.logs: list[Floats] = []
        self._chunk: int | None = None
        self._mass = 0.0  # of all weights when the chunk began

    def grow(self, items: int) -> None:
        self.weights = np.concatenate([self.weights, np.zeros(max(0, items - len(self.weights)))])

    @property
    def newest(self) -> int:
        """Number of the chunk that runs."""
        return len(self.logs) - 1

    def move(self, seconds: int, visits: int) -> bool:
        """Comes to a visit at this time, after so many `visits`; whether the oldest chunk was dropped for it, so that
        all numbers of chunks are one less now."""
        chunk = seconds // _CHUNK_S
        passed = 1 if self._chunk is None else chunk - self._chunk
        if passed > 0:
            self.weights *= _faded(passed)
            self._chunk = chunk
        elif not (visits % 100 == 0 and self.weights.sum() > _GROWN * self._mass):
            return False
        self._mass = max(float(self.weights.sum()), 100.0)
        self.logs.append(np.log(self.weights + LEAST).astype(np.float32))
        if len(self.logs) <= CHUNKS:
            return False
        del self.logs[0]
        return True

    def late(self, seconds: int, weight: float) -> float:
        """What a weight of that time has faded to by now."""
        passed = 0 if self._chunk is None else self._chunk - seconds // _CHUNK_S
        return weight * _faded(max(0, passed))

    def table(self, items: int) -> Floats:
        """float32[chunks, items]: the logs; of items that came later, the least."""
        rows = [np.pad(one, (0, items - len(one)), constant_values=_NONE) for one in self.logs]
        return np.stack(rows) if rows else np.zeros((0, items), np.float32)

    def at(self, chunks: Longs, rows: Longs) -> Floats:
        """float32[c, r]: of these chunks the logs of these items alone."""
        found = np.full((len(chunks), len(rows)), _NONE, np.float32)
        for line, chunk in zip(found, chunks.tolist(), strict=True):
            there = rows < len(self.logs[chunk])
            line[there] = self.logs[chunk][rows[there]]
        return found

    # checkpoints -----------------------------------------------------------------------------------------------
    def dump(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        return (
            {"weights": self.weights, "offsets": self.table(len(self.weights))},
            {"chunk": self._chunk, "mass": self._mass},
        )

    @classmethod
    def restore(cls, arrays: dict[str, npt.NDArray[Any]], meta: dict[str, Any]) -> Popularity:
        """Raises KeyError."""
        made = cls()
        made.weights = arrays["weights"].copy()
        made.logs = [row.copy() for row in arrays["offsets"]]
        made._chunk, made._mass = meta["chunk"], meta["mass"]
        return made


def _faded(chunks: int) -> float:
    return float(0.5 ** (chunks * _CHUNK_S / (HALF_LIFE_DAYS * 86_400)))
