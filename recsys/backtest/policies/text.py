"""Text alone: items whose words are near to those of what the user turned to last. Knows nothing of other users."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.backtest.items import ItemTable
from recsys.backtest.log import Block, Blocks
from recsys.backtest.protocol import Learning, Predicted
from recsys.backtest.ranking import ranked

LATEST = 10
"""Items whose mean vector stands for the user, by 1/age in steps."""


class Text:
    """Cosine of each item's vector with the mean of the user's latest. `items.vectors` must be there."""

    name = "text"
    frozen = True

    def __init__(self, items: ItemTable) -> None:
        if items.vectors is None:
            raise ValueError("no text vectors: the policy has nothing to compare")
        self._items = items

    def train(self, blocks: Blocks) -> None:
        """The encoder was trained elsewhere."""

    def predict(self, block: Block, k: int) -> Predicted:
        assert self._items.vectors is not None
        taste = mean_vectors(block.interactions.history, self._items.vectors)
        return ranked(taste @ self._items.vectors.T, block.interactions, self._items, k)

    def learn(self, block: Block, learning: Learning) -> None:
        """Nothing: what the user did comes with each interaction."""


def mean_vectors(history: NDArray[np.int64], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32[m, dim]: the mean of the LATEST items of each history [m, h], newest last; zeros where there are none."""
    latest = history[:, : -LATEST - 1 : -1]
    weight = np.where(latest >= 0, 1 / np.arange(1, latest.shape[1] + 1), 0).astype(np.float32)
    summed: NDArray[np.float32] = np.einsum("mh,mhd->md", weight, vectors[np.maximum(latest, 0)])
    return summed / np.maximum(weight.sum(axis=1), 1e-9)[:, None]
