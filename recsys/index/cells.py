"""Cells: the vectors nearest to each query by inner product, looked for where they are likely (an inverted file; Jégou,
Douze and Schmid 2011).

In: fixed-point vectors (`recsys.fixed`). They are dealt to cells, each to the centroid nearest to it. A search goes
through the codes (`recsys.index.codes`) of the cells nearest to the query, compares what looks best with the query
itself and gives the best of that in order. How many cells is found out when an index is made, by queries whose answers
are known: texts of one catalogue lie in knots, those of another everywhere. What a query finds does not depend on who
else is in the block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from recsys.fixed import STEP, Fixed, Sums, directions, floats
from recsys.index.codes import LANES, Codes, asked, look
from recsys.index.exact import best_of

RECALL = 0.99
"""The share of the nearest that is in the cells searched."""
AGAIN = 2.0
"""See `CellIndex`. At 100,000 vectors 1.5 cost two hundredths of recall@100, and 4 gain one."""
_NEAREST, _OF = 100, 200  # by how many, of how many found, recall is told
_ASKED = 256  # vectors asked for, and as many mixtures
_TRAIN_A_CELL = 48  # vectors that centroids are made from
_ROUNDS = 8
_DEALT = 4096  # vectors dealt to cells at once

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CellIndex:
    """`vectors` int16[m, dim], of which `rows` int64[n] are in the index, cell by cell: those of cell c are from
    `starts[c]` to `starts[c + 1]`, their codes from group `first[c]` on. `places` int64[n]: where among those given
    they stood. `probes` cells are searched, and `again` vectors compared as they are for each that is wanted; `recall`
    is the share of the nearest hundred that two hundred found then hold, for vectors and mixtures of them."""

    vectors: Fixed
    rows: Longs
    places: Longs
    centroids: Fixed
    starts: Longs
    first: Longs
    codes: Codes
    probes: int
    again: float = AGAIN
    recall: float = 0.0

    @classmethod
    def of(cls, vectors: Fixed, rows: Longs) -> CellIndex:
        """An index of these rows of `vectors`, which is kept, not copied. Seconds of work for 100,000, the same result
        each time."""
        n = len(rows)
        cells = min(n, int(2 ** np.round(np.log2(4 * np.sqrt(n)))))
        mine = vectors[rows]
        sample = np.sort(np.random.default_rng(1).permutation(n)[: cells * _TRAIN_A_CELL])
        centroids = _centroids(mine[sample], cells)
        cell = _dealt(mine, centroids)[0]
        places = np.argsort(cell, kind="stable")
        sizes = np.bincount(cell, minlength=cells)
        starts = np.concatenate([[0], sizes.cumsum()])
        first = np.concatenate([[0], (-(-sizes // LANES)).cumsum()])
        codes = Codes.of(mine, places, centroids, starts)
        probes = _probes(mine, cell, centroids)
        made = cls(vectors, rows[places], places, centroids, starts, first, codes, probes)
        return replace(made, recall=_recall(made, mine))

    def search(self, queries: Floats, k: int) -> tuple[Floats, Longs]:
        """For float32[B, dim] (float32, int64)[B, k]: cosines with the query, if the vectors have length 1, and places
        of the `k` nearest, best first; behind the last that was found -inf and -1."""
        k = min(k, len(self.rows))
        numbers = directions(queries)
        near, cells = best_of(self.centroids, numbers, self.probes)
        sums, ids = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.int64)
        found = np.empty(len(queries), np.int64)
        look(
            self.codes.bits, self.codes.factors, self.starts, self.first, cells, near, *asked(numbers), self.vectors,
            self.rows, numbers, int(self.again * k), sums, ids, found,
        )  # fmt: skip
        sims = sums * STEP
        if found.min(initial=k) < k:
            behind = np.arange(k) >= found[:, None]
            sims[behind], ids[behind] = -np.inf, 0
            return sims, np.where(behind, -1, self.places[ids])
        return sims, self.places[ids]


def _centroids(vectors: Fixed, cells: int) -> Fixed:
    """int16[cells, dim]: means of vectors that are nearest to each other, 1 long (spherical k-means; Dhillon and Modha
    2001). Sums are of whole numbers: the same in every run."""
    centroids = directions(floats(vectors[np.random.default_rng(1).permutation(len(vectors))[:cells]]))
    for _ in range(_ROUNDS):
        cell, near = _dealt(vectors, centroids)
        order = np.argsort(cell, kind="stable")
        used, first = np.unique(cell[order], return_index=True)
        sums = np.add.reduceat(vectors[order], first, axis=0, dtype=np.int64)
        centroids[used] = directions(sums.astype(np.float32))
        empty = np.setdiff1d(np.arange(cells), used)  # begins anew at what is furthest from its own
        centroids[empty] = directions(floats(vectors[np.argsort(near, kind="stable")[: len(empty)]]))
    return centroids


def _dealt(vectors: Fixed, centroids: Fixed) -> tuple[Longs, Sums]:
    """(int64, int32)[n]: of each vector the cell whose centroid is nearest, and their product."""
    some = (directions(floats(vectors[at : at + _DEALT])) for at in range(0, len(vectors), _DEALT))
    near, cell = zip(*(best_of(centroids, one, 1) for one in some), strict=True)
    return np.concatenate(cell)[:, 0], np.concatenate(near)[:, 0]


def _questions(vectors: Fixed, seed: int) -> tuple[Fixed, Fixed]:
    """What might be asked: some of the vectors, as a text like them would, and mixtures of three, as a taste would."""
    random = np.random.default_rng(seed)
    one, two, three = (floats(vectors[random.integers(len(vectors), size=_ASKED)]) for _ in range(3))
    return directions(one), directions(one + two + three)


def _probes(vectors: Fixed, cell: Longs, centroids: Fixed) -> int:
    """The cells in which RECALL of the nearest are; `cell` int64[n] says where each of `vectors` int16[n, dim] is."""
    most = 1
    for queries in _questions(vectors, 2):
        nearest = cell[best_of(vectors, queries, _NEAREST)[1]]
        order = best_of(centroids, queries, len(centroids))[1]
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.broadcast_to(np.arange(len(centroids)), order.shape), 1)
        places = np.sort(np.take_along_axis(rank, nearest, 1), axis=None)
        most = max(most, 1 + int(places[int(np.ceil(RECALL * len(places))) - 1]))
    return most


def _recall(index: CellIndex, vectors: Fixed) -> float:
    """`CellIndex.recall`, by other queries than those that `probes` were found by."""
    queries = np.concatenate(_questions(vectors, 3))
    exact, found = best_of(vectors, queries, _NEAREST)[1], index.search(floats(queries), _OF)[1][:, :_NEAREST]
    return float(np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in zip(exact, found, strict=True)]))
