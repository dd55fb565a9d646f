"""A progress bar on standard error: how much of each file is read, records sent, and the rate."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
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
)

from streams.records.files import Row, Source
from streams.records.send import Tally

SHOW_EVERY = 256  # rows between two looks at the clock
SHOW_S = 0.1


@dataclass(slots=True)
class Bar:
    """Shows one file after the other."""

    bars: Progress

    def say(self, line: str) -> None:
        """A line above the bar, or just a line where there is none."""
        if self.bars.console.is_terminal:
            self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr)

    def track(self, source: Source, tally: Tally) -> Iterator[Row]:
        """The rows of `source`, shown as they go by."""
        task = self.bars.add_task(source.name, total=source.size, sent=0, rate=0.0)
        begun, before, shown = time.monotonic(), tally.sent, 0.0
        for number, row in enumerate(source.rows):
            yield row
            if number % SHOW_EVERY == 0 and (now := time.monotonic()) - shown > SHOW_S:
                shown = now
                self._show(task, source.position(), tally.sent - before, now - begun)
        self._show(task, source.size, tally.sent - before, time.monotonic() - begun)

    def _show(self, task: TaskID, position: int | None, sent: int, seconds: float) -> None:
        self.bars.update(task, completed=position, sent=sent, rate=sent / seconds if seconds > 0 else 0.0)


@contextmanager
def progress() -> Iterator[Bar]:
    """A bar while the block runs; nothing moves where standard error is not a terminal."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[sent]:,} sent, {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
    )
    err = Console(stderr=True)
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        yield Bar(bars)
