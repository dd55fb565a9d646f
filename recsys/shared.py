"""Shared features: what is the same of an item for everybody, worked out once a World and not once a ranking.

In: columns by catalogue row. Out: float32[rows, len(SHARED)], lines of `recsys.features.FEATURES` that stand together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.decay import WINDOWS_DAYS
from recsys.features import FEATURES, INDEX

Floats = npt.NDArray[np.float32]
FRESH_DAYS = 20
_FIRST = INDEX["popularity_day"]
_MANY = 2 * len(WINDOWS_DAYS) + 3
PLACES = slice(_FIRST, _FIRST + _MANY)
"""Where they stand in the feature table."""
SHARED = tuple(feature.name for feature in FEATURES)[PLACES]


def shared_features(popularity: Floats, weights: Floats, age_days: Floats) -> Floats:
    """`popularity` [rows, windows] shares of the most popular; `weights` [rows, windows] decayed; `age_days` [rows],
    nan for what nobody has touched."""
    untouched = np.isnan(age_days)
    age = np.where(untouched, np.inf, age_days)
    young = [np.maximum(1 - np.log1p(age) / 9, 0), np.exp2(-age / FRESH_DAYS), untouched]
    log = np.log1p(weights / np.float32(0.02)) / np.float32(12)
    return np.concatenate([popularity, log, np.stack(young, axis=1)], axis=1, dtype=np.float32)
