"""Ranker: features to scores, for the whole block's candidates in one pass, on CPU or GPU.

An additive model in torch: each feature times its weight, summed. So a score falls apart into its features without
approximation, and a reason is a part of the score. Its prior weights rank sensibly before any training; the learner
trains the same module and ships its state as a release.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from recsys.features import FEATURES

ROUND = 5
"""Decimals of a score: coarser than what another block shape or device changes, finer than what matters."""
Floats = npt.NDArray[np.float32]


class AdditiveRanker(torch.nn.Module):
    """contributions[..., f] = weight[f] * x[..., f]; the score is their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([f.weight for f in FEATURES], dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


class Ranker:
    """Scores numpy blocks with a module on one device ("cpu" or "cuda")."""

    def __init__(self, device: str = "cpu", module: AdditiveRanker | None = None) -> None:
        self.device = device
        self.module = (module or AdditiveRanker()).to(device).eval()

    def scores(self, x: Floats) -> npt.NDArray[np.float64]:
        """float64[B, C] for features float32[B, C, F], rounded to ROUND decimals: no last bit decides an order."""
        with torch.inference_mode():
            out = self.module(torch.from_numpy(x).to(self.device, non_blocking=True)).sum(dim=-1)
            return np.round(out.cpu().numpy().astype(np.float64), ROUND)

    def contributions(self, x: Floats) -> Floats:
        """What each feature adds to the score; same shape as `x` (any leading shape, F last)."""
        with torch.inference_mode():
            return self.module(torch.from_numpy(x).to(self.device)).cpu().numpy()
