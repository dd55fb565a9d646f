"""Evaluate: the logging policy's reward per recommendation, the target's by each estimator, and what to think of it.

Estimators of the target's reward, each a sum over places (w: the weight of a place, r: its reward, q: a model's guess):

* ips      mean(w r)                         Horvitz & Thompson 1952; unbiased where the log could show all
* snips    mean(w r) / mean(w)               Swaminathan & Joachims 2015; a little biased, much steadier
* dr       mean(q_target + w (r - q_logged)) Dudik et al. 2011, 2014; right if the propensities or the model are
* model    mean(q_target)                    the direct method; no interval, since nothing here measures its error

Which places a weight spans is the assumption, see `recsys.counterfactual.weights`; ips under `cascade` is the RIPS of
McInerney et al. 2020. The difference to the log is estimated from the same slates, so its interval is narrower than
those of its two sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.counterfactual.intervals import Estimate, Method, Ratios, estimate
from recsys.counterfactual.model import FOLDS, fitted
from recsys.counterfactual.slates import Floats, Logged, Target
from recsys.counterfactual.verdict import warnings_of
from recsys.counterfactual.weights import Assume, Overlap, overlap_of, weights_of


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`logging` and `target` (by estimator) in reward per recommendation; `lift`: target minus logging.

    `ess` is the least effective sample size of any place; `warnings` are sentences; `answerable` is False where the log
    cannot answer, whatever the figures.
    """

    slates: int
    users: int
    assume: Assume
    logging: Estimate
    target: dict[str, Estimate]
    lift: dict[str, Estimate]
    overlap: Overlap
    ess: float
    warnings: list[str]
    answerable: bool


def evaluate(
    logged: Logged,
    target: Target,
    *,
    assume: Assume = "cascade",
    clip: float | None = None,
    level: float = 0.95,
    method: Method = "normal",
    guesses: tuple[Floats, Floats] | None = None,
    folds: int = FOLDS,
) -> Evaluation:
    """What `target` would have earned where `logged` stood.

    `clip`: weights are cut there; less variance, and an error towards too little. `guesses`: a model's own guesses of
    (what was logged, what the target shows), float64[n, K] each; without it the ridge model of `recsys.counterfactual.
    model` is cross-fitted over `folds`. Raises ValueError for a log without a slate, or shapes that differ.
    """
    if not len(logged):
        raise ValueError("the log holds no recommendation to learn from")
    if target.shares.shape != logged.items.shape:
        raise ValueError("the target should have a share for every place of the log")
    raw = weights_of(logged, target, assume)
    weights = raw if clip is None else np.minimum(raw, clip)
    of_logged, of_target = guesses if guesses is not None else fitted(logged, target.items, folds)
    r, one = logged.rewards, np.ones_like(raw)
    floor = 0.0 if r.min(initial=0) >= 0 else None
    here = Ratios(r, one)
    ways = {
        "ips": Ratios(weights * r, one),
        "snips": Ratios(weights * r, weights),
        "dr": Ratios(weights * (r - of_logged) + of_target, one),
    }
    logging = estimate(here, logged.users, level=level, method=method, floor=floor)
    values = {name: estimate(way, logged.users, level=level, method=method, floor=floor) for name, way in ways.items()}
    lifts = {name: estimate(way.minus(here), logged.users, level=level, method=method) for name, way in ways.items()}
    guess = float(of_target.sum(axis=1).mean())
    values["model"] = Estimate(guess, np.nan, np.nan, np.nan)
    overlap = overlap_of(logged, target, raw, clip)
    users = len(np.unique(logged.users))
    warnings, answerable = warnings_of(logged, target, overlap, users, clip)
    return Evaluation(
        len(logged), users, assume, logging, values, lifts, overlap, float(overlap.ess.min()), warnings, answerable
    )
