"""Pace: whether what is about to serve takes longer to compute than what serves.

In: both, and a clock. Out: why it is slower, or nothing. Both do the same fixed work in turns, so that whatever else
the machine does falls on both, and medians are compared. Models of the same shape do the same operations and are not
timed at all: no noise can hold one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from recsys.features import CONTEXT, FEATURES
from recsys.learning.learner import Learnt
from recsys.rank import AdditiveRanker, Ranker
from recsys.sequence import LENGTH

ROUNDS = (5, 15)
"""A first look, and one that has to agree before anything is said."""
LEAST_S = 0.001
"""A difference below this is none, whatever the factor."""
_QUERIES, _CANDIDATES, _ITEMS = 64, 200, 512
Clock = Callable[[], float]
Work = Callable[[], object]


def slower(serving: Learnt, candidate: Learnt, clock: Clock, most: float) -> str | None:
    """Why the candidate's forward pass takes more than `most` times as long as that of what serves; None if it does
    not. `clock`: seconds. A part that only one of them has is not compared."""
    shapes = _shapes(serving), _shapes(candidate)
    parts = [part for part in shapes[0].keys() & shapes[1].keys() if shapes[0][part] != shapes[1][part]]
    if not parts:
        return None
    theirs, own = works(serving), works(candidate)
    for part in sorted(parts):
        if (why := slower_work(theirs[part], own[part], clock, most)) is not None:
            return f"its {part} takes {why}"
    return None


def slower_work(serving: Work, candidate: Work, clock: Clock, most: float) -> str | None:
    """The same of two pieces of work."""
    said = None
    for rounds in ROUNDS:
        usual, own = alternated(serving, candidate, clock, rounds)
        if own <= most * usual or own - usual < LEAST_S:
            return None
        said = f"{1000 * own:.1f} ms where what serves takes {1000 * usual:.1f}"
    return said


def alternated(one: Work, other: Work, clock: Clock, rounds: int) -> tuple[float, float]:
    """Median seconds of each, done in turns; the first turn of each is not counted."""
    took: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for work, seconds in zip((one, other), took, strict=True):
            began = clock()
            work()
            if turn:
                seconds.append(clock() - began)
    return median(took[0]), median(took[1])


def works(learnt: Learnt) -> dict[str, Work]:
    """What a block of rankings asks of each part: a fixed block for the ranker, users of full length for the sequence
    model, and their products with items."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((_QUERIES, _CANDIDATES, len(FEATURES))).astype(np.float32)
    context = np.ones((_QUERIES, len(CONTEXT)), np.float32)
    ranker = Ranker("cpu", AdditiveRanker(learnt.ranker))
    found: dict[str, Work] = {"ranker": lambda: ranker.scores(x, context)}
    model = learnt.sequence
    if model is not None:
        items = rng.standard_normal((_ITEMS, model.dim)).astype(np.float32)
        rows = rng.integers(_ITEMS, size=(_QUERIES, LENGTH)).astype(np.int32)
        idle = np.zeros(_QUERIES, np.int64)
        found["sequence model"] = lambda: model.users(items, rows, idle) @ items.T
    return found


def _shapes(learnt: Learnt) -> dict[str, Any]:
    """What decides which operations a part does."""
    found: dict[str, Any] = {"ranker": learnt.ranker.shape}
    model = learnt.sequence
    if model is not None:
        modules = [(type(part), getattr(part, "num_layers", 1)) for part in model.net.modules()]
        weights = [(name, weight.shape, weight.dtype) for name, weight in model.user_side().items()]
        found["sequence model"] = (type(model), modules, weights)
    return found
