"""Tuning lane: the text encoder fitted to what users do, as a LoRA beside its frozen weights.

In: pairs of texts that belong together: an item's with that of the item the same user turned to next, a user's own
words with those of the item then chosen. Out: adapters for `recsys.encoder.TextEncoder`.

Only low-rank additions to the attention's query and value projections move (LoRA, Hu and others 2022). The loss is the
softmax of the partner among all partners of the batch (InfoNCE, van den Oord and others 2018), with cosines over a
temperature. A popular item is often another pair's wrong answer, so the log of how often it comes is taken from its
score (logQ; Yi and others 2019). Half of a batch is new, the rest drawn from a reservoir of old pairs (Vitter 1985)
against forgetting.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recsys.encoder import LENGTHS, Adapter, AdapterMisfit, EncoderNotFound, identity, load_library, native_bfloat16
from recsys.learning.tables import carry_over, mend
from recsys.memory import memory_ended

TARGETS = ("query", "value", "q_lin", "v_lin", "q_proj", "v_proj", "q", "v")
"""What attention's query and value projections are called in transformers' models."""
LEAST_PAIRS = 4
"""Pairs of the smallest batch that says anything."""
_COUNTED = 100_000  # items whose frequency is kept
_A, _B = ".lora_A.default.weight", ".lora_B.default.weight"
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Pair:
    """What was `said` (an item's text, or the user's own words) belongs with `text`, the words of the item `item_id`;
    known from what `user` did."""

    user: str
    said: str
    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Rates:
    """Sizes and rates. `pairs`: of a batch; `tokens`: where texts are cut; `kept`, `fresh`: most old and new pairs
    held. The defaults keep a batch near half a second on one core; `on` gives those of a device."""

    rank: int = 8
    alpha: int = 16
    rate: float = 1e-3
    decay: float = 0.01
    temperature: float = 0.05
    pairs: int = 16
    tokens: int = 32
    kept: int = 20_000
    fresh: int = 5_000

    @classmethod
    def on(cls, device: str) -> Rates:
        return cls() if torch.device(device).type == "cpu" else cls(pairs=256, tokens=128, kept=100_000, fresh=50_000)


class EncoderTuner:
    """Not for use from several threads. Nothing here changes torch's global seed."""

    def __init__(
        self,
        path: str | Path,
        device: str = "cpu",
        rates: Rates | None = None,
        seed: int = 0,
        adapter: Adapter | None = None,
        told: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`path`: the folder of the frozen model; `adapter`: where to begin, None: at the frozen model; `told` hears,
        in words, when memory ends. Raises EncoderNotFound, AdapterMisfit."""
        load_library()
        from peft import LoraConfig, inject_adapter_in_model
        from transformers import AutoModel, AutoTokenizer

        self.base, _ = identity(Path(path))
        self.rates, self._seed, self._told = rates or Rates.on(device), seed, told
        self._device = torch.device(device)
        self._half = native_bfloat16(self._device)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
        model: Any = AutoModel.from_pretrained(str(path), local_files_only=True, dtype=torch.float32)
        names = {name.rpartition(".")[2] for name, module in model.named_modules() if _linear(module)}
        if not names & set(TARGETS):
            raise EncoderNotFound(f"The model at {path} has no projections that can be tuned ({', '.join(TARGETS)}).")
        config = LoraConfig(
            r=self.rates.rank,
            lora_alpha=self.rates.alpha,
            lora_dropout=0.0,
            target_modules=sorted(names & set(TARGETS)),
        )
        with self._seeded(0):
            inject_adapter_in_model(config, model)
        self._model = model.to(self._device).train()
        self._gather()
        self._scale = self.rates.alpha / self.rates.rank
        if adapter:
            self._begin_at(adapter)
        self._random = np.random.default_rng(seed)
        self._kept: list[Pair] = []
        self._offered = 0  # pairs that stood for the reservoir
        self._fresh: deque[Pair] = deque(maxlen=self.rates.fresh)
        self._counts: dict[str, float] = {}
        self._pairs = self.rates.pairs  # halved when memory ends
        self.steps = 0
        self.loss = 0.0
        """Mean cross-entropy of the last batch, nats."""

    # what is learnt from
    # ------------------------------------------------------------------------------------------------------------
    def take(self, pairs: Iterable[Pair]) -> None:
        """Takes in pairs, in order; none of them is learnt from yet. Of too many new ones the oldest go."""
        for pair in pairs:
            self._fresh.append(pair)
            self._counts[pair.item_id] = self._counts.get(pair.item_id, 0.0) + 1.0
        if len(self._counts) > _COUNTED:
            self._counts = {item: n / 2 for item, n in self._counts.items() if n >= 2}

    @property
    def fresh(self) -> int:
        """New pairs that wait."""
        return len(self._fresh)

    @property
    def kept(self) -> Sequence[Pair]:
        """The reservoir: a fair sample of all pairs learnt from."""
        return self._kept

    def forget(self, user: str) -> int:
        """Removes a user's pairs; how many. What they already moved in the weights stays."""
        pairs = [pair for pair in (*self._kept, *self._fresh) if pair.user == user]
        self._counts = _less(self._counts, [pair.item_id for pair in pairs])
        self._kept = [pair for pair in self._kept if pair.user != user]
        self._fresh = deque((p for p in self._fresh if p.user != user), self.rates.fresh)
        return len(pairs)

    def step(self, batches: int = 1) -> int:
        """Learns from some batches; how many there were pairs for. Each takes the time of a forward and a backward
        pass over twice `pairs` texts. Where memory ends batches are halved, down to LEAST_PAIRS; then it goes on on the
        processor. Raises what says that memory has ended only there."""
        done = 0
        while done < batches and len(self._kept) + len(self._fresh) >= LEAST_PAIRS:
            self._learn(self._batch())
            done += 1
        return done

    def _batch(self) -> list[Pair]:
        old = min(len(self._kept), max(self._pairs // 2, self._pairs - len(self._fresh)))
        places = self._random.choice(len(self._kept), old, replace=False) if old else ()
        batch = [self._kept[at] for at in places]
        for _ in range(min(self._pairs - old, len(self._fresh))):
            pair = self._fresh.popleft()
            batch.append(pair)
            self._offered += 1
            if len(self._kept) < self.rates.kept:
                self._kept.append(pair)
            elif (at := int(self._random.integers(self._offered))) < self.rates.kept:
                self._kept[at] = pair
        return batch

    # a step
    # -----------------------------------------------------------------------------------------------------------
    def _learn(self, batch: list[Pair]) -> None:
        self.steps += 1
        few = len(batch) <= LEAST_PAIRS
        try:
            self._descend(batch)
            return
        except (RuntimeError, MemoryError) as error:
            if not memory_ended(error) or (few and self._device.type == "cpu"):
                raise
        # out here the failure no longer holds on to the tensors it had
        mend(self._optimiser, self._weights.values())
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        if few:
            self._to_cpu()
            self._learn(batch)
            return
        half = len(batch) // 2
        self._shrink(half)
        for part in (batch[:half], batch[half:]):
            self._learn(part)

    def _shrink(self, pairs: int) -> None:
        if self._pairs == self.rates.pairs:
            self._told(
                f"Memory of {self._device} ended at {self._pairs} pairs a batch: the encoder goes on being tuned with "
                "half of them, or less if need be. Fewer wrong answers a pair make it learn more slowly."
            )
        self._pairs = min(self._pairs, max(LEAST_PAIRS, pairs))

    def _to_cpu(self) -> None:
        self._told(
            f"Memory of {self._device} does not hold {LEAST_PAIRS} pairs: the encoder is tuned on the processor."
        )
        self._device = torch.device("cpu")
        self._half = native_bfloat16(self._device)
        optimiser, weights = self._optimiser, self._weights
        self._model.to(self._device)
        self._gather()
        carry_over(optimiser, weights, self._optimiser, self._weights)
        self._pairs = Rates.on("cpu").pairs

    def _gather(self) -> None:
        """The weights that move, and an optimiser of them."""
        self._weights = {name: p for name, p in self._model.named_parameters() if p.requires_grad}
        self._optimiser = torch.optim.AdamW(
            self._weights.values(), lr=self.rates.rate, weight_decay=self.rates.decay, foreach=False
        )

    def _descend(self, batch: list[Pair]) -> None:
        if len(batch) < 2:
            return
        with self._seeded(self.steps):
            both = self._embed([pair.said for pair in batch] + [pair.text for pair in batch])
        loss = self._loss(both[: len(batch)], both[len(batch) :], batch)
        if not torch.isfinite(loss):
            return
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._weights.values(), 1.0)
        self._optimiser.step()
        self.loss = float(loss.detach())

    def _loss(self, said: torch.Tensor, texts: torch.Tensor, batch: list[Pair]) -> torch.Tensor:
        total = sum(self._counts.values()) or 1.0
        often = np.array([max(self._counts.get(pair.item_id, 0.0), 1.0) / total for pair in batch], np.float32)
        scores = said @ texts.T / self.rates.temperature - torch.from_numpy(np.log(often)).to(self._device)
        # the same item again, and the very text that was asked with, are no wrong answers
        items = np.array([pair.item_id for pair in batch])
        answers, asked = np.array([pair.text for pair in batch]), np.array([pair.said for pair in batch])
        no_answer = (items[None] == items[:, None]) | (answers[None] == asked[:, None])
        np.fill_diagonal(no_answer, False)
        scores = scores.masked_fill(torch.from_numpy(no_answer).to(self._device), -torch.inf)
        return torch.nn.functional.cross_entropy(scores, torch.arange(len(batch), device=self._device))

    def _embed(self, texts: list[str]) -> torch.Tensor:
        """float32[n, dim]: unit vectors, with their gradients; padded to one of the lengths of `recsys.encoder`."""
        cut = self._tokenizer(texts, truncation=True, max_length=self.rates.tokens)["input_ids"]
        most = max(map(len, cut))
        length = next((n for n in LENGTHS if n >= most), most)
        ids = torch.full((len(cut), length), int(self._tokenizer.pad_token_id or 0))
        mask = torch.zeros((len(cut), length), dtype=torch.long)
        for row, tokens in enumerate(cut):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        ids, mask = ids.to(self._device), mask.to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        shares = mask.unsqueeze(-1).float()
        return torch.nn.functional.normalize((states.float() * shares).sum(1) / shares.sum(1), dim=1)

    def _seeded(self, step: int) -> Any:
        """Dropout and first weights depend on the seed and the step alone, and the global generator stays as it was."""
        return _Seeded(self._seed * 1_000_003 + step, self._device)

    # what comes out
    # ---------------------------------------------------------------------------------------------------------
    def snapshot(self) -> dict[str, npt.NDArray[np.float32]]:
        """The adapter as it is shipped: float32 `<module>.A` [r, in] and `<module>.B` [out, r], its scale folded in."""
        found = {}
        for name, weight in self._weights.items():
            array = weight.detach().cpu().numpy().astype(np.float32)
            if name.endswith(_A):
                found[name.removesuffix(_A) + ".A"] = array.copy()
            else:
                found[name.removesuffix(_B) + ".B"] = array * np.float32(self._scale)
        return found

    def _begin_at(self, adapter: Adapter) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                key = name.removesuffix(_A) + ".A" if name.endswith(_A) else name.removesuffix(_B) + ".B"
                array = adapter.get(key)
                if array is None or array.shape != tuple(weight.shape):
                    raise AdapterMisfit(f"The adapter cannot be gone on with: {key} is missing or of another rank.")
                weight.copy_(torch.from_numpy(np.array(array, np.float32)))
                if name.endswith(_B):
                    weight /= self._scale

    def dump(self) -> Arrays:
        """Weights, optimiser, pairs and random numbers, for a checkpoint."""
        arrays: Arrays = {}
        for name, weight in self._weights.items():
            arrays[f"weight.{name}"] = weight.detach().cpu().numpy().copy()
            for part, value in self._optimiser.state.get(weight, {}).items():
                arrays[f"{part}.{name}"] = np.array(value.detach().cpu().numpy())
        state = {
            "base": self.base,
            "rates": asdict(self.rates),
            "seed": self._seed,
            "steps": self.steps,
            "offered": self._offered,
            "pairs": self._pairs,
            "random": self._random.bit_generator.state,
            "counts": self._counts,
            "kept": [astuple(pair) for pair in self._kept],
            "fresh": [astuple(pair) for pair in self._fresh],
        }
        # as an array: what stands in the header of a safetensors file is bounded
        arrays["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
        return arrays

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Goes on where `dump` was, with its rates but on this device. Raises ValueError, and leaves all as it is, for
        what another model or another rank left."""
        try:
            state = json.loads(arrays["state"].tobytes())
            if state["base"] != self.base:
                raise ValueError(f"it tunes {state['base']}, and the encoder here is {self.base}")
            rates = replace(Rates(**state["rates"]), pairs=self.rates.pairs, tokens=self.rates.tokens)
            if (rates.rank, rates.alpha) != (self.rates.rank, self.rates.alpha):
                raise ValueError(f"its rank and alpha are {rates.rank} and {rates.alpha}")
            weights = {name: arrays[f"weight.{name}"] for name in self._weights}
            if any(weights[name].shape != tuple(p.shape) for name, p in self._weights.items()):
                raise ValueError("its weights have other shapes")
            kept, fresh = ([Pair(*one) for one in state[name]] for name in ("kept", "fresh"))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"This checkpoint of the tuned encoder cannot be gone on with: {error!r}") from error
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(torch.from_numpy(weights[name].copy()))
                parts = {part: arrays.get(f"{part}.{name}") for part in ("step", "exp_avg", "exp_avg_sq")}
                if all(value is not None for value in parts.values()):
                    tensors = {part: torch.from_numpy(np.array(value)) for part, value in parts.items()}
                    step = tensors.pop("step")
                    self._optimiser.state[weight] = {"step": step} | {k: v.to(weight) for k, v in tensors.items()}
        self.steps, self._offered, self._counts = state["steps"], state["offered"], state["counts"]
        self._seed, self._pairs = state["seed"], min(self._pairs, state["pairs"])
        self._random.bit_generator.state = state["random"]
        self._kept, self._fresh = kept[: self.rates.kept], deque(fresh, self.rates.fresh)


def without(arrays: Mapping[str, npt.NDArray[Any]], user: str) -> Arrays:
    """What `dump` gave, without a user's pairs."""
    state = json.loads(arrays["state"].tobytes())
    pairs = [Pair(*one) for name in ("kept", "fresh") for one in state[name]]
    state["counts"] = _less(state["counts"], [pair.item_id for pair in pairs if pair.user == user])
    for name in ("kept", "fresh"):
        state[name] = [one for one in state[name] if Pair(*one).user != user]
    return {**arrays, "state": np.frombuffer(json.dumps(state).encode(), np.uint8)}


def _less(counts: Mapping[str, float], items: Sequence[str]) -> dict[str, float]:
    left = dict(counts)
    for item in items:
        left[item] = left.get(item, 0.0) - 1.0
    return {item: n for item, n in left.items() if n > 0}


def _linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear)


class _Seeded:
    """A stretch of code with a seed of its own; the generators are then as they were."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed = seed
        self._fork = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *failure: Any) -> None:
        self._fork.__exit__(*failure)
