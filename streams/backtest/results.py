"""Results: what was predicted, in columns on disk, one line an event that was predicted.

In: `Predicted` by block. Out: arrays to measure, and the lines of a predictions file. Written in place, so that a run
that goes on after an interruption writes over what came after its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from recsys.backtest.log import OTHER, Log
from recsys.backtest.protocol import Predicted

_TOLD = 1024


class Results:
    """One policy's columns: `rank` int32[m], `top` int32[m, k], and int8[m] a stage."""

    def __init__(self, folder: Path, events: int, k: int) -> None:
        self._folder, self._events = folder, events
        folder.mkdir(parents=True, exist_ok=True)
        self.rank = self._column("rank", "<i4", (events,), 0)
        self.top = self._column("top", "<i4", (events, k), -1)
        self.stages: dict[str, NDArray[Any]] = {}
        for path in sorted(folder.glob("stage-*.npy")):
            self.stages[path.stem.removeprefix("stage-")] = np.load(path, mmap_mode="r+")

    def _column(self, name: str, dtype: str, shape: tuple[int, ...], blank: int) -> NDArray[Any]:
        path = self._folder / f"{name}.npy"
        if path.exists():
            held: NDArray[Any] = np.load(path, mmap_mode="r+")
            if held.shape == shape:
                return held
        made: NDArray[Any] = open_memmap(path, "w+", dtype, shape)
        made[:] = blank
        return made

    def write(self, at: int, predicted: Predicted) -> None:
        """The block whose first predicted event is number `at`."""
        part = slice(at, at + len(predicted.rank))
        self.rank[part], self.top[part] = predicted.rank, predicted.top
        for name, column in predicted.stages.items():
            if name not in self.stages:
                self.stages[name] = self._column(f"stage-{name}", "|i1", (self._events,), -1)
            self.stages[name][part] = column

    def flush(self) -> None:
        for column in (self.rank, self.top, *self.stages.values()):
            if isinstance(column, np.memmap):
                column.flush()


def predicted_places(log: Log, cut: int) -> NDArray[np.int64]:
    """int64[m]: places in the log of the events that are predicted."""
    return np.flatnonzero(np.asarray(log.columns.row[cut:]) != OTHER) + cut


def prediction_lines(
    log: Log, places: NDArray[np.int64], top: NDArray[Any], ids: Sequence[str], passed: Callable[[int], None]
) -> Iterator[bytes]:
    """A line for every predicted event, in the order of the log: what `--predictions` writes."""
    for at in range(0, len(places), _TOLD):
        part = places[at : at + _TOLD]
        events = log.read(int(part[0]), int(part[-1]) + 1)
        for place, shown in zip(part.tolist(), top[at : at + _TOLD].tolist(), strict=True):
            event: Any = events[place - int(part[0])]
            yield orjson.dumps(
                {"event_id": event.event_id, "user_id": event.user_id, "item_id": event.item_id,
                 "top": [ids[row] for row in shown if row >= 0]}
            ) + b"\n"  # fmt: skip
        passed(at + len(part))
