"""Repeats: how often a user has turned to an item within a window of the log's time, in bounded memory.

In: user and item of each interaction, and the log's time as it moves. Out: how often the same was seen before. What is
remembered is remembered for one to two windows, or less where there is too much of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NONE: dict[int, int] = {}


class Repeats:
    """`window_ms` in ms of the log's time; `pairs`: of user and item, kept at most."""

    def __init__(self, window_ms: int, pairs: int) -> None:
        self._window_ms, self._most = window_ms, pairs // 2
        self._pairs: dict[int, dict[int, int]] = {}  # user -> item -> interactions, since `_turned`
        self._before: dict[int, dict[int, int]] = {}
        self._turned = 0
        self._held = 0  # pairs in `_pairs`

    def begin(self, now: int) -> None:
        """The log's first time, ms."""
        self._turned = now

    def moved(self, now: int) -> None:
        """The log's time is now `now`, ms."""
        passed = now - self._turned
        if passed >= self._window_ms:
            self._turn(now)
            if passed >= 2 * self._window_ms:
                self._before = {}

    def again(self, user: int, item: int) -> int:
        """How often the user had turned to the item before; this time counts from now on."""
        items = self._pairs.get(user)
        if items is None:
            items = self._pairs[user] = {}
        times = items.get(item, 0)
        if not times:
            self._held += 1
        items[item] = times + 1
        return times + self._before.get(user, _NONE).get(item, 0)

    def tidy(self, now: int) -> None:
        """Keeps within bounds."""
        if self._held > self._most:
            self._turn(now)

    def forget(self, user: int) -> None:
        self._held -= len(self._pairs.pop(user, _NONE))
        self._before.pop(user, None)

    def _turn(self, now: int) -> None:
        self._before, self._pairs = self._pairs, {}
        self._held, self._turned = 0, now

    def dump(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The whole state as arrays uint64[n, 3] (user, item, times) and a dict for JSON."""
        arrays = {"pairs": _flat(self._pairs), "pairs_before": _flat(self._before)}
        return arrays, {"_turned": self._turned, "_held": self._held}

    def restore(self, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Takes back what `dump` gave."""
        self._pairs, self._before = _nested(arrays["pairs"]), _nested(arrays["pairs_before"])
        self._turned, self._held = meta["_turned"], meta["_held"]


def _flat(pairs: dict[int, dict[int, int]]) -> NDArray[np.uint64]:
    rows = [(user, item, items[item]) for user, items in sorted(pairs.items()) for item in sorted(items)]
    return np.array(rows, np.uint64).reshape(-1, 3)


def _nested(rows: NDArray[np.uint64]) -> dict[int, dict[int, int]]:
    pairs: dict[int, dict[int, int]] = {}
    for user, item, times in rows.tolist():
        pairs.setdefault(user, {})[item] = times
    return pairs
