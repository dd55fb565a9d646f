"""Sequence models over item ids, trained to convergence before the cut and frozen then: what a batch pipeline serves.

    sasrec    self-attention that looks back (Kang & McAuley 2018)
    gru4rec   a gated recurrent unit (Hidasi and others 2016)

Both with tied item embeddings, a popularity bias and full-softmax cross-entropy over the whole catalogue, which beats
sampled losses. Convergence: the last stretch before the cut is held out; training ends when its NDCG@10 has not risen
for `patience` epochs, and the best epoch's weights see the held-out stretch once before they are frozen.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.backtest.items import ItemTable
from recsys.backtest.log import Block, Blocks
from recsys.backtest.metrics import ndcg
from recsys.backtest.protocol import Learning, Predicted
from recsys.backtest.ranking import ranked
from recsys.encoder import native_bfloat16
from recsys.learning.softmax import full_softmax

LENGTH = 50
"""Latest items that the models look at."""
HELD_OUT = 0.05
"""Share of the events before the cut that decide when to stop."""
_JUDGED = 4000  # events of that share that are looked at
_BULK = 32_768
_POSITIONS = 1024  # predicted at a time in training: what the softmax's memory allows
_K = 10
Body = Literal["sasrec", "gru4rec"]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes and rates; the defaults suit some ten thousand items on a core or two."""

    dim: int = 64
    layers: int = 2
    heads: int = 2
    dropout: float = 0.3
    smoothing: float = 0.1
    rate: float = 2e-3
    epochs: int = 40
    patience: int = 3


class SequencePolicy:
    """One of the two bodies as a policy."""

    frozen = True

    def __init__(self, items: ItemTable, body: Body, shape: Shape | None = None, seed: int = 0) -> None:
        self.name: str = body
        self._body: Body = body
        self._items = items
        self._shape = shape or Shape()
        self._seed = seed
        self._half = native_bfloat16(torch.device("cpu"))
        self._net: SequenceNet | None = None
        self.epochs = 0
        """Epochs until it had converged."""
        self.judged: list[float] = []
        """NDCG@10 on the held-out stretch after each epoch."""

    def train(self, blocks: Blocks) -> None:
        passed = blocks.log.passed  # what is told are epochs, not each time that events are gone through
        blocks = replace(blocks, log=replace(blocks.log, passed=_untold))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self._net = SequenceNet(len(self._items), self._body, self._shape)
            held_out = blocks.start + int((blocks.stop - blocks.start) * (1 - HELD_OUT))
            early, late = blocks.between(blocks.start, held_out), blocks.between(held_out, blocks.stop)
            windows, optimiser = windows_of(early), self._optimiser(self._net)
            best, stale = deepcopy(self._net.state_dict()), 0
            for epoch in range(self._shape.epochs):
                self._epoch(windows, optimiser, epoch)
                self.judged.append(self._judge(late))
                passed(int(blocks.stop * (epoch + 1) / (self._shape.epochs + 1)))
                if self.judged[-1] >= max(self.judged):
                    best, stale, self.epochs = deepcopy(self._net.state_dict()), 0, epoch + 1
                else:
                    stale += 1
                    if stale >= self._shape.patience:
                        break
            self._net.load_state_dict(best)
            self._epoch(windows_of(blocks), self._optimiser(self._net, 0.25), len(self.judged))
            self._net.eval()

    @property
    def epochs_trained(self) -> int:
        """All of them: until it had converged, to see that it had, and the last one over everything."""
        return len(self.judged) + 1

    def predict(self, block: Block, k: int) -> Predicted:
        return ranked(self._scores(block.interactions.history), block.interactions, self._items, k)

    def learn(self, block: Block, learning: Learning) -> None:
        """Frozen; what the user did comes with each interaction."""

    # training --------------------------------------------------------------------------------------------------
    def _optimiser(self, net: SequenceNet, share: float = 1.0) -> torch.optim.Optimizer:
        return torch.optim.AdamW(net.parameters(), lr=self._shape.rate * share, weight_decay=1e-4)

    def _epoch(self, windows: list[Ints], optimiser: torch.optim.Optimizer, epoch: int) -> None:
        assert self._net is not None
        self._net.train()
        for inputs, targets in batches(windows, len(self._items), np.random.default_rng([self._seed, epoch])):
            there = targets >= 0
            states = self._net(torch.from_numpy(inputs))[torch.from_numpy(there)]
            table = self._net.table.weight[: len(self._items)]
            loss = full_softmax(
                states, table, self._net.bias, torch.from_numpy(targets[there]), self._shape.smoothing, self._half
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self._net.parameters(), 5.0)
            optimiser.step()

    def _judge(self, late: Blocks) -> float:
        """NDCG@10 on an even sample of the held-out stretch."""
        assert self._net is not None
        self._net.eval()
        gains = []
        every = max(1, late.interactions // _JUDGED)
        for block in late.of(64 * every):
            ranks = self.predict(late.log.block(block.at, min(block.at + 64, late.stop)), _K).rank
            gains.append(ndcg(ranks, _K))
        return float(np.concatenate(gains).mean()) if gains else 0.0

    def _scores(self, history: Ints) -> NDArray[np.float32]:
        """float32[m, N] for histories [m, h], newest last, -1 padded in front."""
        assert self._net is not None
        start = len(self._items)
        latest = history[:, -LENGTH + 1 :]
        many = (latest >= 0).sum(axis=1)
        inputs = np.full((len(latest), 1 + int(many.max(initial=0))), start)
        # what is there goes to the front, behind the sign of the beginning
        order = np.argsort(latest < 0, axis=1, kind="stable")
        packed = np.take_along_axis(latest, order, 1)[:, : inputs.shape[1] - 1]
        inputs[:, 1:] = np.where(packed >= 0, packed, start)
        with torch.inference_mode():
            states = self._net(torch.from_numpy(inputs))[torch.arange(len(inputs)), torch.from_numpy(many)]
            scores: NDArray[np.float32] = self._net.logits(states).numpy()
        return scores


def _untold(place: int) -> None:
    """Tells nobody."""


class SequenceNet(torch.nn.Module):
    """States of sequences, and scores of all items from a state. Row `items` of the table says: here it begins."""

    def __init__(self, items: int, body: Body, shape: Shape) -> None:
        super().__init__()
        self.items = items
        self.table = torch.nn.Embedding(items + 1, shape.dim)
        torch.nn.init.normal_(self.table.weight, std=shape.dim**-0.5)
        self.bias = torch.nn.Parameter(torch.zeros(items))
        self.drop = torch.nn.Dropout(shape.dropout)
        self.gru: torch.nn.GRU | None = None
        if body == "gru4rec":
            self.gru = torch.nn.GRU(shape.dim, shape.dim, batch_first=True)
        else:
            self.places = torch.nn.Parameter(torch.randn(LENGTH, shape.dim) * 0.02)
            layer = torch.nn.TransformerEncoderLayer(
                shape.dim, shape.heads, 2 * shape.dim, shape.dropout, "gelu", batch_first=True, norm_first=True
            )
            self.layers = torch.nn.TransformerEncoder(layer, shape.layers, enable_nested_tensor=False)
        self.norm = torch.nn.LayerNorm(shape.dim)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """float32[b, length, dim] for rows int64[b, length]; a state knows what stands before and at its place."""
        x = self.drop(self.table(inputs))
        if self.gru is not None:
            return self.norm(self.drop(self.gru(x)[0]))
        length = inputs.shape[1]
        mask = torch.nn.Transformer.generate_square_subsequent_mask(length)
        x = self.layers(x + self.places[:length], mask=mask, is_causal=True)
        return self.norm(x)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """float32[n, items]."""
        return states @ self.table.weight[: self.items].T + self.bias


def windows_of(blocks: Blocks) -> list[Ints]:
    """What each user turned to in the stretch, in order, cut into windows of at most LENGTH; a window after the first
    begins with the last item of the one before it, a first one with -1."""
    users, rows = [], []
    for block in blocks.of(_BULK):
        liked = block.interactions.known & (block.interactions.weight > 0)
        users.append(block.interactions.user[liked])
        rows.append(block.interactions.row[liked])
    user, row = np.concatenate(users), np.concatenate(rows)
    order = np.argsort(user, kind="stable")
    row, ends = row[order], np.flatnonzero(np.diff(user[order])) + 1
    found = []
    for path in np.split(row, ends):
        whole = np.r_[-1, path]
        found += [whole[at : at + LENGTH + 1] for at in range(0, len(path), LENGTH)]
    return found


def batches(windows: list[Ints], items: int, random: np.random.Generator) -> Any:
    """(inputs int64[b, length], targets int64[b, length], -1 where there is none), of windows alike in length."""
    length = np.array([len(window) for window in windows]) - 1
    shuffled = random.permutation(len(windows))
    # alike in length to a few places, so that little is padded and company still changes
    order = shuffled[np.argsort(length[shuffled] // 2, kind="stable")]
    sums = np.cumsum(length[order])
    parts = np.split(order, np.searchsorted(sums, np.arange(_POSITIONS, sums[-1], _POSITIONS)))
    for number in random.permutation(len(parts)).tolist():
        part = parts[number]
        if not len(part):
            continue
        longest = int(length[part].max())
        inputs = np.full((len(part), longest), items)
        targets = np.full((len(part), longest), -1)
        for line, which in enumerate(part.tolist()):
            window = windows[which]
            inputs[line, : len(window) - 1] = np.where(window[:-1] >= 0, window[:-1], items)
            targets[line, : len(window) - 1] = window[1:]
        yield inputs, targets
