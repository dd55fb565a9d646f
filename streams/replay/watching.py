"""A bar on standard error while a replay runs: how far it is, how fast, and how long it will take."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from streams.records.files import Source

_SHOW_S = 0.1


@dataclass(slots=True)
class Watch:
    """One task after the other; nothing moves where standard error is no terminal."""

    bars: Progress
    _task: TaskID | None = None
    _position: Callable[[], int] = lambda: 0
    _begun: float = 0.0
    _shown: float = 0.0

    def say(self, line: str) -> None:
        if self.bars.console.is_terminal:
            self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def task(self, name: str, total: int | None, position: Callable[[], int]) -> None:
        """From now on this is what the bar shows."""
        if self._task is not None:
            self.bars.remove_task(self._task)
        self._task, self._position = self.bars.add_task(name, total=total, rate=""), position
        self._begun = time.monotonic()

    def file(self, source: Source) -> None:
        """From now on the bar shows how much of this file is read."""
        self.task(source.name, source.size, source.position)

    def tick(self, done: int = 0) -> None:
        """Shows where it stands; `done`: events so far."""
        now = time.monotonic()
        if self._task is None or now - self._shown < _SHOW_S:
            return
        self._shown = now
        rate = f"{done / (now - self._begun):,.0f}/s" if done and now > self._begun else ""
        with contextlib.suppress(ValueError):  # the file has been read and closed
            self.bars.update(self._task, completed=self._position(), rate=rate)

    def steps(self, name: str) -> Callable[[int, int], None]:
        """For work that counts itself: call it with (done, of how many)."""
        at = 0

        def told(done: int, total: int) -> None:
            nonlocal at
            at = done
            if done == 0:
                self.task(name, total, lambda: at)
            self.tick()

        return told


@contextmanager
def watching() -> Iterator[Watch]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield Watch(bars)
