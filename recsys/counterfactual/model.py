"""The direct method: what a place earns, guessed from how places and items earned elsewhere.

A ridge regression on the place, and on the item's rate against what its places would earn with any item, shrunk to 1
(`PRIOR` expected rewards). Cross-fitted: a user's slates are guessed by a model that has seen none of them
(Chernozhukov et al. 2018), so that errors of the model do not go along with the rewards that it corrects.
"""

from __future__ import annotations

import numpy as np

from recsys.counterfactual.slates import Floats, Ints, Logged

FOLDS = 5
PRIOR = 3.0
RIDGE = 1.0


def fitted(logged: Logged, target_items: Ints | None, folds: int = FOLDS) -> tuple[Floats, Floats]:
    """(of what was logged, of what the target shows), both float64[n, K]; 0 where there is no item.

    An item that the log never showed (-2, or a number of its own) is guessed to be like others at its place. Without
    `target_items` the guess knows the place alone, which is then true of any policy's items.
    """
    n, k = logged.items.shape
    of_logged, of_target = np.zeros((n, k)), np.zeros((n, k))
    _, unit = np.unique(logged.users, return_inverse=True)
    fold = unit % folds
    for f in range(folds):
        there, away = fold == f, fold != f
        if not there.any():
            continue
        if not away.any():
            away = there
        model = _Model(logged.items[away], logged.rewards[away], by_item=target_items is not None)
        of_logged[there] = model.guess(logged.items[there])
        of_target[there] = model.guess(logged.items[there] if target_items is None else target_items[there])
    if target_items is None:
        return of_logged, of_logged.copy()
    return of_logged, of_target


class _Model:
    """Fitted to items [n, K] and rewards [n, K]."""

    def __init__(self, items: Ints, rewards: Floats, by_item: bool) -> None:
        there = items >= 0
        self.rate = np.where(there, rewards, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        self.by_item = by_item
        if not by_item:
            return
        place = np.broadcast_to(np.arange(items.shape[1]), items.shape)[there]
        item, reward = items[there], rewards[there]
        expected = self.rate[place]
        size = int(item.max(initial=-1)) + 1
        got, due = np.bincount(item, reward, size), np.bincount(item, expected, size)
        self.lift = (got + PRIOR) / (due + PRIOR) - 1
        # the row itself left out, or the regression would take an item's noise for its worth
        without = (got[item] - reward + PRIOR) / (due[item] - expected + PRIOR) - 1
        x = expected * without
        y = reward - expected
        self.trust = float((x * y).sum() / ((x * x).sum() + RIDGE * max(float(expected.mean() or 0), 1e-9)))

    def guess(self, items: Ints) -> Floats:
        there = items != -1
        if not self.by_item:
            return np.where(there, self.rate, 0.0)
        known = (items >= 0) & (items < len(self.lift))
        lift = np.where(known, self.lift[np.clip(items, 0, len(self.lift) - 1)], 0.0)
        return np.where(there, np.maximum(self.rate * (1 + self.trust * lift), 0), 0.0)
