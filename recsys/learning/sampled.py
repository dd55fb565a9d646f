"""Sampled softmax: cross-entropy over a catalogue of which a step sees a few thousand items.

A full softmax costs a product with every item a step. Here some are drawn, and each stands for as many as its draw was
unlikely: its score has the log of how often it was to be expected taken off (Bengio & Senecal 2008; logQ of Yi and
others 2019). The right answer is always there and stands for itself, so the sum under the softmax is right in
expectation.

Half is drawn by popularity: those are the items that compete. Half is drawn evenly, so that no item is expected so
seldom that a single draw of it outweighs the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Negatives:
    """rows int64[m], distinct and sorted; correction float32[m]: log of times drawn over times expected."""

    rows: npt.NDArray[np.int64]
    correction: Floats


class Sampler:
    """Draws among `len(weights)` items; `weights` float[items] > 0 say how popular each is."""

    def __init__(self, weights: npt.NDArray[np.floating], negatives: int) -> None:
        self._ends = np.cumsum(weights, dtype=np.float64)
        self._share = weights / self._ends[-1]
        self._liked = negatives // 2
        self._even = negatives - self._liked

    def draw(self, random: np.random.Generator) -> Negatives:
        """With replacement; what was drawn twice counts twice."""
        items = len(self._ends)
        liked = np.searchsorted(self._ends, random.random(self._liked) * self._ends[-1], side="right")
        drawn = np.concatenate([np.minimum(liked, items - 1), random.integers(items, size=self._even)])
        rows, times = np.unique(drawn, return_counts=True)
        expected = self._liked * self._share[rows] + self._even / items
        return Negatives(rows.astype(np.int64), np.log(times / expected).astype(np.float32))


class _SampledSoftmax(torch.autograd.Function):
    """The gradient is worked out in the same pass, and the [n, m] scores are gone through in place."""

    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, own: torch.Tensor, own_bias: torch.Tensor, others: torch.Tensor,
        others_bias: torch.Tensor, own_given: torch.Tensor, given: torch.Tensor, which: torch.Tensor,
        same: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:  # fmt: skip
        n = len(states)
        right = (states * own).sum(1) + own_bias + own_given
        z = (given + others_bias)[which].addmm_(states, others.T)
        z[same] = -torch.inf
        most = torch.maximum(z.amax(1), right)
        z.sub_(most[:, None]).exp_()
        first = (right - most).exp_()
        total = z.sum(1) + first
        loss = (most + total.log() - right).mean()
        # from here on z and first are the gradient of the mean loss by the scores
        z.mul_((1 / (n * total))[:, None])
        first.div_(total).sub_(1).div_(n)
        learnt = ctx.needs_input_grad[3]
        none = torch.zeros(0)
        ctx.save_for_backward(
            torch.addmm(first[:, None] * own, z, others), first[:, None] * states if learnt else none, first,
            z.T @ states if learnt else none, z.sum(0) if learnt else none,
        )  # fmt: skip
        return loss

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        learnt = ctx.needs_input_grad[3]
        found = [given[0] * saved if learnt or at == 0 else None for at, saved in enumerate(ctx.saved_tensors)]
        return *found, None, None, None, None


def sampled_softmax(
    states: torch.Tensor,
    own: torch.Tensor,
    own_bias: torch.Tensor,
    others: torch.Tensor,
    others_bias: torch.Tensor,
    own_given: torch.Tensor,
    given: torch.Tensor,
    which: torch.Tensor,
    same: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """The mean loss, nats, of `states` float32[n, D] whose right answers are `own` float32[n, D], against `others`
    float32[m, D]. A score is the inner product, plus bias, float32[n] and float32[m], plus what is given and not
    learnt: `own_given` float32[n], and line `which` int64[n] of `given` float32[c, m]. `same`: the places, int64 lines
    and columns, where one of the others is the right answer itself, and falls out."""
    loss: torch.Tensor = _SampledSoftmax.apply(
        states, own, own_bias, others, others_bias, own_given, given, which, same
    )
    return loss
