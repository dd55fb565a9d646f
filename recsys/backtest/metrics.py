"""Metrics of full rankings with one right answer each.

In: ranks int[m] from 1, 0 where the right item was not ranked. Out: one number an event, so that means over any slice
and intervals over users come from the same columns.

    hr    hit rate: 1 if the rank is at most k
    ndcg  normalised discounted cumulative gain: 1 / log2(rank + 1), 0 beyond k (Jarvelin & Kekalainen 2002)
    mrr   reciprocal rank: 1 / rank, 0 beyond k
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RELEVANCE = ("ndcg", "hr", "mrr")
Ranks = NDArray[np.int64]
Values = NDArray[np.float64]


def hit(rank: Ranks, k: int) -> Values:
    """float64[m]."""
    return ((rank > 0) & (rank <= k)).astype(np.float64)


def ndcg(rank: Ranks, k: int) -> Values:
    """float64[m]. One item is right, so the ideal gain is 1."""
    return np.where((rank > 0) & (rank <= k), 1 / np.log2(np.maximum(rank, 1) + 1.0), 0.0)


def reciprocal(rank: Ranks, k: int) -> Values:
    """float64[m]."""
    return np.where((rank > 0) & (rank <= k), 1 / np.maximum(rank, 1), 0.0)


def relevance(rank: Ranks, k: int) -> dict[str, Values]:
    """Each of RELEVANCE, float64[m]."""
    return {"ndcg": ndcg(rank, k), "hr": hit(rank, k), "mrr": reciprocal(rank, k)}


def novelty(top: NDArray[np.int64], counts: NDArray[np.float64]) -> Values:
    """float64[m]: mean self-information of a slate in bits, -log2 of an item's share of all interactions so far.

    `counts` float64[N]; an item that nobody touched counts as one touched half a time (Zhou and others 2010)."""
    total = max(float(counts.sum()), 1.0)
    bits = -np.log2(np.maximum(counts, 0.5) / total)
    return _mean_over_slate(bits[np.maximum(top, 0)], top >= 0)


def diversity(top: NDArray[np.int64], vectors: NDArray[np.float32]) -> Values:
    """float64[m]: mean distance, 1 - cosine, between the items of a slate; unit vectors [N, dim]. nan for slates of
    fewer than two."""
    shown = top >= 0
    there = vectors[np.maximum(top, 0)] * shown[:, :, None]
    together = np.einsum("mkd->md", there.astype(np.float64))
    n = shown.sum(axis=1)
    # the sum over all pairs is the square of the summed vector without its diagonal
    same = (there.astype(np.float64) ** 2).sum(axis=(1, 2))
    pairs = n * (n - 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, 1 - ((together**2).sum(axis=1) - same) / pairs, np.nan)


def _mean_over_slate(values: Values, there: NDArray[np.bool_]) -> Values:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(there.any(axis=1), np.where(there, values, 0).sum(axis=1) / there.sum(axis=1), np.nan)
