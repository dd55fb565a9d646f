"""EASE: a linear item-to-item model in closed form (Steck 2019, "Embarrassingly Shallow Autoencoders").

With G = X'X over the users' items before the cut and P = (G + lambda I)^-1, the weights are B = I - P / diag(P): the
best linear guess of each item from the others under a ridge penalty. A score is the sum of the rows of B of what the
user touched. Frozen: the inverse is worked out once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from recsys.backtest.items import ItemTable
from recsys.backtest.log import Block, Blocks
from recsys.backtest.protocol import Learning, Predicted
from recsys.backtest.ranking import ranked

MOST_ITEMS = 20_000
"""Items that it covers, the most popular ones; the matrix of 20,000 takes 1.6 GB."""
_BULK = 32_768


class Ease:
    """`ridge` is lambda."""

    name = "ease"
    frozen = True

    def __init__(self, items: ItemTable, ridge: float = 500.0) -> None:
        self._items = items
        self.ridge = ridge
        self._covered: NDArray[np.int64] = np.zeros(0, np.int64)
        self._place = np.full(len(items), -1, np.int64)  # of an item in the matrix
        self._weights: NDArray[np.float32] = np.zeros((0, 0), np.float32)

    def train(self, blocks: Blocks) -> None:
        users, rows = [], []
        for block in blocks.of(_BULK):
            liked = block.interactions.known & (block.interactions.weight > 0)
            users.append(block.interactions.user[liked])
            rows.append(block.interactions.row[liked])
        user, row = np.concatenate(users), np.concatenate(rows)
        counts = np.bincount(row, minlength=len(self._items))
        best = np.argsort(-counts, kind="stable")[:MOST_ITEMS]
        self._covered = np.sort(best[counts[best] > 0])
        self._place[self._covered] = np.arange(len(self._covered))
        self._weights = self._solved(user, self._place[row])

    def _solved(self, user: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float32]:
        n = len(self._covered)
        if not n:
            return np.zeros((0, 0), np.float32)
        _, line = np.unique(user, return_inverse=True)
        there = column >= 0
        x: Any = sp.coo_array(
            (np.ones(int(there.sum()), np.float32), (line[there], column[there])), shape=(int(line.max()) + 1, n)
        ).tocsr()
        x.data[:] = 1  # once, however often
        g = np.asfortranarray((x.T @ x).toarray())
        g[np.diag_indices(n)] += np.float32(self.ridge)
        # in place, in float32: of 17,000 items it takes 1.1 GB; a copy would not fit everywhere
        lower, failed = scipy.linalg.lapack.spotrf(g, lower=1, overwrite_a=1, clean=0)
        if failed:
            raise ValueError(f"EASE: the matrix is not positive definite at lambda {self.ridge}; give a larger one")
        inverse, _ = scipy.linalg.lapack.spotri(lower, lower=1, overwrite_c=1)
        _mirror(inverse)
        diagonal = inverse.diagonal().copy()
        inverse /= -diagonal[None, :]
        inverse[np.diag_indices(n)] = 0
        weights: NDArray[np.float32] = np.ascontiguousarray(inverse)
        return weights

    def predict(self, block: Block, k: int) -> Predicted:
        interactions = block.interactions
        scores = np.full((len(interactions), len(self._items)), -np.inf, np.float32)
        place = np.where(interactions.seen >= 0, self._place[np.maximum(interactions.seen, 0)], -1)
        there = place >= 0
        n = len(self._covered)
        touched: Any = sp.coo_array(
            (np.ones(int(there.sum()), np.float32), (interactions.line[there], place[there])),
            shape=(len(interactions), n),
        ).tocsr()
        touched.data[:] = 1
        scores[:, self._covered] = touched @ self._weights
        return ranked(scores, interactions, self._items, k)

    def learn(self, block: Block, learning: Learning) -> None:
        """Frozen."""


def _mirror(square: NDArray[np.float32]) -> None:
    """Puts the lower triangle above the diagonal too, tile by tile."""
    tile = 1024
    for at in range(0, len(square), tile):
        here = slice(at, at + tile)
        corner = np.tril(square[here, here])
        square[here, here] = corner + np.tril(corner, -1).T
        square[here, at + tile :] = square[at + tile :, here].T
