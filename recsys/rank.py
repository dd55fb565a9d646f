"""Ranker: features to scores, for the whole block's candidates in one pass, on CPU or GPU.

An additive model in torch: each feature times its weight, summed; a weight depends on the moment (`CONTEXT`), not on
the other features. So a score falls apart into its features without approximation, and a reason is a part of the
score. Its prior weights rank sensibly before any training; the learner trains the same weights and ships them as a
release.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from recsys.features import CONTEXT, FEATURES

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
    """Scores numpy blocks with a module on one device ("cpu" or "cuda")."""

    def __init__(self, device: str = "cpu", module: AdditiveRanker | None = None) -> None:
        self.device = device
        self.module = (module or AdditiveRanker()).to(device).eval()

    def scores(self, x: Floats, context: Floats) -> npt.NDArray[np.float64]:
        """float64[B, C] for features float32[B, C, F] at the moments float32[B, G], rounded to ROUND decimals: no last
        bit decides an order."""
        with torch.inference_mode():
            return _rounded(self._module(x, context).sum(dim=-1))

    def contributions(self, x: Floats, context: Floats) -> Floats:
        """What each feature adds to the score; the shape of `x`, [B, K, F]."""
        with torch.inference_mode():
            return self._module(x, context).cpu().numpy()

    def scored(self, x: Floats, context: Floats) -> tuple[npt.NDArray[np.float64], Floats]:
        """Both at once: of a few queries the calls of torch cost more than the arithmetic."""
        with torch.inference_mode():
            parts = self._module(x, context)
            return _rounded(parts.sum(dim=-1)), parts.cpu().numpy()

    @property
    def weights(self) -> Floats:
        """float32[G, F]: all of its weights."""
        weights: Floats = self.module.weight.detach().cpu().numpy()
        return weights

    def weights_at(self, context: Floats) -> Floats:
        """float32[F]: the weights of a moment, float32[G]."""
        weights: Floats = (context[:, None] * self.weights).sum(axis=0)
        return weights

    def _module(self, x: Floats, context: Floats) -> torch.Tensor:
        there = torch.from_numpy(x).to(self.device, non_blocking=True)
        out: torch.Tensor = self.module(there, torch.from_numpy(context).to(self.device, non_blocking=True))
        return out


def _rounded(sums: torch.Tensor) -> npt.NDArray[np.float64]:
    rounded: npt.NDArray[np.float64] = sums.cpu().numpy().astype(np.float64).round(ROUND)
    return rounded
