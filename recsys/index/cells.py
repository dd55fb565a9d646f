"""Cells: the vectors nearest to each query by inner product, looked for where they are likely (an inverted file; Jégou,
Douze and Schmid 2011).

In: fixed-point vectors (`recsys.fixed`). They are dealt to cells, each to the centroid nearest to it; FAISS finds these
(spherical k-means). A search goes through the vectors of the `probes` cells nearest to the query and gives the best
of them in order; of equal ones the first. What a query finds does not depend on who else is in the block.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from recsys.compiled import best, fills, kernel, reads
from recsys.fixed import STEP, Fixed, Sums, directions, floats, trio
from recsys.index.exact import nearest_of

PROBES = 32
"""Cells searched, at least, and of many one in `_ONE_IN`. At 100,000 vectors 32 of 1,024 find .998 of the nearest
hundred; 24 find .993, 48 .9995 and take half as long again."""
_ONE_IN = 48
_TRAIN_A_CELL = 48  # vectors that centroids are made from
_ROUNDS = 8
_DEALT = 4096  # vectors dealt to cells at once

# the means of a cell are the same in every run: below this many vectors FAISS compares them one by one and not by BLAS,
# whose last bits depend on the shape and on the threads
faiss.cvar.distance_compute_blas_threshold = 1 << 30

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CellIndex:
    """`vectors` int16[n, dim] cell by cell; those of cell c are from `starts[c]` to `starts[c + 1]`; `places` int64[n]:
    where they stood before."""

    centroids: Fixed
    starts: Longs
    vectors: Fixed
    places: Longs
    probes: int

    @classmethod
    def of(cls, vectors: Fixed) -> CellIndex:
        """Seconds of work for 100,000 vectors, the same result each time."""
        n, dim = vectors.shape
        cells = int(2 ** np.round(np.log2(4 * np.sqrt(n))))
        sample = np.random.default_rng(1).permutation(n)[: cells * _TRAIN_A_CELL]
        means = faiss.Kmeans(
            dim, cells, niter=_ROUNDS, seed=1, spherical=True,
            min_points_per_centroid=1, max_points_per_centroid=_TRAIN_A_CELL,
        )  # fmt: skip
        means.train(floats(vectors[np.sort(sample)]))
        centroids = directions(np.asarray(means.centroids))
        some = (floats(vectors[at : at + _DEALT]) for at in range(0, n, _DEALT))
        cell = np.concatenate([nearest_of(centroids, queries, 1)[1][:, 0] for queries in some])
        places = np.argsort(cell, kind="stable")
        starts = np.concatenate([[0], np.bincount(cell, minlength=cells).cumsum()])
        return cls(centroids, starts, vectors[places], places, max(PROBES, cells // _ONE_IN))

    def search(self, queries: Floats, k: int) -> tuple[Floats, Longs]:
        """For float32[B, dim] (float32, int64)[B, k]: cosines with the query, if the vectors have length 1, and places
        of the `k` nearest, best first; behind the last that was found -inf and -1."""
        k = min(k, len(self.vectors))
        cells = nearest_of(self.centroids, queries, self.probes)[1]
        sums, ids = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.int64)
        found = np.empty(len(queries), np.int64)
        _scan(self.vectors, self.starts, cells, directions(queries), self.places, sums, ids, found)
        behind = np.arange(k) >= found[:, None]
        sims = sums * STEP
        sims[behind], ids[behind] = -np.inf, -1
        return sims, ids


@kernel(
    reads("int16", 2), reads("int64"), reads("int64", 2), reads("int16", 2), reads("int64"), fills("int32", 2),
    fills("int64", 2), fills("int64"),
)  # fmt: skip
def _scan(
    vectors: Fixed, starts: Longs, cells: Longs, queries: Fixed, places: Longs, sums: Sums, ids: Longs, found: Longs
) -> None:
    """Fills the lines of `sums` and `ids` as far as there are vectors in the cells [B, probes] of each query, and
    `found` [B] with how far that is."""
    k = sums.shape[1]
    for b in range(len(queries)):
        many = 0
        for cell in cells[b]:
            many += starts[cell + 1] - starts[cell]
        line, where = np.empty(many, np.int32), np.empty(many, np.int64)
        at = 0
        for cell in cells[b]:
            end = starts[cell + 1]
            for p in range(starts[cell], end, 3):
                q, r = min(p + 1, end - 1), min(p + 2, end - 1)
                one, two, three = trio(vectors, p, q, r, queries, b)
                line[at], where[at] = one, p
                if q > p:
                    line[at + 1], where[at + 1] = two, q
                if r > q:
                    line[at + 2], where[at + 2] = three, r
                at += 1 + r - p
        found[b] = min(k, many)
        if many > 0:
            best(line, sums[b, : found[b]], ids[b, : found[b]])
            for i in range(found[b]):
                ids[b, i] = places[where[ids[b, i]]]
