"""Sequence lane: the sequence model's weights, learnt from what users turned to, one thing after the other.

In: visits (user, item row, time) in the order of the log. Out: snapshots of `recsys.sequence.SequenceModel`.

`fit` trains on all that was taken in, epoch by epoch; from then on `update` takes a few steps on what came since, with
windows of old ones beside them against forgetting (experience replay). `update_users` moves the user side alone, over
items that stand still: cheap, and what it makes fits the items that are served. The loss is the full softmax over the
catalogue, with the log of each item's popularity at the time added to its score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recsys.encoder import native_bfloat16
from recsys.learning.softmax import full_softmax
from recsys.sequence import LEAST, LENGTH, USER_SIDE, SequenceModel, SequenceNet, idle_of

Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint64]
Window = list[tuple[int, int, int]]
HALF_LIFE_DAYS = 90
"""Of the popularity that is added to scores: the same window as `popularity_quarter`."""
_CHUNK_S = 15 * 86_400
_CHUNKS = 64
_GROWN = 2.0  # a log that has only begun changes its popularity by the minute: then a chunk ends when it has doubled


@dataclass(frozen=True, slots=True)
class Rates:
    """Learning rates and sizes of a step."""

    fit: float = 2e-3
    update: float = 5e-4
    positions: int = 1024  # predictions a step, which bounds the softmax's memory
    epochs: int = 6
    replayed: int = 16  # old windows beside a step's new ones
    visits: int = 400_000  # latest ones that `fit` trains on
    users: int = 1_000_000  # whose latest visits are kept


class SequenceLearner:
    """Users are numbers; items are rows of `texts` float32[items, text], known by `keys` uint64[items]."""

    def __init__(self, keys: Keys, texts: Floats, rates: Rates | None = None, seed: int = 0) -> None:
        self.rates = rates or Rates()
        self.keys = np.zeros(0, np.uint64)
        self._row_of: dict[int, int] = {}
        self._random = np.random.default_rng(seed)
        self._half = native_bfloat16(torch.device("cpu"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._net = SequenceNet(len(keys), texts.shape[1])
        self._texts = torch.zeros(len(keys), texts.shape[1])
        self._optimiser = self._new_optimiser()
        self._paths: dict[int, Window] = {}  # user -> (row, seconds, chunk), the newest last
        self._weights = np.zeros(0)
        self._chunk: int | None = None
        self._mass = 0.0  # of all weights when the chunk began
        self._offsets: list[Floats] = []  # log popularity at the beginning of each chunk
        self._table = torch.zeros(0, 0)
        self._fresh: list[int] = []  # users with visits that no `update` has learnt from, once a visit
        self._fresh_users: list[int] = []  # the same, for `update_users`
        self.fitted = False
        self.visits = 0
        """Visits taken in so far."""
        self.loss = 0.0
        """Mean cross-entropy, nats, of the last epoch or update."""
        self.stock(keys, texts)

    def stock(self, keys: Keys, texts: Floats) -> None:
        """Takes in items that are new, and texts that changed; rows of known items stay."""
        rows = np.fromiter((self._row_of.get(key, -1) for key in keys.tolist()), np.int64, len(keys))
        added = rows < 0
        first = len(self.keys)
        if added.any():
            rows[added] = np.arange(first, first + int(added.sum()))
            self._row_of.update(zip(keys[added].tolist(), rows[added].tolist(), strict=True))
            self.keys = np.concatenate([self.keys, keys[added]])
            self._weights = np.concatenate([self._weights, np.zeros(int(added.sum()))])
            self._make_room(len(self.keys))
        if len(rows):
            self._texts[torch.from_numpy(rows)] = torch.from_numpy(np.ascontiguousarray(texts))

    def rows_of(self, keys: Keys) -> Longs:
        """int64[n]: rows of items by key, -1 for those that were not stocked."""
        return np.fromiter((self._row_of.get(key, -1) for key in keys.tolist()), np.int64, len(keys))

    def take(self, users: Longs, rows: Longs, seconds: Longs, weights: npt.NDArray[np.float32]) -> None:
        """Takes in visits, in the order of the log; none of them is learnt from yet. Weights are of evidence, > 0."""
        for user, row, at, weight in zip(
            users.tolist(), rows.tolist(), seconds.tolist(), weights.tolist(), strict=True
        ):
            self._move(at)
            self._weights[row] += weight
            path = self._paths.get(user)
            if path is None:
                path = self._paths[user] = []
                if len(self._paths) > self.rates.users:
                    del self._paths[next(iter(self._paths))]
            path.append((row, at, len(self._offsets) - 1))
            if self.fitted:
                del path[: -LENGTH - 1]
                self._fresh_users.append(user)
            self._fresh.append(user)
            self.visits += 1

    def forget(self, user: int) -> int:
        """Lets go of a user's visits; how many there were."""
        gone = len(self._paths.pop(user, ()))
        self._fresh = [one for one in self._fresh if one != user]
        self._fresh_users = [one for one in self._fresh_users if one != user]
        return gone

    def _move(self, seconds: int) -> None:
        chunk = seconds // _CHUNK_S
        passed = 1 if self._chunk is None else chunk - self._chunk
        if passed > 0:
            self._weights *= 0.5 ** (passed * _CHUNK_S / (HALF_LIFE_DAYS * 86_400))
            self._chunk = chunk
        elif not (self.visits % 100 == 0 and self._weights.sum() > _GROWN * self._mass):
            return
        self._mass = max(float(self._weights.sum()), 100.0)
        self._offsets.append(np.log(self._weights + LEAST).astype(np.float32))
        if len(self._offsets) > _CHUNKS:
            del self._offsets[0]
            for user, path in self._paths.items():
                self._paths[user] = [(row, at, max(0, one - 1)) for row, at, one in path]

    # learning --------------------------------------------------------------------------------------------------
    def fit(self, told: Callable[[int, float], None] = lambda epoch, loss: None) -> None:
        """Trains on the latest visits from the beginning. `told` hears of each epoch's number and loss."""
        for _ in self.fitting(told):
            pass

    def fitting(self, told: Callable[[int, float], None] = lambda epoch, loss: None) -> Iterator[None]:
        """`fit` in slices: stops after each step until it is asked for the next."""
        windows = self._windows()
        epochs = self.rates.epochs
        self._fresh.clear()
        for epoch in range(epochs if windows else 0):
            rate = self.rates.fit * (1 - epoch / epochs) + self.rates.fit / 10
            losses = []
            for part in self._parts(windows):
                losses.append(self._step([windows[i] for i in part.tolist()], rate, None))
                yield
            self.loss = float(np.mean(losses))
            told(epoch, self.loss)
        self.fitted = True
        for path in self._paths.values():
            del path[: -LENGTH - 1]

    def update(self) -> None:
        """Steps on the visits since the last one."""
        self._fresh, fresh = [], self._fresh
        self._update(fresh, users_only=False)

    def update_users(self) -> None:
        """Steps on the visits since the last of either kind, by the user side alone."""
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
            losses.append(self._step([w for w, _ in some], self.rates.update, [n for _, n in some], users_only))
        self.loss = float(np.mean(losses)) if losses else self.loss

    def snapshot(self) -> SequenceModel:
        return SequenceModel.of(self._net, self.keys)

    # parts -----------------------------------------------------------------------------------------------------
    def _new_optimiser(self) -> torch.optim.AdamW:
        shared = [p for name, p in self._net.named_parameters() if name not in ("into", "out", "bias")]
        # residuals are drawn to zero, where the text alone decides
        groups: list[dict[str, Any]] = [
            {"params": [self._net.into, self._net.out], "weight_decay": 0.1},
            {"params": shared, "weight_decay": 0.01},
            {"params": [self._net.bias], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.rates.fit)

    def _make_room(self, items: int) -> None:
        """Tables for so many items; what was learnt of the known ones stays, in the optimiser too."""
        room = len(self._net.into)
        if items <= room:
            return
        more = max(items, 2 * room) - room
        self._texts = torch.cat([self._texts, torch.zeros(more, self._texts.shape[1])])
        for name in ("into", "out", "bias"):
            old: torch.nn.Parameter = getattr(self._net, name)
            blank = torch.zeros(more, *old.shape[1:])
            new = torch.nn.Parameter(torch.cat([old.data, blank]))
            setattr(self._net, name, new)
            for group in self._optimiser.param_groups:
                group["params"] = [new if one is old else one for one in group["params"]]
            held = self._optimiser.state.pop(old, None)
            if held:
                grown = {k: torch.cat([v, blank]) if v.shape == old.shape else v for k, v in held.items()}
                self._optimiser.state[new] = grown

    def _windows(self) -> list[Window]:
        paths = [path for path in self._paths.values() if len(path) > 1]
        times = np.sort(np.array([one[1] for path in paths for one in path], np.int64))
        since = int(times[-self.rates.visits]) if len(times) > self.rates.visits else -(1 << 62)
        late = [[one for one in path if one[1] >= since] for path in paths]
        found = [path[at : at + LENGTH + 1] for path in late for at in range(0, len(path) - 1, LENGTH)]
        return [window for window in found if len(window) > 1]

    def _parts(self, windows: list[Window]) -> list[Longs]:
        """Windows by step: of about one length, `positions` predictions together, in random order."""
        lengths = np.array([len(window) for window in windows]) - 1
        order = self._random.permutation(len(windows))
        order = order[np.argsort(lengths[order] // 4, kind="stable")]
        ends = np.cumsum(lengths[order])
        parts = np.split(order, np.searchsorted(ends, np.arange(self.rates.positions, ends[-1], self.rates.positions)))
        shuffled = [parts[number] for number in self._random.permutation(len(parts)).tolist()]
        return [part for part in shuffled if len(part)]

    def _popularity(self) -> torch.Tensor:
        """float32[chunks, items]: log popularity at the beginning of each chunk; of items that came later, the
        least."""
        items = len(self.keys)
        if self._table.shape != (len(self._offsets), items) or self._table_of is not self._offsets[-1]:
            least = np.float32(np.log(LEAST))
            rows = [np.pad(one, (0, items - len(one)), constant_values=least) for one in self._offsets]
            self._table, self._table_of = torch.from_numpy(np.stack(rows)), self._offsets[-1]
        return self._table

    _table_of: Floats | None = None

    def _step(self, windows: list[Window], rate: float, latest: list[int] | None, users_only: bool = False) -> float:
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
        items = len(self.keys)
        with torch.set_grad_enabled(not users_only):
            into, out = (table[:items] for table in self._net.items(self._texts))
            bias = self._net.bias[:items]
        states = self._net.users(into[torch.from_numpy(rows)], torch.from_numpy(idle))
        there = target >= 0
        loss = full_softmax(
            states[torch.from_numpy(there)], out, bias, torch.from_numpy(target[there]), 0.0, self._half,
            self._popularity(), torch.from_numpy(chunk[there]),
        )  # fmt: skip
        if not torch.isfinite(loss):
            return self.loss
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._net.parameters(), 5.0)
        self._optimiser.step()
        return float(loss.detach())

    # checkpoints -----------------------------------------------------------------------------------------------
    def dump(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """(arrays, the rest as JSON knows it). Texts of items are not among them: `stock` brings them back."""
        arrays: dict[str, npt.NDArray[Any]] = {f"net.{k}": v.numpy() for k, v in self._net.state_dict().items()}
        names: dict[Any, str] = {parameter: name for name, parameter in self._net.named_parameters()}
        for parameter, held in self._optimiser.state.items():
            arrays |= {f"optimiser.{names[parameter]}.{k}": v.numpy() for k, v in held.items()}
        users = list(self._paths)
        arrays["paths.user"] = np.array(users, np.int64)
        arrays["paths.length"] = np.array([len(self._paths[user]) for user in users], np.int64)
        visits = [one for path in self._paths.values() for one in path]
        arrays["paths.visit"] = np.array(visits, np.int64).reshape(-1, 3)
        arrays["fresh"] = np.array(self._fresh, np.int64)
        arrays["fresh_users"] = np.array(self._fresh_users, np.int64)
        arrays["keys"], arrays["weights"] = self.keys, self._weights
        items = len(self.keys)
        least = np.float32(np.log(LEAST))
        rows = [np.pad(one, (0, items - len(one)), constant_values=least) for one in self._offsets]
        arrays["offsets"] = np.stack(rows) if rows else np.zeros((0, items), np.float32)
        meta = {
            "text": self._texts.shape[1], "chunk": self._chunk, "mass": self._mass, "fitted": self.fitted,
            "visits": self.visits, "loss": self.loss, "random": self._random.bit_generator.state,
        }  # fmt: skip
        return arrays, meta

    @classmethod
    def restore(
        cls, arrays: dict[str, npt.NDArray[Any]], meta: dict[str, Any], rates: Rates | None = None
    ) -> SequenceLearner:
        """The learner that `dump` wrote down. Raises KeyError, RuntimeError where it is none."""
        made = cls(np.zeros(0, np.uint64), np.zeros((0, meta["text"]), np.float32), rates)
        keys = arrays["keys"].copy()
        made.stock(keys, np.zeros((len(keys), meta["text"]), np.float32))
        made._make_room(len(arrays["net.into"]))
        made._net.load_state_dict({
            k.removeprefix("net."): torch.from_numpy(v.copy()) for k, v in arrays.items() if k.startswith("net.")
        })  # fmt: skip
        for name, parameter in made._net.named_parameters():
            held = {
                k.rpartition(".")[2]: torch.from_numpy(np.array(v))
                for k, v in arrays.items()
                if k.startswith(f"optimiser.{name}.") and k.count(".") == name.count(".") + 2
            }
            if held:
                made._optimiser.state[parameter] = held
        ends = np.cumsum(arrays["paths.length"]).tolist()
        visits = [(row, at, chunk) for row, at, chunk in arrays["paths.visit"].tolist()]
        starts = [0, *ends][: len(ends)]
        made._paths = {
            user: visits[start:end]
            for user, start, end in zip(arrays["paths.user"].tolist(), starts, ends, strict=True)
        }
        made._fresh, made._fresh_users = arrays["fresh"].tolist(), arrays["fresh_users"].tolist()
        made._weights = arrays["weights"].copy()
        made._offsets = [row.copy() for row in arrays["offsets"]]
        made._chunk, made._mass, made.fitted = meta["chunk"], meta["mass"], meta["fitted"]
        made.visits, made.loss = meta["visits"], meta["loss"]
        made._random.bit_generator.state = meta["random"]
        return made

    def adopt(self, model: SequenceModel) -> None:
        """Goes on from the weights of a model that is served; the optimiser forgets where it was going."""
        rows = self.rows_of(model.keys)
        known = rows >= 0
        with torch.no_grad():
            for name in ("into", "out", "bias"):
                table: torch.Tensor = getattr(self._net, name)
                table.zero_()
                table[torch.from_numpy(rows[known])] = torch.from_numpy(getattr(model, name)[known].copy())
            self._net.adapter.weight.copy_(torch.from_numpy(model.adapter.copy()))
            state: dict[str, Any] = dict(model.net.state_dict())
            for name, parameter in self._net.named_parameters():
                if name.partition(".")[0] in USER_SIDE:
                    parameter.copy_(state[name])
        self._optimiser = self._new_optimiser()
