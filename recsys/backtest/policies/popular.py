"""Popular: the most popular items, of all time or of late. What any recommender has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.backtest.items import ItemTable
from recsys.backtest.log import Block, Blocks, Interactions
from recsys.backtest.protocol import Learning, Predicted
from recsys.backtest.ranking import ranked
from recsys.decay import DAY_MS, weights_at

_BULK = 32_768


class Popular:
    """Items by the weight of what was done with them. With `half_life_days` recent deeds count more ("trending")."""

    frozen = False

    def __init__(self, items: ItemTable, name: str = "popular", half_life_days: float | None = None) -> None:
        self.name = name
        self._items = items
        self._half_life_ms = None if half_life_days is None else int(half_life_days * DAY_MS)
        self._sums = np.zeros(len(items))
        self._step = 0  # of the landmark that sums are relative to, in half-lives since the epoch

    def train(self, blocks: Blocks) -> None:
        for block in blocks.of(_BULK):
            self._count(block.interactions)

    def predict(self, block: Block, k: int) -> Predicted:
        # decay multiplies all sums alike, so it need not be brought to the present to rank them
        scores = self._sums / max(self._sums.max(initial=0), 1e-300)
        return ranked(scores.astype(np.float32)[None], block.interactions, self._items, k)

    def learn(self, block: Block, learning: Learning) -> None:
        if learning is not Learning.NONE:
            self._count(block.interactions)

    def _count(self, interactions: Interactions) -> None:
        counts = interactions.known & (interactions.weight > 0)
        weight = interactions.weight[counts].astype(np.float64)
        if not len(weight):
            return
        if self._half_life_ms is not None:
            weight = weight * self._decay(interactions.ts[counts], self._half_life_ms)
        np.add.at(self._sums, interactions.row[counts], weight)

    def _decay(self, ts: NDArray[np.int64], half_life_ms: int) -> NDArray[np.float64]:
        step = int(ts.max()) // half_life_ms
        if step > self._step:
            self._sums *= 2.0 ** max(self._step - step, -1100)
            self._step = step
        return weights_at(ts, half_life_ms, self._step)


class Trending(Popular):
    """Popular of late: weights fade with a half-life of 30 days."""

    def __init__(self, items: ItemTable) -> None:
        super().__init__(items, "trending", 30)
