"""Co-visitation: items that others turned to after what this user turned to last."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recsys.backtest.items import ItemTable
from recsys.backtest.log import Block, Blocks, Interactions
from recsys.backtest.protocol import Learning, Predicted
from recsys.backtest.ranking import ranked

BACK = 5
"""Earlier items of a user whose successor a new one is counted as, by 1/gap. Counting both directions was weaker:
.054 instead of .065 on a games-review log, .039 instead of .041 on another."""
ANCHORS = 5
"""Latest items of a user whose company is shown, by 1/age in steps."""
MOST_PAIRS = 40_000_000
"""Pairs of items kept; beyond it the weaker half goes. 12 bytes each."""
_MERGE_AT = 100_000
_BULK = 16_384


class CoVisitation:
    """Exact counts of pairs: a large sparse matrix, and a small one of what came since it was made."""

    name = "covisitation"
    frozen = False

    def __init__(self, items: ItemTable) -> None:
        self._items = items
        self._pairs: Any = sp.csr_array((len(items), len(items)), dtype=np.float32)
        self._fresh: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        self._waiting = 0

    def train(self, blocks: Blocks) -> None:
        for block in blocks.of(_BULK):
            self._count(block.interactions)
            self._merge()

    def predict(self, block: Block, k: int) -> Predicted:
        anchors = anchors_of(block.interactions, ANCHORS, len(self._items))
        scores = anchors @ self._pairs + anchors @ self._recent()
        return ranked(scores.toarray(), block.interactions, self._items, k)

    def learn(self, block: Block, learning: Learning) -> None:
        if learning is not Learning.NONE:
            self._count(block.interactions)
            if self._waiting > _MERGE_AT:
                self._merge()

    def _count(self, interactions: Interactions) -> None:
        counts = interactions.known & (interactions.weight > 0)
        here = interactions.row[counts]
        earlier = interactions.history[counts][:, : -BACK - 1 : -1]  # the newest first
        gap = np.broadcast_to(1 / np.arange(1, BACK + 1, dtype=np.float32), earlier.shape)
        pair = (earlier >= 0) & (earlier != here[:, None])
        there, weight = earlier[pair], gap[pair]
        here = np.broadcast_to(here[:, None], earlier.shape)[pair]
        self._fresh.append((there, here, weight))
        self._waiting += len(here)

    def _recent(self) -> Any:
        n = len(self._items)
        if not self._fresh:
            return sp.csr_array((n, n), dtype=np.float32)
        rows, columns, weights = (np.concatenate(parts) for parts in zip(*self._fresh, strict=True))
        return sp.coo_array((weights, (rows, columns)), shape=(n, n)).tocsr()

    def _merge(self) -> None:
        self._pairs = self._pairs + self._recent()
        self._fresh, self._waiting = [], 0
        if self._pairs.nnz > MOST_PAIRS:
            self._pairs.data[self._pairs.data <= np.median(self._pairs.data)] = 0
            self._pairs.eliminate_zeros()


def anchors_of(interactions: Interactions, most: int, items: int) -> Any:
    """float32[m, items], sparse: a user's `most` latest items, by 1/age in steps."""
    latest = interactions.history[:, : -most - 1 : -1]
    there = latest >= 0
    weight = np.broadcast_to(1 / np.arange(1, latest.shape[1] + 1, dtype=np.float32), latest.shape)
    line = np.broadcast_to(np.arange(len(latest))[:, None], latest.shape)
    return sp.coo_array((weight[there], (line[there], latest[there])), shape=(len(latest), items)).tocsr()
