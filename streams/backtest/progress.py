"""Progress of a backtest on standard error: a bar with the time that is left, or a line now and then.

In: how far each task is. Out: a bar where standard error is a terminal; elsewhere a line every half minute, so that a
log file tells how it goes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

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

_BAR_S, _LINE_S = 0.1, 30.0


@dataclass(slots=True)
class Watch:
    """One task after the other."""

    bars: Progress
    _task: TaskID | None = None
    _name: str = ""
    _total: int | None = None
    _first: int = 0
    _begun: float = 0.0
    _shown: float = field(default_factory=time.monotonic)

    def say(self, line: str) -> None:
        """A line above the bar, or just a line where there is none."""
        if self.bars.console.is_terminal:
            self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def task(self, name: str, total: int | None, done: int = 0) -> None:
        """From now on this is what is shown. `done`: what an earlier run did of it."""
        if self._task is not None:
            self.bars.remove_task(self._task)
        self._task = self.bars.add_task(name, total=total, completed=done)
        self._name, self._total, self._first, self._begun = name, total, done, time.monotonic()

    def at(self, done: int) -> None:
        """How much of the task is done."""
        now = time.monotonic()
        if self._task is None or now - self._shown < (_BAR_S if self.bars.console.is_terminal else _LINE_S):
            return
        self._shown = now
        if self.bars.console.is_terminal:
            self.bars.update(self._task, completed=done)
        elif self._total:
            spent, share = now - self._begun, (done - self._first) / max(1, self._total - self._first)
            left = f", about {_words(spent / share - spent)} left" if share > 0.01 else ""
            self.say(f"{self._name}: {100 * done / self._total:.0f}%{left}")


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@contextmanager
def watching() -> Iterator[Watch]:
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield Watch(bars)
