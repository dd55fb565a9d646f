"""Ranking of dense scores: from a score for every item of the catalogue to a slate and the rank of the item chosen.

In: scores float32[m, N]. Out: `Predicted`. Seen items and those not on offer are taken out; no sampling. Equal scores
count against the policy: the item that was then chosen stands behind all others of its score, in the rank and in the
slate, so that figures worked out from the slates are the same. Scores that differ by less than a part in a million are
equal: sums of the same parts in another order must not decide a figure.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.backtest.items import ItemTable
from recsys.backtest.log import Interactions
from recsys.backtest.protocol import Predicted

_BITS = 4  # of float32's 24: what is left tells scores apart to about 1 in 10^6
_OUT = np.int32(np.iinfo(np.int32).min)


def ranked(scores: NDArray[np.float32], interactions: Interactions, items: ItemTable, k: int) -> Predicted:
    """The slates and ranks by `scores`, float32[m, N] or one line [1, N] for all. Only finite scores.

    An item whose score is -inf is one that the policy would never show.
    """
    m, n = len(interactions), len(items)
    steps = np.broadcast_to(_steps(scores), (m, n)).copy()
    steps[:, ~items.offered] = _OUT
    if items.expires is not None:
        steps[items.expires[None, :] <= interactions.ts[:, None]] = _OUT
    known = interactions.seen >= 0
    steps[interactions.line[known], interactions.seen[known]] = _OUT

    lines = np.arange(m)
    true = np.maximum(interactions.row, 0)
    own = np.where(interactions.known, steps[lines, true], _OUT)
    rank = np.where(own > _OUT, (steps >= own[:, None]).sum(axis=1), 0)
    return Predicted(_top(steps, interactions.row, k), rank.astype(np.int64))


def _steps(scores: NDArray[np.float32]) -> NDArray[np.int32]:
    """int32 like `scores`: whole numbers in the order of the scores, equal where they differ in their last bits."""
    bits = (np.ascontiguousarray(scores, np.float32) + np.float32(0)).view(np.int32)  # + 0: there is a negative zero
    ordered = np.where(bits < 0, -(bits & np.int32(0x7FFFFFFF)), bits)
    steps: NDArray[np.int32] = (ordered + np.int32(1 << (_BITS - 1))) >> np.int32(_BITS)
    steps[np.isneginf(scores)] = _OUT
    return steps


def _top(steps: NDArray[np.int32], row: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    m, n = steps.shape
    top = np.full((m, k), -1, np.int64)
    # numpy's partition takes a hundred times as long where most scores are equal
    least = torch.from_numpy(steps).topk(min(k, n), dim=1).values[:, -1].numpy()
    for line in range(m):
        of, worst = steps[line], least[line]
        best = np.flatnonzero(of > worst)
        order = np.lexsort((best, best == row[line], -of[best].astype(np.int64)))
        shown = best[order]
        if worst > _OUT and len(shown) < k:
            equal = np.flatnonzero(of == worst)[: k + 1]
            equal = np.append(equal[equal != row[line]], [row[line]] if of[max(row[line], 0)] == worst else [])
            shown = np.append(shown, equal[: k - len(shown)])
        top[line, : len(shown)] = shown[:k]
    return top
