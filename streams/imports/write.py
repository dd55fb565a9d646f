"""Write: records of an import -> `items.jsonl` and `events.jsonl`, checked against our schemas, events in time order.

In: (line, record) pairs. Out: one JSON object a line, keys sorted. Events are sorted by ts, and stand in the order of
the file where stamps are equal: blocks of `BLOCK` bytes are sorted in memory, appended while they go on from the last
one and begun anew as another run where not, and the runs are merged at the end. So memory is bounded, and a log that is
in order already is written once.
"""

from __future__ import annotations

import heapq
import os
import sys
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import BaseModel, ValidationError

from schemas.events import InteractionRecord
from schemas.items import Item
from schemas.wire import MAX_TS
from streams.imports.faults import Faults

BLOCK = 64 << 20
"""Bytes of events sorted at once."""
FAN_IN = 200
"""Runs merged at once: each holds two files open."""
Numbered = Iterable[tuple[str, int, dict[str, Any]]]
"""(file, line, record)."""


def problem_of(error: ValidationError) -> str:
    """The first thing wrong, as `field: what was expected`."""
    first = error.errors(include_url=False, include_input=False)[0]
    said = first["msg"].replace("Input should be", "expected").replace("Input should have", "expected")
    return f"{'.'.join(map(str, first['loc'])) or '(row)'}: {said}"


def checked(records: Numbered, faults: Faults, model: type[BaseModel]) -> Iterator[tuple[int, bytes]]:
    """(ts or 0, JSON) of each record that is a valid `model`; the others become faults."""
    validate = model.__pydantic_validator__.validate_python
    for name, line, record in records:
        ts = record.get("ts", 0)
        try:
            validate(record)
            data = orjson.dumps(record, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
        except ValidationError as error:
            faults.row(name, line, problem_of(error))
            continue
        except TypeError as error:
            faults.row(name, line, f"(row): expected what JSON can hold ({error})")
            continue
        if abs(ts) > MAX_TS:
            faults.row(name, line, "ts: expected milliseconds that a JSON number holds; is the unit of time right?")
            continue
        yield ts, data


def write_items(records: Numbered, path: Path, faults: Faults) -> int:
    """Writes items as they come; how many."""
    count = 0
    with path.open("wb") as file:
        for _, line in checked(records, faults, Item):
            file.write(line)
            count += 1
    return count


def write_events(records: Numbered, path: Path, faults: Faults, *, sort: bool = True, block: int = BLOCK) -> int:
    """Writes events in order of time (or as they come, if not `sort`); how many."""
    count = 0
    held = _Block()
    with tempfile.TemporaryDirectory(prefix=".import-", dir=path.parent) as folder:
        runs = _Runs(Path(folder))
        for ts, line in checked(records, faults, InteractionRecord):
            held.add(ts if sort else 0, line)
            count += 1
            if len(held.lines) > block:
                runs.add(held)
                held = _Block()
        runs.add(held)
        os.replace(runs.finish(), path)
    return count


class _Block:
    """Lines end to end in one piece of memory (as many small objects they would take ten times as much)."""

    def __init__(self) -> None:
        self.lines = bytearray()
        self.ends = array("q")
        self.stamps = array("q")

    def add(self, ts: int, line: bytes) -> None:
        self.lines += line
        self.ends.append(len(self.lines))
        self.stamps.append(ts)

    def in_order(self) -> tuple[Iterator[bytes | memoryview], npt.NDArray[np.int64]]:
        """Lines by stamp, and the stamps; equal ones stay as they came."""
        stamps, ends = np.frombuffer(self.stamps, np.int64), np.frombuffer(self.ends, np.int64)
        if (stamps[1:] >= stamps[:-1]).all():
            return iter((memoryview(self.lines),)), stamps
        order = np.argsort(stamps, kind="stable")
        begins = np.concatenate([[0], ends[:-1]])
        whole = memoryview(self.lines)
        return (whole[a:b] for a, b in zip(begins[order].tolist(), ends[order].tolist(), strict=True)), stamps[order]


class _Runs:
    """Sorted runs on disk: the lines, and beside them their stamps as int64."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: list[Path] = []
        self._last = 0
        self._made = 0

    def add(self, held: _Block) -> None:
        """Sorts `held` and puts it behind the last run, or into a new one if that ends later than it begins."""
        if not held.lines:
            return
        lines, stamps = held.in_order()
        if not self._names or stamps[0] < self._last:
            if len(self._names) >= FAN_IN:
                self._names = [self._merged(self._names)]
            self._names.append(self._new())
        with self._names[-1].open("ab") as into, _stamps(self._names[-1]).open("ab") as beside:
            into.writelines(lines)
            stamps.tofile(beside)
        self._last = int(stamps[-1])

    def finish(self) -> Path:
        """One file of all lines in order."""
        if not self._names:
            empty = self._new()
            empty.touch()
            return empty
        return self._names[0] if len(self._names) == 1 else self._merged(self._names)

    def _new(self) -> Path:
        self._made += 1
        return self._folder / f"{self._made}.jsonl"

    def _merged(self, names: list[Path]) -> Path:
        into = self._new()
        with into.open("wb") as lines, _stamps(into).open("wb") as stamps:
            # equal stamps: heapq takes the earlier run first, and runs are in the order of the log
            for ts, line in heapq.merge(*(_run(name) for name in names), key=itemgetter(0)):
                lines.write(line)
                stamps.write(ts.to_bytes(8, sys.byteorder, signed=True))
        for name in names:
            name.unlink()
            _stamps(name).unlink()
        return into


def _stamps(name: Path) -> Path:
    return name.with_suffix(".ts")


def _run(name: Path) -> Iterator[tuple[int, bytes]]:
    with name.open("rb") as lines, _stamps(name).open("rb") as stamps:
        while True:
            some = _read(stamps)
            if not some:
                return
            yield from zip(some, lines, strict=False)


def _read(stamps: IO[bytes], most: int = 4096) -> array[int]:
    some = array("q")
    some.frombytes(stamps.read(8 * most))
    return some
