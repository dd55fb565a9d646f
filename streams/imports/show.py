"""A progress bar on standard error: how much of each file is read, rows so far, rows a second, time left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from streams.imports.faults import Faults
from streams.imports.run import Track
from streams.imports.sources import Source
from streams.imports.write import Numbered

SHOW_EVERY = 2_000  # rows between two looks at the clock


@contextmanager
def tracking(faults: Faults) -> Iterator[Track]:
    """Shows files while the block runs; where standard error is no terminal, nothing. Faults are said above the bar."""
    err = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f}/s"), TimeRemainingColumn(),
    )  # fmt: skip
    if not err.is_terminal:
        yield lambda records, _: records
        return
    with Progress(*columns, console=err) as bars:
        faults.say = lambda line: bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

        def track(records: Numbered, source: Source) -> Iterator[tuple[str, int, dict[str, Any]]]:
            task = bars.add_task(source.name, total=source.size, rows=0, rate=0.0)
            begun, rows = time.monotonic(), 0
            for rows, record in enumerate(records, 1):
                yield record
                if rows % SHOW_EVERY == 0:
                    seconds = max(time.monotonic() - begun, 1e-9)
                    bars.update(task, completed=source.done, rows=rows, rate=rows / seconds)
            seconds = max(time.monotonic() - begun, 1e-9)
            bars.update(task, completed=source.size, rows=rows, rate=rows / seconds)

        yield track
