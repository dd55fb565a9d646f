"""Exact: the vectors nearest to each query by inner product, all of them compared.

In: fixed-point vectors (`recsys.fixed`) and queries of one length. Out: the best of each query in order; of equal ones
the first. Vectors are read once for a block of queries, and four queries share each read. A query finds the same
whoever else is in the block: products of whole numbers know no order of summation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.compiled import WHOLE, best, fills, kernel, reads
from recsys.fixed import STEP, Fixed, Sums, directions, products

TOGETHER = 4
"""Queries compared with a vector at once; a block is filled up with zeros."""
_TILE = 128  # vectors that stay in the cache while all queries pass
_MOST = 64  # queries whose similarities are kept at once

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ExactIndex:
    """`vectors` int16[n, dim], C-contiguous."""

    vectors: Fixed

    def search(self, queries: Floats, k: int) -> tuple[Floats, Longs]:
        """As `nearest_of`, for all of them."""
        return nearest_of(self.vectors, queries, k)


def nearest_of(vectors: Fixed, queries: Floats, k: int) -> tuple[Floats, Longs]:
    """For float32[B, dim] (float32, int64)[B, k]: cosines with the query, if the vectors int16[n, dim] have length 1,
    and places of the `k` nearest, at most all, best first."""
    sums, ids = best_of(vectors, directions(queries), k)
    return sums * STEP, ids


def best_of(vectors: Fixed, queries: Fixed, k: int) -> tuple[Sums, Longs]:
    """(int32, int64)[B, k]: the highest products of int16[n, dim] with each of int16[B, dim], and places."""
    k = min(k, len(vectors))
    sums, ids = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.int64)
    for at in range(0, len(queries), _MOST):
        _nearest(vectors, _padded(queries[at : at + _MOST]), sums[at : at + _MOST], ids[at : at + _MOST])
    return sums, ids


def similarities(vectors: Fixed, queries: Floats) -> Floats:
    """float32[B, n]: the similarities of all of int16[n, dim] to float32[B, dim], as `nearest_of` gives them."""
    return inner_products(vectors, directions(queries)) * STEP


def inner_products(vectors: Fixed, queries: Fixed) -> Sums:
    """int32[B, n]: the products of all of int16[n, dim] with each of int16[B, dim]."""
    padded = _padded(queries)
    near = np.empty((len(padded), len(vectors)), np.int32)
    _all(vectors, padded, near)
    return near[: len(queries)]


def _padded(queries: Fixed) -> Fixed:
    numbers = np.zeros((-(-len(queries) // TOGETHER) * TOGETHER, queries.shape[1]), np.int16)
    numbers[: len(queries)] = queries
    return numbers


@kernel(reads("int16", 2), WHOLE, WHOLE, reads("int16", 2), WHOLE, fills("int32", 2))
def _compare(vectors: Fixed, start: int, end: int, queries: Fixed, first: int, near: Sums) -> None:
    """Fills columns `start` to `end` of `near` for four queries from `first` on."""
    near_a, near_b, near_c, near_d = near[first], near[first + 1], near[first + 2], near[first + 3]
    for p in range(start, end, 3):
        q, r = min(p + 1, end - 1), min(p + 2, end - 1)  # behind the end the last one counts again
        (
            near_a[p], near_a[q], near_a[r], near_b[p], near_b[q], near_b[r],
            near_c[p], near_c[q], near_c[r], near_d[p], near_d[q], near_d[r],
        ) = products(vectors, p, q, r, queries, first, first + 1, first + 2, first + 3)  # fmt: skip


@kernel(reads("int16", 2), reads("int16", 2), fills("int32", 2))
def _all(vectors: Fixed, queries: Fixed, near: Sums) -> None:
    """Fills `near` [B, n] for the queries, which are padded to a multiple of TOGETHER."""
    for start in range(0, len(vectors), _TILE):
        end = min(start + _TILE, len(vectors))
        for first in range(0, len(queries), TOGETHER):
            _compare(vectors, start, end, queries, first, near)


@kernel(reads("int16", 2), reads("int16", 2), fills("int32", 2), fills("int64", 2))
def _nearest(vectors: Fixed, queries: Fixed, sums: Sums, ids: Longs) -> None:
    """Fills lines of `sums` and `ids` for the queries, which are padded to a multiple of TOGETHER."""
    near = np.empty((len(queries), len(vectors)), np.int32)
    _all(vectors, queries, near)
    for line in range(len(ids)):
        best(near[line], sums[line], ids[line])
