"""Sequence lane: the sequence model's weights, learnt from what users turned to, one thing after the other.

In: visits (user, item row, time) in the order of the log. Out: snapshots of `recsys.sequence.SequenceModel`.

`fit` trains on all that was taken in, epoch by epoch; from then on `update` takes a few steps on what came since, with
windows of old ones beside them against forgetting (experience replay). The loss is the full softmax over the catalogue,
with the log of each item's popularity at the time added to its score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recsys.encoder import native_bfloat16
from recsys.learning.softmax import full_softmax
from recsys.sequence import LEAST, LENGTH, SequenceModel, SequenceNet, idle_of

Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
HALF_LIFE_DAYS = 90
"""Of the popularity that is added to scores: the same window as `popularity_quarter`."""
_CHUNK_S = 15 * 86_400


@dataclass(frozen=True, slots=True)
class Rates:
    """Learning rates and sizes of a step. `positions`: predictions a step, which bounds the softmax's memory."""

    fit: float = 2e-3
    update: float = 5e-4
    positions: int = 1024
    epochs: int = 6
    replayed: int = 16  # old windows beside a step's new ones
    visits: int = 400_000  # latest ones that `fit` trains on


class SequenceLearner:
    """Users are numbers; items are rows of `texts` float32[items, text], known by `keys` uint64[items]."""

    def __init__(self, keys: npt.NDArray[np.uint64], texts: Floats, rates: Rates | None = None, seed: int = 0) -> None:
        self.rates = rates or Rates()
        self._keys, self._texts = keys, torch.from_numpy(np.ascontiguousarray(texts))
        self._random = np.random.default_rng(seed)
        self._half = native_bfloat16(torch.device("cpu"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._net = SequenceNet(len(keys), texts.shape[1])
        shared = [p for name, p in self._net.named_parameters() if name not in ("into", "out", "bias")]
        # residuals are drawn to zero, where the text alone decides
        groups: list[dict[str, Any]] = [
            {"params": [self._net.into, self._net.out], "weight_decay": 0.1},
            {"params": shared, "weight_decay": 0.01},
            {"params": [self._net.bias], "weight_decay": 0.0},
        ]
        self._optimiser = torch.optim.AdamW(groups, lr=self.rates.fit)
        self._paths: dict[int, list[tuple[int, int, int]]] = {}  # user -> (row, seconds, chunk), the newest last
        self._weights = np.zeros(len(keys))
        self._chunk: int | None = None
        self._offsets: list[Floats] = []  # log popularity at the beginning of each chunk
        self._table = torch.zeros(0, 0)
        self._fresh: list[int] = []  # users with visits that were not learnt from, once a visit
        self.fitted = False
        self.loss = 0.0
        """Mean cross-entropy, nats, of the last epoch or update."""

    def take(self, users: Longs, rows: Longs, seconds: Longs, weights: npt.NDArray[np.float32]) -> None:
        """Takes in visits, in the order of the log; none of them is learnt from yet. Weights are of evidence, > 0."""
        for user, row, at, weight in zip(
            users.tolist(), rows.tolist(), seconds.tolist(), weights.tolist(), strict=True
        ):
            self._move(at)
            self._weights[row] += weight
            path = self._paths.setdefault(user, [])
            path.append((row, at, len(self._offsets) - 1))
            if self.fitted:
                del path[: -LENGTH - 1]
            self._fresh.append(user)

    def _move(self, seconds: int) -> None:
        chunk = seconds // _CHUNK_S
        if self._chunk is None or chunk > self._chunk:
            passed = 1 if self._chunk is None else chunk - self._chunk
            self._weights *= 0.5 ** (passed * _CHUNK_S / (HALF_LIFE_DAYS * 86_400))
            self._offsets.append(np.log(self._weights + LEAST).astype(np.float32))
            self._chunk = chunk

    def fit(self, told: Callable[[int, float], None] = lambda epoch, loss: None) -> None:
        """Trains on the latest visits from the beginning. `told` hears of each epoch's number and loss."""
        windows = self._windows()
        epochs = self.rates.epochs
        for epoch in range(epochs):
            rate = self.rates.fit * (1 - epoch / epochs) + self.rates.fit / 10
            self.loss = self._epoch(windows, rate)
            told(epoch, self.loss)
        self.fitted = True
        self._fresh.clear()
        for path in self._paths.values():
            del path[: -LENGTH - 1]

    def update(self) -> None:
        """Steps on the visits since the last one."""
        if not self._fresh:
            return
        new: dict[int, int] = {}
        for user in self._fresh:
            new[user] = new.get(user, 0) + 1
        self._fresh.clear()
        windows = [(self._paths[u][-LENGTH - 1 :], n) for u, n in new.items() if len(self._paths[u]) > 1]
        old = list(self._paths)
        losses = []
        for at in range(0, len(windows), 64):
            replayed = [self._paths[old[i]] for i in self._random.integers(len(old), size=self.rates.replayed)]
            some = windows[at : at + 64] + [(path, len(path)) for path in replayed if len(path) > 1]
            losses.append(self._step([w for w, _ in some], self.rates.update, [n for _, n in some]))
        self.loss = float(np.mean(losses)) if losses else self.loss

    def snapshot(self) -> SequenceModel:
        return SequenceModel.of(self._net, self._keys)

    # parts -----------------------------------------------------------------------------------------------------
    def _windows(self) -> list[list[tuple[int, int, int]]]:
        paths = [path for path in self._paths.values() if len(path) > 1]
        times = np.sort(np.array([one[1] for path in paths for one in path], np.int64))
        since = int(times[-self.rates.visits]) if len(times) > self.rates.visits else -(1 << 62)
        late = [[one for one in path if one[1] >= since] for path in paths]
        found = [path[at : at + LENGTH + 1] for path in late for at in range(0, len(path) - 1, LENGTH)]
        return [window for window in found if len(window) > 1]

    def _epoch(self, windows: list[list[tuple[int, int, int]]], rate: float) -> float:
        lengths = np.array([len(window) for window in windows]) - 1
        order = self._random.permutation(len(windows))
        order = order[np.argsort(lengths[order] // 4, kind="stable")]
        ends = np.cumsum(lengths[order])
        parts = np.split(order, np.searchsorted(ends, np.arange(self.rates.positions, ends[-1], self.rates.positions)))
        shuffled = [parts[number] for number in self._random.permutation(len(parts)).tolist()]
        losses = [self._step([windows[i] for i in part.tolist()], rate, None) for part in shuffled if len(part)]
        return float(np.mean(losses))

    def _popularity(self) -> torch.Tensor:
        """float32[chunks, items]: log popularity at the beginning of each chunk."""
        if len(self._table) != len(self._offsets):
            self._table = torch.from_numpy(np.stack(self._offsets))
        return self._table

    def _step(self, windows: list[list[tuple[int, int, int]]], rate: float, latest: list[int] | None) -> float:
        """One step on windows; of each only the `latest` places are predicted, where given."""
        longest = max(len(window) for window in windows) - 1
        rows = np.zeros((len(windows), longest), np.int64)
        idle, target, chunk = rows.copy(), rows - 1, rows.copy()
        for line, window in enumerate(windows):
            row, at, when = np.array(window).T
            n = len(window) - 1
            rows[line, :n], idle[line, :n] = row[:-1], idle_of(at[1:] - at[:-1])
            target[line, :n], chunk[line, :n] = row[1:], when[1:]
            if latest is not None:
                target[line, : max(0, n - latest[line])] = -1
        self._net.train()
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        into, out = self._net.items(self._texts)
        states = self._net.users(into[torch.from_numpy(rows)], torch.from_numpy(idle))
        there = target >= 0
        loss = full_softmax(
            states[torch.from_numpy(there)], out, self._net.bias, torch.from_numpy(target[there]), 0.0, self._half,
            self._popularity(), torch.from_numpy(chunk[there]),
        )  # fmt: skip
        if not torch.isfinite(loss):
            return self.loss
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._net.parameters(), 5.0)
        self._optimiser.step()
        return float(loss.detach())
