"""Co-visitation: which items the same users turn to one after the other, in bounded rows.

In: pairs of item rows with weights, in the order of the log. Out: for each item its strongest neighbours. A
row holds up to SLOTS neighbours; when one more comes, the weakest go and KEPT stay. So what a row holds
depends on the log alone and not on where a batch was cut; a neighbour among the strongest is not lost, one
that was dropped starts anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SLOTS = 128
KEPT = 64
Rows = NDArray[np.int64]


class Neighbourhoods:
    """A growing table: `ids` int32[rows, SLOTS] (-1: free), `sums` float64[rows, SLOTS], `used` int64[rows]."""

    def __init__(self) -> None:
        self.ids = np.full((0, SLOTS), -1, np.int32)
        self.sums = np.zeros((0, SLOTS))
        self.used = np.zeros(0, np.int64)

    def grow(self, rows: int) -> None:
        """Makes room for `rows` rows in all."""
        more = rows - len(self.used)
        if more > 0:
            self.ids = np.concatenate([self.ids, np.full((more, SLOTS), -1, np.int32)])
            self.sums = np.concatenate([self.sums, np.zeros((more, SLOTS))])
            self.used = np.concatenate([self.used, np.zeros(more, np.int64)])

    def learn(self, rows: Rows, others: Rows, weights: NDArray[np.float64]) -> None:
        """Adds `weights[i]` to the neighbour `others[i]` of `rows[i]`, one after the other."""
        slots = self._find(rows, others)
        missing = slots < 0
        if missing.any():
            pairs, first = np.unique((rows[missing] << 32) | others[missing], return_index=True)
            pairs = pairs[np.argsort(first)]
            new_rows, new_ids = pairs >> 32, pairs & 0xFFFFFFFF
            by_row = np.argsort(new_rows, kind="stable")
            new_rows, new_ids = new_rows[by_row], new_ids[by_row]
            wanted, start, many = np.unique(new_rows, return_index=True, return_counts=True)
            crowded = wanted[self.used[wanted] + many > SLOTS]
            place = self.used[new_rows] + np.arange(len(new_rows)) - np.repeat(start, many)
            if len(crowded):
                self._learn_crowded(crowded, rows, others, weights)
                fits = ~np.isin(new_rows, crowded)
                new_rows, new_ids, place = new_rows[fits], new_ids[fits], place[fits]
                roomy = ~np.isin(rows, crowded)
                rows, others, weights, slots = rows[roomy], others[roomy], weights[roomy], slots[roomy]
                missing = missing[roomy]
            self.ids[new_rows, place] = new_ids
            np.add.at(self.used, new_rows, 1)
            slots[missing] = self._find(rows[missing], others[missing])
        np.add.at(self.sums.reshape(-1), rows * SLOTS + slots, weights)

    def _find(self, rows: Rows, others: Rows) -> Rows:
        """int64[n]: the slot of each neighbour in its row, -1 where it is not there."""
        same = self.ids[rows] == others[:, None]
        slots = same.argmax(axis=1)
        return np.where(same[np.arange(len(rows)), slots], slots, -1)

    def _learn_crowded(self, crowded: Rows, rows: Rows, others: Rows, weights: NDArray[np.float64]) -> None:
        """The rows that run out of slots within this batch, update by update."""
        mine = np.flatnonzero(np.isin(rows, crowded))
        mine = mine[np.argsort(rows[mine], kind="stable")]
        ends = np.searchsorted(rows[mine], crowded, side="right").tolist()
        ids, adds = others[mine].tolist(), weights[mine].tolist()
        start = 0
        for row, end in zip(crowded.tolist(), ends, strict=True):
            n = int(self.used[row])
            held = dict(zip(self.ids[row, :n].tolist(), self.sums[row, :n].tolist(), strict=True))
            for other, weight in zip(ids[start:end], adds[start:end], strict=True):
                if other in held:
                    held[other] += weight
                else:
                    if len(held) == SLOTS:
                        held = dict(sorted(held.items(), key=_falling)[:KEPT])
                    held[other] = weight
            start, n = end, len(held)
            self.ids[row] = -1
            self.sums[row] = 0
            self.ids[row, :n] = list(held)
            self.sums[row, :n] = list(held.values())
            self.used[row] = n

    def scale(self, factor: float) -> None:
        """Multiplies all sums, when their landmark moves."""
        self.sums *= factor

    def strongest(self, rows: Rows) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """(ids int32[n, KEPT], sums float64[n, KEPT]) of `rows`, strongest first; then -1 and 0."""
        ids = np.full((len(rows), KEPT), -1, np.int32)
        sums = np.zeros((len(rows), KEPT))
        filled = np.flatnonzero(self.used[rows] > 0)
        some = rows[filled]
        if len(some):
            width = int(self.used[some].max())
            found = self.sums[some, :width]
            order = np.argsort(-found, axis=1, kind="stable")[:, :KEPT]
            width = order.shape[1]
            ids[filled, :width] = np.take_along_axis(self.ids[some], order, axis=1)
            sums[filled, :width] = np.take_along_axis(found, order, axis=1)
            ids[sums <= 0] = -1
        return ids, sums

    def keep(self, rows: Rows, renamed: NDArray[np.int64]) -> None:
        """Keeps only `rows`, in that order; `renamed[old row]` is the new one, -1 for those that go."""
        ids = np.where(self.ids[rows] >= 0, renamed[self.ids[rows]], -1)
        order: NDArray[Any] = np.argsort(ids < 0, axis=1, kind="stable")
        self.ids = np.take_along_axis(ids, order, axis=1).astype(np.int32)
        self.sums = np.where(self.ids >= 0, np.take_along_axis(self.sums[rows], order, axis=1), 0.0)
        self.used = (self.ids >= 0).sum(axis=1)


def _falling(entry: tuple[int, float]) -> float:
    return -entry[1]
