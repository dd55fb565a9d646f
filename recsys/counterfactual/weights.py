"""Weights: how much likelier the target was than the log to make a slate, by what a reward may depend on.

`slate`: on all places (Horvitz & Thompson 1952, on whole slates); `cascade`: on its own place and those above it, the
reward interaction of McInerney et al. 2020 (RIPS); `independent`: on its own place alone (the item-position model of
Li et al. 2018). The fewer, the smaller the weights and the stronger the assumption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsys.counterfactual.slates import Floats, Logged, Target

Assume = Literal["slate", "cascade", "independent"]
ASSUMPTIONS: tuple[Assume, ...] = ("slate", "cascade", "independent")


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far the log speaks of what the target does, by place [K].

    mean_weight: 1 where the log had a chance to show whatever the target shows; standard errors of it beside.
    ess: Kish's effective sample size. largest: the share of the heaviest slate. agreement: the target's mean chance of
    what was logged. drawn: the share of logged items that chance could have replaced. clipped: the share of weights
    that were cut.
    """

    mean_weight: Floats
    mean_weight_error: Floats
    ess: Floats
    largest: Floats
    agreement: Floats
    drawn: float
    clipped: float


def weights_of(logged: Logged, target: Target, assume: Assume) -> Floats:
    """float64[n, K]: the weight of the reward at each place."""
    ratio = target.shares / logged.propensities
    if assume == "independent":
        return ratio
    product: Floats = np.cumprod(ratio, axis=1, dtype=np.float64)
    return product if assume == "cascade" else np.broadcast_to(product[:, -1:], product.shape).copy()


def overlap_of(logged: Logged, target: Target, raw: Floats, clip: float | None) -> Overlap:
    """The diagnostics of unclipped weights `raw` [n, K]."""
    total, square = raw.sum(axis=0), (raw**2).sum(axis=0)
    n = max(len(raw), 1)
    some = np.maximum(total, 1e-300)
    mean = total / n
    there = logged.items >= 0
    return Overlap(
        mean,
        np.sqrt(np.maximum(square / n - mean**2, 0) / n),
        np.where(total > 0, total**2 / np.maximum(square, 1e-300), 0.0),
        np.where(total > 0, raw.max(axis=0, initial=0) / some, 0.0),
        target.shares.mean(axis=0),
        float((logged.propensities[there] < 1).mean()) if there.any() else 0.0,
        float((raw > clip).mean()) if clip is not None else 0.0,
    )
