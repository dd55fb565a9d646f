"""Trainer: the sequence model's weights, their optimiser and the items' texts, on one device; it takes steps.

In: windows of visits and the popularity at their time. Out: weights that have moved.

Up to `Rates.sampled_from` items a step's loss is the softmax over the whole catalogue; from there on a sampled one, and
only the rows that a step has seen are computed and moved. What is drawn then, and what dropout leaves out, follow from
the seed and the number of the step, both in the checkpoint: who goes on from it trains the same.

Where memory ends a step is taken in halves, again and again; then on the CPU; then `MemoryEnded` is raised.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recsys.encoder import native_bfloat16
from recsys.learning.popularity import Popularity
from recsys.learning.sampled import Negatives, Sampler, sampled_softmax
from recsys.learning.softmax import full_softmax
from recsys.learning.tables import carry_over, grow, mend, rows_of, step_on_rows
from recsys.learning.windows import Batch, Window
from recsys.memory import MemoryEnded, memory_ended, told
from recsys.sequence import USER_SIDE, SequenceModel, SequenceNet

Longs = npt.NDArray[np.int64]
TABLES = ("into", "out", "bias")
DRAWN_TO_ZERO = 0.1
"""Weight decay of residuals: where they are not needed the text alone decides."""
HALVINGS = 4
"""How often a step is halved for want of memory: less than a sixteenth hardly needs any beside the tables."""
_SETTLED = 256  # steps on rows after which the weight decay of all rows is applied
_LARGE = 1.25  # by how much tables of a large catalogue grow; small ones double


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
    sampled_from: int = 50_000  # items; a full step takes half a second there, and 200 MB for its scores alone
    negatives: int = 4096  # items that stand for the rest of the catalogue in a sampled step


class Trainer:
    """`texts` float32[room, text]: vectors of the items' texts; of rows from `items` on there is nothing yet."""

    def __init__(self, text: int, rates: Rates, seed: int, device: str) -> None:
        self.rates, self.items = rates, 0
        self.device = torch.device(device)
        self.relieved: list[str] = []
        """What was done where memory ended, to be told."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = SequenceNet(0, text)
        self.net.to(self.device)
        self.texts = torch.zeros(0, text, device=self.device)
        self.optimiser = self._new_optimiser()
        self._choose_precision()
        self._seed, self._steps = seed, 0
        self._decay = 0.0  # log of what residuals have yet to shrink by
        self._halved = 0
        self._table: tuple[Any, torch.Tensor] | None = None
        self._sampler: tuple[Any, Sampler] | None = None

    @property
    def sampled(self) -> bool:
        return self.items >= self.rates.sampled_from

    # items -----------------------------------------------------------------------------------------------------
    def place(self, rows: Longs, texts: npt.NDArray[np.float32], items: int) -> None:
        """Sets text vectors float32[n, text] of these rows, of now `items` in all. Raises MemoryEnded."""
        with self._relieving(self._to_cpu):
            self._make_room(items)
            self.texts[self._there(rows)] = torch.from_numpy(np.ascontiguousarray(texts)).to(self.device)
            return
        self.place(rows, texts, items)

    def _make_room(self, items: int) -> None:
        """Tables for so many items. Where memory ends it may be asked again."""
        self.items = max(self.items, items)
        room = len(self.texts)
        if items > room:
            room = max(items, int((2.0 if room < self.rates.sampled_from else _LARGE) * room))
            self.texts = torch.cat([
                self.texts, torch.zeros(room - len(self.texts), self.texts.shape[1], device=self.device)
            ])  # fmt: skip
        for name in TABLES:
            grow(self.net, name, room, self.optimiser)

    def adopt(self, model: SequenceModel, rows: Longs) -> None:
        """Goes on from the weights of a model that is served, whose items are these rows, -1 for none; the optimiser
        forgets where it was going."""
        known = rows >= 0
        with torch.no_grad():
            for name in TABLES:
                table: torch.Tensor = getattr(self.net, name)
                table.zero_()
                table[self._there(rows[known])] = torch.from_numpy(getattr(model, name)[known].copy()).to(self.device)
            self.net.adapter.weight.copy_(torch.from_numpy(model.adapter.copy()))
            state: dict[str, Any] = dict(model.net.state_dict())
            for name, parameter in self.net.named_parameters():
                if name.partition(".")[0] in USER_SIDE:
                    parameter.copy_(state[name])
        self.optimiser, self._decay = self._new_optimiser(), 0.0

    # steps -----------------------------------------------------------------------------------------------------
    def step(
        self, windows: list[Window], popularity: Popularity, rate: float, latest: list[int] | None = None,
        users_only: bool = False,
    ) -> float | None:  # fmt: skip
        """One step on windows; of each only the `latest` places are predicted, where given. The loss, nats; None where
        it is no number, and nothing has moved. Raises MemoryEnded."""
        most = self.rates.positions >> self._halved
        if self._halved and len(windows) > 1 and sum(len(window) - 1 for window in windows) > most:
            middle = len(windows) // 2
            losses = [
                self.step(windows[part], popularity, rate, None if latest is None else latest[part], users_only)
                for part in (slice(middle), slice(middle, None))
            ]
            known = [loss for loss in losses if loss is not None]
            return float(np.mean(known)) if known else None
        with self._relieving(lambda: self._halve(len(windows) > 1) or self._to_cpu()):
            return self._step(Batch.of(windows, latest), popularity, rate, users_only)
        return self.step(windows, popularity, rate, latest, users_only)

    def _step(self, batch: Batch, popularity: Popularity, rate: float, users_only: bool) -> float | None:
        self.net.train()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with self._repeatable():
            loss = (self._sampled_step if self.sampled else self._full_step)(batch, popularity, rate, users_only)
        self._steps += loss is not None
        return loss

    def _full_step(self, batch: Batch, popularity: Popularity, rate: float, users_only: bool) -> float | None:
        there = batch.target >= 0
        with self._cast():
            with torch.set_grad_enabled(not users_only):
                into, out = (table[: self.items] for table in self.net.items(self.texts))
                bias = self.net.bias[: self.items]
            states = self.net.users(rows_of(into, self._there(batch.rows)), self._there(batch.idle))
        loss = full_softmax(
            states[self._there(there)].float(), out.float(), bias, self._there(batch.target[there]), 0.0, self._half,
            self._popularity(popularity), self._there(batch.chunk[there]),
        )  # fmt: skip
        if not torch.isfinite(loss):
            return None
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimiser.step()
        return float(loss.detach())

    def _sampled_step(self, batch: Batch, popularity: Popularity, rate: float, users_only: bool) -> float | None:
        there = batch.target >= 0
        target = batch.target[there]
        visited = np.arange(batch.rows.shape[1]) < batch.many[:, None]
        drawn = self._drawn(popularity)
        seen, place = np.unique(batch.rows[visited], return_inverse=True)
        scored, at = np.unique(np.concatenate([target, drawn.rows]), return_inverse=True)
        own, others = self._there(at[: len(target)]), self._there(at[len(target) :])
        column = np.minimum(np.searchsorted(drawn.rows, target), len(drawn.rows) - 1)
        same = np.flatnonzero(drawn.rows[column] == target)
        places = np.zeros(batch.rows.shape, np.int64)
        places[visited] = place

        # what is added to scores, for each chunk of the batch and each item that is scored
        chunks, which = np.unique(batch.chunk[there], return_inverse=True)
        given = torch.from_numpy(popularity.at(chunks, scored)).to(self.device)
        line, correction = self._there(which), torch.from_numpy(drawn.correction).to(self.device)

        rows = {"into": self._there(seen), "out": self._there(scored), "bias": self._there(scored)}
        residuals = {n: getattr(self.net, n).detach()[r].requires_grad_(not users_only) for n, r in rows.items()}
        with self._cast():
            with torch.set_grad_enabled(not users_only):
                into = self.net.placed(self.texts[rows["into"]]) + residuals["into"]
                out = self.net.placed(self.texts[rows["out"]]) + residuals["out"]
            states = self.net.users(rows_of(into, self._there(places)), self._there(batch.idle))[self._there(there)]
        bias = residuals["bias"]
        loss = sampled_softmax(
            states.float(), rows_of(out, own).float(), rows_of(bias, own), rows_of(out, others).float(),
            rows_of(bias, others), given[line, own],
            given[:, others] + correction, line, (self._there(same), self._there(column[same])),
        )  # fmt: skip
        if not torch.isfinite(loss):
            return None
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        learnt = [p for p in [*self.net.parameters(), *residuals.values()] if p.grad is not None]
        torch.nn.utils.clip_grad_norm_(learnt, 5.0)
        self.optimiser.step()
        if not users_only:
            for name, residual in residuals.items():
                assert residual.grad is not None
                step_on_rows(self.optimiser, getattr(self.net, name), rows[name], residual.grad, rate)
            self._decay += math.log1p(-rate * DRAWN_TO_ZERO)
            if (self._steps + 1) % _SETTLED == 0:
                self.settle()
        return float(loss.detach())

    def settle(self) -> None:
        """Applies the weight decay that steps on rows have left to do."""
        if self._decay:
            with torch.no_grad():
                for table in (self.net.into, self.net.out):
                    table.mul_(math.exp(self._decay))
            self._decay = 0.0

    # parts -----------------------------------------------------------------------------------------------------
    def _new_optimiser(self) -> torch.optim.AdamW:
        shared = [p for name, p in self.net.named_parameters() if name not in TABLES]
        groups: list[dict[str, Any]] = [
            {"params": [self.net.into, self.net.out], "weight_decay": DRAWN_TO_ZERO},
            {"params": shared, "weight_decay": 0.01},
            {"params": [self.net.bias], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.rates.fit)

    def _there(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def _choose_precision(self) -> None:
        """The softmax in bfloat16 where the processor has it; the net too on a GPU, on a CPU in float32."""
        self._half = native_bfloat16(self.device)
        self._mixed = self._half and self.device.type == "cuda"

    def _cast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._mixed)

    def _popularity(self, popularity: Popularity) -> torch.Tensor:
        """float32[chunks, items]"""
        version = (popularity.logs[-1], len(popularity.logs), self.items)
        if self._table is None or self._table[0][0] is not version[0] or self._table[0][1:] != version[1:]:
            self._table = (version, self._there(popularity.table(self.items)))
        return self._table[1]

    def _drawn(self, popularity: Popularity) -> Negatives:
        newest = popularity.logs[-1]
        if self._sampler is None or self._sampler[0][0] is not newest or self._sampler[0][1] != self.items:
            logs = popularity.at(np.array([popularity.newest]), np.arange(self.items))[0]
            self._sampler = ((newest, self.items), Sampler(np.exp(logs.astype(np.float64)), self.rates.negatives))
        return self._sampler[1].draw(np.random.default_rng([self._seed, self._steps]))

    @contextmanager
    def _repeatable(self) -> Iterator[None]:
        """What torch draws within follows from the seed and the number of the step."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(np.random.SeedSequence([self._seed, self._steps]).generate_state(1)[0]))
            yield

    # memory ----------------------------------------------------------------------------------------------------
    @contextmanager
    def _relieving(self, relief: Callable[[], str]) -> Iterator[None]:
        """Where memory ends within, there is `relief()`, and who asked is to ask again. Raises MemoryEnded where there
        is none."""
        ended: str | None = None
        try:
            yield
        except Exception as error:
            if isinstance(error, MemoryEnded) or not memory_ended(error):
                raise
            ended = told(error)
            traceback.clear_frames(error.__traceback__)  # else they hold on to what the step had allocated
        if ended is None:
            return
        mend(self.optimiser, self.net.parameters())
        self._table = self._sampler = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        done = relief()
        if not done:
            raise MemoryEnded(ended)
        self.relieved.append(f"{done} ({ended})")

    def _halve(self, divisible: bool) -> str:
        """Smaller steps from here on; what that came to, nothing where they are small already."""
        if self._halved == HALVINGS or not divisible:
            return ""
        self._halved += 1
        return f"taking steps of {self.rates.positions >> self._halved} predictions"

    def _to_cpu(self) -> str:
        if self.device.type == "cpu":
            return ""
        self.go_to("cpu")
        self._halved = 0
        return "going on on the CPU"

    def go_to(self, device: str) -> None:
        """Takes all of it to another device."""
        self.device = torch.device(device)
        was = dict(self.net.named_parameters())
        self.net.to(self.device)
        there = self._new_optimiser()  # of the parameters as they are there
        carry_over(self.optimiser, was, there, dict(self.net.named_parameters()))
        self.optimiser = there
        self.texts = self.texts.to(self.device)
        self._choose_precision()
        self._table = None

    # checkpoints -----------------------------------------------------------------------------------------------
    def dump(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """(arrays, the rest as JSON knows it). Texts of items are not among them."""
        arrays: dict[str, npt.NDArray[Any]] = {f"net.{k}": v.cpu().numpy() for k, v in self.net.state_dict().items()}
        names: dict[Any, str] = {parameter: name for name, parameter in self.net.named_parameters()}
        for parameter, held in self.optimiser.state.items():
            arrays |= {f"optimiser.{names[parameter]}.{k}": v.cpu().numpy() for k, v in held.items()}
        meta = {"text": self.texts.shape[1], "seed": self._seed, "steps": self._steps, "decay": self._decay}
        return arrays, meta

    @classmethod
    def restore(
        cls, arrays: dict[str, npt.NDArray[Any]], meta: dict[str, Any], items: int, rates: Rates, device: str
    ) -> Trainer:
        """Raises KeyError, RuntimeError where there is none. On the CPU where memory of the device ends."""
        made = cls(meta["text"], rates, meta.get("seed", 0), "cpu")
        made._make_room(len(arrays["net.into"]))
        made.items = items
        made.net.load_state_dict({
            k.removeprefix("net."): torch.from_numpy(v.copy()) for k, v in arrays.items() if k.startswith("net.")
        })  # fmt: skip
        for name, parameter in made.net.named_parameters():
            held = {
                k.rpartition(".")[2]: torch.from_numpy(np.array(v))
                for k, v in arrays.items()
                if k.startswith(f"optimiser.{name}.") and k.count(".") == name.count(".") + 2
            }
            if held:
                made.optimiser.state[parameter] = held
        made._steps, made._decay = meta.get("steps", 0), meta.get("decay", 0.0)
        if device != "cpu":
            with made._relieving(made._to_cpu):
                made.go_to(device)
        return made
