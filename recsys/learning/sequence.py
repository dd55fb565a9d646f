"""Sequence lane: the sequence model's weights, learnt from what users turned to, one thing after the other.

In: visits (user, item row, time) in the order of the log. Out: snapshots of `recsys.sequence.SequenceModel`.

`fit` trains on all that was taken in, epoch by epoch; from then on `update` takes a few steps on what came since, with
windows of old ones beside them against forgetting (experience replay). `update_users` moves the user side alone, over
items that stand still: cheap, and what it makes fits the items that are served. The loss is the softmax over the
catalogue, full or sampled (`recsys.learning.trainer`), with the log of each item's popularity at the time added to its
score.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.learning.popularity import Popularity
from recsys.learning.trainer import Rates, Trainer
from recsys.learning.windows import Window, parts_of, windows_of
from recsys.sequence import LENGTH, SequenceModel

__all__ = ["Rates", "SequenceLearner"]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint64]


class SequenceLearner:
    """Users are numbers; items are rows of `texts` float32[items, text], known by `keys` uint64[items]."""

    def __init__(
        self, keys: Keys, texts: Floats, rates: Rates | None = None, seed: int = 0, device: str = "cpu"
    ) -> None:
        """Raises MemoryEnded."""
        self.rates = rates or Rates()
        self.keys = np.zeros(0, np.uint64)
        self._row_of: dict[int, int] = {}
        self._random = np.random.default_rng(seed)
        self.trainer = Trainer(texts.shape[1], self.rates, seed, device)
        self._paths: dict[int, Window] = {}  # user -> (row, seconds, chunk), the newest last
        self._popularity = Popularity()
        self._fresh: list[int] = []  # users with visits that no `update` has learnt from, once a visit
        self._fresh_users: list[int] = []  # the same, for `update_users`
        self.fitted = False
        self.visits = 0
        """Visits taken in so far."""
        self.loss = 0.0
        """Mean cross-entropy, nats, of the last epoch or update."""
        self.stock(keys, texts)

    def stock(self, keys: Keys, texts: Floats) -> None:
        """Takes in items that are new, and texts that changed; rows of known items stay. Raises MemoryEnded."""
        rows = np.fromiter((self._row_of.get(key, -1) for key in keys.tolist()), np.int64, len(keys))
        added = rows < 0
        first = len(self.keys)
        if added.any():
            rows[added] = np.arange(first, first + int(added.sum()))
            self._row_of.update(zip(keys[added].tolist(), rows[added].tolist(), strict=True))
            self.keys = np.concatenate([self.keys, keys[added]])
            self._popularity.grow(len(self.keys))
        if len(rows):
            self.trainer.place(rows, texts, len(self.keys))

    def rows_of(self, keys: Keys) -> Longs:
        """int64[n]: rows of items by key, -1 for those that were not stocked."""
        return np.fromiter((self._row_of.get(key, -1) for key in keys.tolist()), np.int64, len(keys))

    def take(self, users: Longs, rows: Longs, seconds: Longs, weights: npt.NDArray[np.float32]) -> None:
        """Takes in visits, in the order of the log; none of them is learnt from yet. Weights are of evidence, > 0."""
        for user, row, at, weight in zip(
            users.tolist(), rows.tolist(), seconds.tolist(), weights.tolist(), strict=True
        ):
            self._move(at)
            self._popularity.weights[row] += weight
            path = self._path(user)
            path.append((row, at, self._popularity.newest))
            if self.fitted:
                del path[: -LENGTH - 1]
                self._fresh_users.append(user)
            self._fresh.append(user)
            self.visits += 1

    def take_late(self, users: Longs, rows: Longs, seconds: Longs, weights: npt.NDArray[np.float32]) -> None:
        """Takes in visits that have waited, beside what came since: each goes where its time puts it among its user's.
        What comes after it there is learnt from once more, since it follows on something else now."""
        for user, row, at, weight in zip(
            users.tolist(), rows.tolist(), seconds.tolist(), weights.tolist(), strict=True
        ):
            self._move(at)
            self._popularity.weights[row] += self._popularity.late(at, weight)
            path = self._path(user)
            place = bisect_right(path, at, key=lambda one: one[1])
            path.insert(place, (row, at, self._popularity.newest))
            behind = [user] * (len(path) - place)
            if self.fitted:
                del path[: -LENGTH - 1]
                self._fresh_users += behind
            self._fresh += behind
            self.visits += 1

    def forget(self, user: int) -> int:
        """Lets go of a user's visits; how many there were."""
        gone = len(self._paths.pop(user, ()))
        self._fresh = [one for one in self._fresh if one != user]
        self._fresh_users = [one for one in self._fresh_users if one != user]
        return gone

    def _path(self, user: int) -> Window:
        path = self._paths.get(user)
        if path is None:
            path = self._paths[user] = []
            if len(self._paths) > self.rates.users:
                del self._paths[next(iter(self._paths))]
        return path

    def _move(self, seconds: int) -> None:
        if self._popularity.move(seconds, self.visits):
            for user, path in self._paths.items():
                self._paths[user] = [(row, at, max(0, one - 1)) for row, at, one in path]

    # learning --------------------------------------------------------------------------------------------------
    def fit(self, told: Callable[[int, float], None] = lambda epoch, loss: None) -> None:
        """Trains on the latest visits from the beginning. `told` hears of each epoch's number and loss. Raises
        MemoryEnded."""
        for _ in self.fitting(told):
            pass

    def fitting(self, told: Callable[[int, float], None] = lambda epoch, loss: None) -> Iterator[None]:
        """`fit` in slices: stops after each step until it is asked for the next."""
        windows = windows_of(self._paths.values(), self.rates.visits)
        epochs = self.rates.epochs
        self._fresh.clear()
        for epoch in range(epochs if windows else 0):
            rate = self.rates.fit * (1 - epoch / epochs) + self.rates.fit / 10
            losses = []
            for part in parts_of(windows, self.rates.positions, self._random):
                losses.append(self.trainer.step([windows[i] for i in part.tolist()], self._popularity, rate))
                yield
            self._averaged(losses)
            told(epoch, self.loss)
        self.trainer.settle()
        self.fitted = True
        for path in self._paths.values():
            del path[: -LENGTH - 1]

    def update(self) -> None:
        """Steps on the visits since the last one. Raises MemoryEnded."""
        self._fresh, fresh = [], self._fresh
        self._update(fresh, users_only=False)
        self.trainer.settle()

    def update_users(self) -> None:
        """Steps on the visits since the last of either kind, by the user side alone. Raises MemoryEnded."""
        self._fresh_users, fresh = [], self._fresh_users
        self._update(fresh, users_only=True)

    def _update(self, fresh: list[int], users_only: bool) -> None:
        new: dict[int, int] = {}
        for user in fresh:
            new[user] = new.get(user, 0) + 1
        paths = self._paths
        windows = [(paths[u][-LENGTH - 1 :], n) for u, n in new.items() if len(paths.get(u, ())) > 1]
        if not windows:
            return
        old = list(paths)
        losses = []
        for at in range(0, len(windows), 64):
            replayed = [paths[old[i]] for i in self._random.integers(len(old), size=self.rates.replayed)]
            some = windows[at : at + 64] + [(path, len(path)) for path in replayed if len(path) > 1]
            taken, latest = [window for window, _ in some], [n for _, n in some]
            losses.append(self.trainer.step(taken, self._popularity, self.rates.update, latest, users_only))
        self._averaged(losses)

    def _averaged(self, losses: list[float | None]) -> None:
        known = [loss for loss in losses if loss is not None]
        self.loss = float(np.mean(known)) if known else self.loss

    def snapshot(self, before: SequenceModel | None = None) -> SequenceModel:
        """What was learnt. `before`: an earlier one, since which the user side alone has moved: of a large catalogue it
        lends its item side."""
        if before is not None and self.trainer.sampled:
            return before.with_users(SequenceModel.of(self.trainer.net, self.keys[:0]).user_side())
        return SequenceModel.of(self.trainer.net, self.keys)

    # checkpoints -----------------------------------------------------------------------------------------------
    def dump(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """(arrays, the rest as JSON knows it). Texts of items are not among them: `stock` brings them back."""
        arrays, meta = self.trainer.dump()
        users = list(self._paths)
        arrays["paths.user"] = np.array(users, np.int64)
        arrays["paths.length"] = np.array([len(self._paths[user]) for user in users], np.int64)
        visits = [one for path in self._paths.values() for one in path]
        arrays["paths.visit"] = np.array(visits, np.int64).reshape(-1, 3)
        arrays["fresh"] = np.array(self._fresh, np.int64)
        arrays["fresh_users"] = np.array(self._fresh_users, np.int64)
        arrays["keys"] = self.keys
        popularity, state = self._popularity.dump()
        meta |= {
            **state, "fitted": self.fitted, "visits": self.visits, "loss": self.loss,
            "random": self._random.bit_generator.state,
        }  # fmt: skip
        return arrays | popularity, meta

    @classmethod
    def restore(
        cls, arrays: dict[str, npt.NDArray[Any]], meta: dict[str, Any], rates: Rates | None = None, device: str = "cpu"
    ) -> SequenceLearner:
        """The learner that `dump` wrote down. Raises KeyError, RuntimeError where it is none."""
        made = cls(np.zeros(0, np.uint64), np.zeros((0, meta["text"]), np.float32), rates)
        made.keys = arrays["keys"].copy()
        made._row_of = dict(zip(made.keys.tolist(), range(len(made.keys)), strict=True))
        made.trainer = Trainer.restore(arrays, meta, len(made.keys), made.rates, device)
        ends = np.cumsum(arrays["paths.length"]).tolist()
        visits = [(row, at, chunk) for row, at, chunk in arrays["paths.visit"].tolist()]
        starts = [0, *ends][: len(ends)]
        made._paths = {
            user: visits[start:end]
            for user, start, end in zip(arrays["paths.user"].tolist(), starts, ends, strict=True)
        }
        made._fresh, made._fresh_users = arrays["fresh"].tolist(), arrays["fresh_users"].tolist()
        made._popularity = Popularity.restore(arrays, meta)
        made.fitted, made.visits, made.loss = meta["fitted"], meta["visits"], meta["loss"]
        made._random.bit_generator.state = meta["random"]
        return made

    def adopt(self, model: SequenceModel) -> None:
        """Goes on from the weights of a model that is served; the optimiser forgets where it was going."""
        self.trainer.adopt(model, self.rows_of(model.keys))
