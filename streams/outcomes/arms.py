"""Arms: outcomes of an experiment -> what each arm earned, how they differ, and whether the experiment is sound.

A user who was seen in more than one arm is left out and told: that is a change of salt or shares on the way, or two
systems that deal differently, and their reward belongs to no arm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from recsys.experiments.assign import MAIN
from recsys.experiments.results import (
    ALARM,
    ArmResult,
    Difference,
    Duel,
    SampleRatio,
    arm_results,
    crossed,
    duel,
    sample_ratio,
)
from streams.outcomes.gather import Outcomes
from streams.records.files import Unreadable


@dataclass(slots=True)
class Report:
    """All that `headwater experiment results` says."""

    arms: list[ArmResult]
    differences: list[Difference]
    ratio: SampleRatio | None
    duels: list[Duel]
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def report_of(outcomes: Outcomes, shares: Mapping[str, float] | None, level: float) -> Report:
    """`shares`: of all arms as they were meant, `main` included; None: not known. Raises Unreadable without a slate."""
    logged = outcomes.logged
    if not len(logged):
        raise Unreadable("There is not one recommendation with items to learn from.")
    mixed = crossed(logged.users, outcomes.arms)
    notes, warnings = list(outcomes.notes), []
    if mixed.any():
        left_out = len(np.unique(logged.users[mixed]))
        warnings.append(
            f"{left_out:,} users were seen in more than one arm and are left out. Arms are dealt by user: did the "
            "salt or a share change on the way, or does something else set `arm` too?"
        )
    sound = ~mixed
    users, arms = logged.users[sound], outcomes.arms[sound]
    rewards = logged.rewards[sound].sum(axis=1)
    results, differences = arm_results(users, arms, rewards, outcomes.arm_names, level)
    ratio = None
    if shares is None:
        notes.append(
            "The arms' shares are not known here: name them (--shares main=0.5,new=0.5) to check the sample ratio."
        )
    else:
        ratio = sample_ratio(users, arms, outcomes.arm_names, shares)
    if ratio is not None and ratio.p < ALARM:
        counts = ", ".join(f"{name} {n:,} (due {ratio.expected[name]:,.0f})" for name, n in ratio.counted.items())
        warnings.append(
            f"The arms hold other numbers of users than their shares say: {counts}; chance does this less than once in "
            f"{min(1 / max(ratio.p, 1e-12), 1e12):,.0f} experiments. Users of some arm get lost or are counted twice, "
            "and those are rarely like the others: find out why before believing any difference."
        )
    if not logged.rewards.any():
        warnings.append("No reward was found: no later interaction belongs to any of these recommendations.")
    report = Report(results, differences, ratio, _duels(outcomes, sound), warnings, notes)
    if len(results) < 2 and not report.duels:
        notes.append(
            "There is one arm only, so there is nothing to compare. Arms are a setting: HEADWATER_POLICY__ARMS."
        )
    return report


def _duels(outcomes: Outcomes, sound: Any) -> list[Duel]:
    found = []
    for (first, second), pair in sorted((names, number) for number, names in enumerate(outcomes.pair_names)):
        at = sound & (outcomes.pairs == pair)
        if not at.any():
            continue
        rewards, teams = outcomes.logged.rewards[at], outcomes.teams[at]
        credit = ((teams == 1) * rewards).sum(axis=1) - ((teams == 2) * rewards).sum(axis=1)
        found.append(duel(outcomes.logged.users[at], credit, first, second))
    return found


def shares_in_force(arms: Mapping[str, Any], seen: list[str]) -> dict[str, float] | None:
    """Shares by the settings (`recsys.policy.Policy.arms`), if these are the arms that were seen."""
    if not arms or not {*seen} <= {MAIN, *arms}:
        return None
    shares = {name: float(arm.share) for name, arm in arms.items()}
    return {MAIN: max(0.0, 1 - sum(shares.values())), **shares}


def as_json(report: Report) -> dict[str, Any]:
    """What --json prints; null where there is no figure."""
    return {
        "arms": [_plain(arm) for arm in report.arms],
        "differences": [_plain(difference) for difference in report.differences],
        "sample_ratio": None if report.ratio is None else _plain(report.ratio),
        "interleaving": [_plain(one) for one in report.duels],
        "warnings": report.warnings,
        "notes": report.notes,
    }


def _plain(value: Any) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(value).items()}
