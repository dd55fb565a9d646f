"""Slates: training examples as choices among what was offered.

In: `schemas.training.TrainingExample` records that carry a label, from the label join. Out: `Choices` for the ranker
lane: the item acted on, what was offered beside it, and the places of both. A negative alone says nothing about an
order and is left out: its item stands beside whatever was chosen of the same recommendation.

The same act is a choice of the whole catalogue, too (`recsys.learning.moments`). That one says what finds the item at
all; this one only what tells it from its neighbours, on which a ranker alone would unlearn likeness: all of a slate is
alike. So it counts by `SHARE`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.actions import weigh
from recsys.features import CONTEXT, FEATURES, INDEX, SCHEMA_VERSION
from recsys.learning.moments import Choices, user_hash
from recsys.policy import Policy
from schemas.training import TrainingExample

MOST_WEIGHT = 3.0
_MOST = 65_504.0  # what a float16 holds: beyond it no feature ever was (`recsys.opened`)
SHARE = 0.1
"""What a choice among a slate counts, beside one of the whole catalogue."""
_MOMENT = {f"moment.{name}": at for at, (name, _) in enumerate(CONTEXT)}


class Left(NamedTuple):
    """Examples that teach nothing, by why: features of another table, or numbers that no feature can be."""

    other_schema: int
    not_finite: int


def sound(examples: Sequence[TrainingExample]) -> tuple[list[TrainingExample], Left]:
    """Those that can be learnt from as far as their features go, and how many cannot. Whether an item is still there
    does not matter: what was chosen is told by its features, as they were."""
    fit = [one for one in examples if one.feature_schema == str(SCHEMA_VERSION)]
    kept = [one for one in fit if all(map(_can_be, (one.features, *(other.features for other in one.beside))))]
    return kept, Left(len(examples) - len(fit), len(fit) - len(kept))


def _can_be(features: Mapping[str, float]) -> bool:
    return all(-_MOST <= value <= _MOST for value in features.values())


def choices_of_slates(examples: Sequence[TrainingExample], policy: Policy) -> Choices | None:
    """The choices of these examples, in their order; None where none of them is one. Examples of another feature
    table are left out."""
    fit = [
        one for one in examples if one.label is not None and one.beside and one.feature_schema == str(SCHEMA_VERSION)
    ]
    weights = [weigh(one.label.action, one.label.value, policy)[1] if one.label else 0.0 for one in fit]
    fit = [one for one, weight in zip(fit, weights, strict=True) if weight]
    if not fit:
        return None
    width = 1 + max(len(one.beside) for one in fit)
    x = np.zeros((len(fit), width, len(FEATURES)), np.float32)
    position = np.zeros((len(fit), width), np.int64)
    context = np.zeros((len(fit), len(CONTEXT)), np.float32)
    for line, one in enumerate(fit):
        _fill(x[line, 0], one.features)
        position[line, 0] = one.position
        context[line, [at for name, at in _MOMENT.items() if one.features.get(name)]] = 1
        for place, other in enumerate(one.beside, 1):
            _fill(x[line, place], other.features)
            position[line, place] = other.position
    there = position > 0
    return Choices(
        x, context, there, np.zeros(there.shape, np.float32), np.zeros(len(fit), np.int64),
        weight=np.clip(np.array([w for w in weights if w], np.float32), -MOST_WEIGHT, MOST_WEIGHT) * np.float32(SHARE),
        position=position, users=np.array([user_hash(one.user_id) for one in fit], np.uint64),
    )  # fmt: skip


def _fill(line: npt.NDArray[np.float32], features: Mapping[str, float]) -> None:
    for name, value in features.items():
        at = INDEX.get(name)
        if at is not None:
            line[at] = value
