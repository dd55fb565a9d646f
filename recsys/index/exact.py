"""Exact: the vectors nearest to each query by inner product, all of them compared.

In: vectors and queries of one length. Out: the best of each query in order; of equal ones the first. Vectors are read
once for a block of queries, and four queries share each read: at five thousand vectors a block of 64 takes a third of
the time that an index takes which goes through them once a query. A query's similarities are added up in the same order
whoever else is in the block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.compiled import FRACTION, WHOLE, dots, fills, kernel, reads

TOGETHER = 4
"""Queries compared with a vector at once; a block is filled up with zeros."""
_TILE = 128  # vectors that stay in the cache while all queries pass
_MOST = 64  # queries whose similarities are kept at once
_STEPS = 1024  # of similarity, to tell the best from the rest before they are sorted

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ExactIndex:
    """`vectors` float32[n, dim], C-contiguous."""

    vectors: Floats

    def search(self, queries: Floats, k: int) -> tuple[Floats, Longs]:
        """(float32, int64)[B, k]: similarities and places in `vectors` of the `k` nearest, at most all, best first."""
        k = min(k, len(self.vectors))
        sims, ids = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        for at in range(0, len(queries), _MOST):
            some = queries[at : at + _MOST]
            padded = np.zeros((-(-len(some) // TOGETHER) * TOGETHER, queries.shape[1]), np.float32)
            padded[: len(some)] = some
            _nearest(self.vectors, padded, sims[at : at + _MOST], ids[at : at + _MOST])
        return sims, ids


@kernel(reads("float32", 2), WHOLE, WHOLE, reads("float32", 2), WHOLE, fills("float32", 2), any_order=True)
def _compare(vectors: Floats, start: int, end: int, queries: Floats, first: int, sims: Floats) -> None:
    """Fills columns `start` to `end` of `sims` for four queries from `first` on."""
    a, b, c, d = queries[first], queries[first + 1], queries[first + 2], queries[first + 3]
    near_a, near_b, near_c, near_d = sims[first], sims[first + 1], sims[first + 2], sims[first + 3]
    for p in range(start, end, 3):
        q, r = min(p + 1, end - 1), min(p + 2, end - 1)  # behind the end the last one counts again
        (
            near_a[p], near_a[q], near_a[r], near_b[p], near_b[q], near_b[r],
            near_c[p], near_c[q], near_c[r], near_d[p], near_d[q], near_d[r],
        ) = dots(vectors[p], vectors[q], vectors[r], a, b, c, d)  # fmt: skip


@kernel(FRACTION, FRACTION, FRACTION, gives=WHOLE)
def _step(value: np.float32, low: np.float32, scale: np.float32) -> int:
    """The step of a similarity, the first one for what is no number."""
    above = (value - low) * scale
    return int(min(above, np.float32(_STEPS - 1))) if above > 0 else 0


@kernel(reads("float32"), fills("float32"), fills("int64"))
def _best(line: Floats, sims: Floats, ids: Longs) -> None:
    """Fills `sims` and `ids` with the best of a line of similarities, in order."""
    k = len(ids)
    low, high = line[0], line[0]
    for value in line:
        low, high = min(low, value), max(high, value)
    scale = np.float32(_STEPS - 1) / (high - low) if high > low else np.float32(0)
    many = np.zeros(_STEPS, np.int64)
    for value in line:
        many[_step(value, low, scale)] += 1
    least, found = _STEPS, 0
    while found < k:
        least -= 1
        found += many[least]
    places, minus = np.empty(found, np.int64), np.empty(found, np.float32)
    found = 0
    for place in range(len(line)):
        if _step(line[place], low, scale) >= least:
            places[found], minus[found] = place, -line[place]
            found += 1
    order = np.argsort(minus, kind="mergesort")
    for i in range(k):
        ids[i], sims[i] = places[order[i]], -minus[order[i]]


@kernel(reads("float32", 2), reads("float32", 2), fills("float32", 2), fills("int64", 2))
def _nearest(vectors: Floats, queries: Floats, sims: Floats, ids: Longs) -> None:
    """Fills lines of `sims` and `ids` for the queries, which are padded to a multiple of TOGETHER."""
    near = np.empty((len(queries), len(vectors)), np.float32)
    for start in range(0, len(vectors), _TILE):
        end = min(start + _TILE, len(vectors))
        for first in range(0, len(queries), TOGETHER):
            _compare(vectors, start, end, queries, first, near)
    for line in range(len(ids)):
        _best(near[line], sims[line], ids[line])
