"""Windows: users' visits cut into what a step of training takes, as arrays.

In: paths, for each user the visits (item row, seconds, chunk of popularity), oldest first. Out: windows of at most
LENGTH + 1 of them, which windows a step takes together, and a step's arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.sequence import LENGTH, idle_of

Longs = npt.NDArray[np.int64]
Window = list[tuple[int, int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Of b windows, padded at the end to the n of the longest; all int64[b, n].

    rows    what was visited, 0 where nothing was
    idle    time until the next visit, as of `idle_of`
    target  what was visited next, -1 where that is not to be predicted
    chunk   of popularity, at the next visit
    many    int64[b]: visits of each window that are not padding
    """

    rows: Longs
    idle: Longs
    target: Longs
    chunk: Longs
    many: Longs

    @classmethod
    def of(cls, windows: Sequence[Window], latest: Sequence[int] | None) -> Batch:
        """Of each window only the `latest` places are predicted, where given."""
        longest = max(len(window) for window in windows) - 1
        rows = np.zeros((len(windows), longest), np.int64)
        idle, target, chunk = rows.copy(), rows - 1, rows.copy()
        for line, window in enumerate(windows):
            row, at, when = np.array(window).T
            n = len(window) - 1
            rows[line, :n], idle[line, :n] = row[:-1], idle_of(at[1:] - at[:-1])
            target[line, :n], chunk[line, :n] = row[1:], when[1:]
            if latest is not None:
                target[line, : max(0, n - latest[line])] = -1
        return cls(rows, idle, target, chunk, np.array([len(window) - 1 for window in windows]))


def windows_of(paths: Iterable[Window], visits: int) -> list[Window]:
    """The latest so many visits, in windows that overlap by one; users with a single visit teach nothing."""
    some = [path for path in paths if len(path) > 1]
    times = np.sort(np.array([one[1] for path in some for one in path], np.int64))
    since = int(times[-visits]) if len(times) > visits else -(1 << 62)
    late = [[one for one in path if one[1] >= since] for path in some]
    found = [path[at : at + LENGTH + 1] for path in late for at in range(0, len(path) - 1, LENGTH)]
    return [window for window in found if len(window) > 1]


def parts_of(windows: Sequence[Window], positions: int, random: np.random.Generator) -> list[Longs]:
    """Numbers of windows by step: of about one length, `positions` predictions together, in random order."""
    lengths = np.array([len(window) for window in windows]) - 1
    order = random.permutation(len(windows))
    order = order[np.argsort(lengths[order] // 4, kind="stable")]
    ends = np.cumsum(lengths[order])
    parts = np.split(order, np.searchsorted(ends, np.arange(positions, ends[-1], positions)))
    shuffled = [parts[number] for number in random.permutation(len(parts)).tolist()]
    return [part for part in shuffled if len(part)]
