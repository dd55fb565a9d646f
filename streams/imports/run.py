"""Run: the records of a layout -> the two files, and a summary of what became of the rows.

In: a `Layout`, which every importer makes. Out: `items.jsonl` and `events.jsonl` in a folder; both appear together at
the end, so that an import that fails or is interrupted leaves nothing half done, and what stood there stays.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from streams.imports.faults import Faults
from streams.imports.sources import Source
from streams.imports.write import Numbered, write_events, write_items
from streams.records.files import Unreadable

Track = Callable[[Numbered, Source], Numbered]
"""Shows progress while records go by."""


@dataclass(slots=True)
class Layout:
    """What an importer found: tables, each a source and its records. `fill`: every item of an event becomes an item."""

    items: Sequence[tuple[Source, Numbered]]
    events: Sequence[tuple[Source, Numbered]]
    fill: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Summary:
    """Counts of an import. `unknown`: events on items that have no row; `filled`: items made from events."""

    items: int = 0
    events: int = 0
    filled: int = 0
    unknown: int = 0
    malformed: dict[str, int] = field(default_factory=dict)
    latin1: dict[str, int] = field(default_factory=dict)
    truncated: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def said(self) -> list[str]:
        """In lines for a person."""
        bad = sum(self.malformed.values())
        out = [
            f"{self.items:,} items, {self.events:,} events in {self.seconds:.1f} s; "
            f"{bad:,} malformed row{'' if bad == 1 else 's'} left out"
        ]
        if bad:
            out += [f"  {name}: {count:,} malformed" for name, count in self.malformed.items()]
        out += [
            f"{name}: {count:,} lines are not UTF-8 and were read as Latin-1" for name, count in self.latin1.items()
        ]
        if self.filled:
            out.append(f"{self.filled:,} of the items have no row of their own; their id stands for the title")
        if self.unknown:
            out.append(f"{self.unknown:,} events are on items without a row (--fill-items makes items of them)")
        return out


def imported(
    layout: Layout, out: Path, faults: Faults, *, sort: bool = True, track: Track = lambda records, _: records
) -> Summary:
    """Writes both files into `out`, which is made if it is not there.

    Raises Unreadable if there is not one valid event, or (`faults.strict`) at the first malformed row.
    """
    begun = time.monotonic()
    summary = Summary()
    known: set[str] = set()
    missing: dict[str, None] = {}

    def items() -> Iterator[tuple[str, int, dict[str, Any]]]:
        for source, records in layout.items:
            for name, line, record in track(records, source):
                known.add(record.get("item_id", ""))
                yield name, line, record

    def events() -> Iterator[tuple[str, int, dict[str, Any]]]:
        for source, records in layout.events:
            for name, line, record in track(records, source):
                item_id = record.get("item_id", "")
                if item_id not in known:
                    if layout.fill:
                        missing[item_id] = None
                    else:
                        summary.unknown += 1
                yield name, line, record

    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=out) as folder:
            parts = {name: Path(folder) / name for name in ("items.jsonl", "events.jsonl")}
            summary.items = write_items(items(), parts["items.jsonl"], faults)
            summary.events = write_events(events(), parts["events.jsonl"], faults, sort=sort)
            summary.filled = _fill(parts["items.jsonl"], missing)
            summary.items += summary.filled
            if not summary.events:
                raise Unreadable(f"Not one event could be read ({faults.malformed.total():,} malformed rows).")
            for name, part in parts.items():
                os.replace(part, out / name)
    except OSError as error:
        raise Unreadable(f"{out}: {error.strerror or error}. Choose another folder with --out.") from None
    summary.malformed, summary.latin1 = dict(faults.malformed), dict(faults.latin1)
    summary.truncated = list(faults.truncated)
    summary.seconds = time.monotonic() - begun
    return summary


def _fill(path: Path, missing: dict[str, None]) -> int:
    """Items for the ids that only events name, in the order in which they came."""
    count = 0
    with path.open("ab") as file:
        for item_id in missing:
            if 0 < len(item_id) <= 128:
                file.write(orjson.dumps({"item_id": item_id, "title": item_id}, option=orjson.OPT_APPEND_NEWLINE))
                count += 1
    return count
