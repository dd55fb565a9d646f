"""Compare: the log against a target, which is another file of recommendations on the same events, or built in.

A target from a file has to be made without exploration: its draws come from the ids of the same events as the log's, so
they would agree with the log's draws by construction and not by chance, and no weight could make that good.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys.counterfactual.evaluate import Evaluation, evaluate
from recsys.counterfactual.intervals import Estimate, Method
from recsys.counterfactual.slates import Logged, Target, exploring, ranking
from recsys.counterfactual.weights import Assume
from streams.outcomes.gather import Outcomes, slates_of
from streams.records.files import Unreadable

BUILT_IN = {"no-exploration": 0.0, "half-exploration": 0.5, "double-exploration": 2.0}
"""Targets that need no second file: the policy of the log, with its exploration times this."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to compare, and how."""

    target: str
    assume: Assume = "cascade"
    clip: float | None = None
    level: float = 0.95
    method: Method = "normal"
    exploration: float = 0.0  # the most that the log was made with


def compared(outcomes: Outcomes, question: Question, records: Iterable[bytes] | None) -> tuple[Evaluation, list[str]]:
    """The evaluation, and notes on what was left out. `records`: those of the target's file, if it is not built in.

    Raises Unreadable where there is nothing to compare, or the target was made with exploration.
    """
    logged, notes = outcomes.logged, list(outcomes.notes)
    if not len(logged):
        raise Unreadable("There is not one recommendation with items to learn from.")
    if records is None:
        target = exploring(logged, BUILT_IN[question.target], question.exploration)
    else:
        logged, target = _matched(outcomes, records, question.target, notes)
    found = evaluate(
        logged, target, assume=question.assume, clip=question.clip, level=question.level, method=question.method
    )
    return found, notes


def _matched(outcomes: Outcomes, records: Iterable[bytes], name: str, notes: list[str]) -> tuple[Logged, Target]:
    try:
        ids, items, chance = slates_of(records, outcomes.item_codes)
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable(
            f"{name}: expected recommendations, one a line, as `headwater replay --out` writes ({error})"
        ) from None
    if (chance < 1).any():
        raise Unreadable(
            f"{name}: was made with exploration, which draws alike in both files. Make it again without: "
            "HEADWATER_POLICY__EXPLORATION=0 headwater replay ... --out FILE"
        )
    row_of = {rec_id: n for n, rec_id in enumerate(ids)}
    rows = np.array([row_of.get(rec_id, -1) for rec_id in outcomes.rec_ids], np.int64)
    both = np.flatnonzero(rows >= 0)
    if not len(both):
        raise Unreadable(
            f"{name}: has no recommendation of the log in it (by rec_id). Is it a replay of the same events?"
        )
    if len(both) < len(rows):
        notes.append(f"{len(rows) - len(both):,} recommendations of the log are not in {name} and are left out")
    width = max(outcomes.logged.items.shape[1], items.shape[1])
    old = outcomes.logged

    def wide(x: Any, fill: float) -> Any:
        return np.pad(x, ((0, 0), (0, width - x.shape[1])), constant_values=fill)

    logged = Logged(
        old.users[both], wide(old.items[both], -1), wide(old.rewards[both], 0), wide(old.propensities[both], 1)
    )
    return logged, ranking(logged, wide(items[rows[both]], -1))


def as_json(found: Evaluation, question: Question, notes: list[str]) -> dict[str, Any]:
    """What --json prints; null where there is no figure."""
    overlap = found.overlap
    return {
        "target": question.target,
        "assume": found.assume,
        "level": question.level,
        "recommendations": found.slates,
        "users": found.users,
        "logging": one(found.logging),
        "estimates": {
            name: one(value) | {"difference": one(found.lift[name])} if name in found.lift else one(value)
            for name, value in found.target.items()
        },
        "ess": _number(found.ess),
        "overlap": {
            "mean_weight": [_number(x) for x in overlap.mean_weight],
            "ess": [_number(x) for x in overlap.ess],
            "largest": [_number(x) for x in overlap.largest],
            "agreement": [_number(x) for x in overlap.agreement],
            "drawn": _number(overlap.drawn),
            "clipped": _number(overlap.clipped),
        },
        "answerable": found.answerable,
        "warnings": found.warnings,
        "notes": notes,
    }


def one(value: Estimate) -> dict[str, float | None]:
    """An estimate as JSON has it."""
    parts = {"value": value.value, "low": value.low, "high": value.high, "error": value.error}
    return {name: _number(part) for name, part in parts.items()}


def _number(x: Any) -> float | None:
    return round(float(x), 6) if np.isfinite(x) else None
