"""Verdict: whether the log can answer at all, in plain words.

Figures come out of any log; these rules say when not to believe them. Missing overlap shows in the mean weight: it is 1
where the log had a chance to show whatever the target shows, and lower by the share of cases in which it had none.
"""

from __future__ import annotations

import numpy as np

from recsys.counterfactual.slates import Logged, Target
from recsys.counterfactual.weights import Overlap

LOW_MEAN = 0.1
"""How far the mean weight may lie from 1, unless chance explains more."""
FEW = 50.0
"""An effective sample below this carries no interval."""
HEAVY = 0.1
"""One slate should not weigh more than this share of all."""
FEW_USERS = 30


def warnings_of(
    logged: Logged, target: Target, overlap: Overlap, users: int, clip: float | None
) -> tuple[list[str], bool]:
    """(sentences, whether the log can answer)."""
    said: list[str] = []
    differs = bool((target.shares < logged.propensities - 1e-9).any())
    mean = float(overlap.mean_weight.mean())
    ess, heaviest = float(overlap.ess.min(initial=len(logged))), float(overlap.largest.max(initial=0))
    noise = 2 * float(overlap.mean_weight_error.mean())
    blocked = False
    if differs and overlap.drawn == 0:
        blocked = True
        said.append(
            "The log holds no chance: every item had propensity 1, so it says nothing about items that were not shown. "
            "Serve with exploration above 0 for a while, then ask again."
        )
    elif mean < 1 - max(LOW_MEAN, noise):
        blocked = True
        said.append(
            f"The log overlaps too little with the target: its weights average {mean:.2f} where 1 is due, so in about "
            f"{1 - mean:.0%} of the places the log had next to no chance of showing what the target shows. IPS counts "
            "nothing there, SNIPS assumes that these places are like the others, DR trusts its model."
        )
    elif mean > 1 + max(LOW_MEAN, noise):
        blocked = True
        said.append(
            f"The weights average {mean:.2f} where 1 is due: the propensities are not those of this log, or the target "
            "was drawn with the same dice as the log."
        )
    if ess < FEW and len(logged) >= FEW:
        blocked = True
        said.append(
            f"The answer rests on as much as {ess:.0f} of {len(logged):,} recommendations tell: the target mostly does "
            "what the log rarely did. No interval is to be trusted here; log more, explore more, or compare live."
        )
    if heaviest > HEAVY and not blocked:
        said.append(f"A single recommendation carries {heaviest:.0%} of all weight at some place: expect jumps.")
    if users < FEW_USERS:
        said.append(f"{users} users are few: intervals are over users, and need some {FEW_USERS} of them.")
    if overlap.clipped > 0:
        said.append(
            f"{overlap.clipped:.1%} of the weights were cut at {clip:g}: rewards behind them count too little, "
            "in IPS most of all."
        )
    if not np.any(logged.rewards):
        said.append("No reward was found: no later interaction belongs to any of these recommendations.")
        blocked = True
    return said, not blocked
