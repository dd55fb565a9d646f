"""Ranker: features to scores, for the whole block's candidates in one pass, on CPU or GPU.

An additive model in torch: each feature times its weight, summed; a weight depends on the moment (`CONTEXT`), not on
the other features. So a score falls apart into its features without approximation, and a reason is a part of the
score. Its prior weights rank sensibly before any training; the learner trains the same weights and ships them as a
release. A GPU runs the module as it is. On a processor its weights are read by compiled kernels: for a few queries the
calls of torch would cost fifty times the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from recsys.compiled import fills, kernel, reads
from recsys.features import CONTEXT, FEATURES
from recsys.memory import goes_on

Made = TypeVar("Made")

ROUND = 5
"""Decimals of a score: coarser than what another block shape or device changes, finer than what matters."""
Floats = npt.NDArray[np.float32]


def prior_weights() -> Floats:
    """float32[len(CONTEXT), len(FEATURES)]: the table's own weights at every moment."""
    weights = np.zeros((len(CONTEXT), len(FEATURES)), np.float32)
    weights[0] = [feature.weight for feature in FEATURES]
    return weights


class AdditiveRanker(torch.nn.Module):
    """contributions[b, c, f] = (sum over g of context[b, g] * weight[g, f]) * x[b, c, f]; the score is their sum."""

    def __init__(self, weights: Floats | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.from_numpy(prior_weights() if weights is None else weights.copy()))

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        # summed line by line rather than as a matrix product: the same bits whatever the block's size
        mine = (context[:, :, None] * self.weight).sum(dim=1)
        return x * mine[:, None, :]


class Ranker:
    """Scores numpy blocks with a module on one device ("cpu" or "cuda"); where memory of the latter ends, on the
    processor from then on, with a warning."""

    def __init__(self, device: str = "cpu", module: AdditiveRanker | None = None) -> None:
        self.device = device
        self.module = (module or AdditiveRanker()).eval()
        self.weights: Floats = self.module.weight.detach().cpu().numpy()
        """float32[G, F]: all of its weights."""
        try:
            self.module.to(device)
        except RuntimeError as error:
            self._leave(error)

    def scores(self, x: Floats, context: Floats) -> npt.NDArray[np.float64]:
        """float64[B, C] for features float32[B, C, F] at the moments float32[B, G], rounded to ROUND decimals: no last
        bit decides an order."""
        summed = self._there(lambda: self._module(x, context).sum(dim=-1).cpu().numpy())
        if summed is not None:
            rounded: npt.NDArray[np.float64] = summed.astype(np.float64).round(ROUND)
            return rounded
        scores = np.empty(x.shape[:2])
        _score(x, context, self._fitting(x, context), scores)
        return scores

    def contributions(self, x: Floats, context: Floats) -> Floats:
        """What each feature adds to the score; the shape of `x`, [B, K, F]."""
        there = self._there(lambda: self._module(x, context).cpu().numpy())
        if there is not None:
            return there
        parts = np.empty_like(x)
        _contribute(x, context, self._fitting(x, context), parts)
        return parts

    def weights_at(self, context: Floats) -> Floats:
        """float32[F]: the weights of a moment, float32[G]."""
        weights: Floats = (context[:, None] * self.weights).sum(axis=0)
        return weights

    def _fitting(self, x: Floats, context: Floats) -> Floats:
        """The weights, if they are for such features at such moments; kernels do not ask."""
        weights = self.weights
        if weights.shape != (context.shape[1], x.shape[2]):
            raise ValueError(f"weights {weights.shape} for features {x.shape} at moments {context.shape}")
        return weights

    def _there(self, work: Callable[[], Made]) -> Made | None:
        """What `work` makes on the device; None on a processor, or where the device's memory has ended."""
        if self.device != "cpu":
            try:
                with torch.inference_mode():
                    return work()
            except RuntimeError as error:
                self._leave(error)
        return None

    def _leave(self, error: RuntimeError) -> None:
        """To the processor, if that is what the error calls for; else raises it."""
        goes_on("candidates are scored on the processor", error)
        self.device = "cpu"

    def _module(self, x: Floats, context: Floats) -> torch.Tensor:
        there = torch.from_numpy(x).to(self.device, non_blocking=True)
        out: torch.Tensor = self.module(there, torch.from_numpy(context).to(self.device, non_blocking=True))
        return out


@kernel(reads("float32"), reads("float32", 2), fills("float32"))
def _at_moment(context: Floats, weights: Floats, mine: Floats) -> None:
    """Fills `mine` [F]: the weights [G, F] of a moment [G]."""
    mine[:] = 0
    for g in range(len(weights)):
        for f in range(len(mine)):
            mine[f] += context[g] * weights[g, f]


@kernel(reads("float32", 3), reads("float32", 2), reads("float32", 2), fills("float64", 2), any_order=True)
def _score(x: Floats, context: Floats, weights: Floats, scores: npt.NDArray[np.float64]) -> None:
    """Fills `scores` [B, C], rounded, for features [B, C, F] at the moments [B, G]: sums of the contributions in double
    precision, so that rounding hides their order."""
    steps = 10.0**ROUND
    mine = np.empty(x.shape[2], np.float32)
    for b in range(len(x)):
        _at_moment(context[b], weights, mine)
        for c in range(x.shape[1]):
            total = 0.0
            for f in range(len(mine)):
                total += x[b, c, f] * mine[f]
            scores[b, c] = np.rint(total * steps) / steps


@kernel(reads("float32", 3), reads("float32", 2), reads("float32", 2), fills("float32", 3))
def _contribute(x: Floats, context: Floats, weights: Floats, parts: Floats) -> None:
    """Fills `parts` [B, K, F] for features of the same shape at the moments [B, G]."""
    mine = np.empty(x.shape[2], np.float32)
    for b in range(len(x)):
        _at_moment(context[b], weights, mine)
        for k in range(x.shape[1]):
            for f in range(len(mine)):
                parts[b, k, f] = x[b, k, f] * mine[f]
