"""Rows of a file, one at a time: JSONL (also gzipped), CSV, Parquet, or standard input.

In: a path or `-`. Out: `Row`s, each the JSON of one record with the place it stands at. Nothing is checked
here but that a row can be read; memory holds one row of JSONL or CSV, or one batch of Parquet.

CSV has no types: a dotted column makes a nested field (`price.amount`), lists are parted by `|`, a cell that
begins with `{` or `[` is JSON, an empty cell is a field left out, and columns that the schemas know as
numbers, switches or times are read as such.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import orjson

Format = Literal["jsonl", "csv", "parquet"]
BATCH = 2_000  # rows of Parquet in memory
LISTS = frozenset({"categories", "item_ids", "exclude", "candidates", "like_items"})
NUMBERS = frozenset({"value", "k", "price.amount", "sponsored.bid"})
SWITCHES = frozenset({"available"})
TIMES = frozenset({"ts", "published_at", "expires_at", "since", "until"})
FREE = ("attributes.", "context.")  # any scalar: what looks like a number or a switch is one


class Unreadable(Exception):  # noqa: N818
    """A file can't be read at all. The message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record.

    `where` is `file:line`; `value` its bytes; `problem` is set where the row could not be read.
    """

    where: str
    value: bytes
    problem: str | None = None


@dataclass(slots=True)
class Source:
    """A file being read.

    `size` in bytes (rows for Parquet), None where unknown; `position()` in the same unit.
    """

    name: str
    rows: Iterator[Row]
    size: int | None
    position: Callable[[], int]


@contextmanager
def opened(path: str, format: Format | None, max_bytes: int) -> Iterator[Source]:
    """Opens `path` (`-`: standard input, JSONL unless `format` says CSV).

    Raises Unreadable, also while reading.
    """
    name = "stdin" if path == "-" else path
    kind = format or _format_of(path)
    if path != "-" and Path(path).is_dir():
        raise Unreadable(f"{name}: is a folder. Name the files in it.")
    if kind == "parquet":
        yield _parquet(path, name)
        return
    try:
        raw = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise Unreadable(f"{name}: {error.strerror}") from None
    try:
        size = os.fstat(raw.fileno()).st_size if path != "-" else None
        plain = cast(BinaryIO, gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw)
        rows = _jsonl(plain, name, max_bytes) if kind == "jsonl" else _csv(plain, name, max_bytes)
        yield Source(name, _readable(rows, name), size, raw.tell if size is not None else lambda: 0)
    finally:
        if path != "-":
            raw.close()


def _readable(rows: Iterator[Row], name: str) -> Iterator[Row]:
    try:
        yield from rows
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"{name}: {getattr(error, 'strerror', None) or error}") from None


def _format_of(path: str) -> Format:
    if path == "-":
        return "jsonl"
    endings = [ending.lower() for ending in Path(path).suffixes]
    if endings and endings[-1] == ".gz":
        endings.pop()
    last = endings[-1] if endings else ""
    if last in (".parquet", ".pq"):
        return "parquet"
    if last == ".csv":
        return "csv"
    if last in (".jsonl", ".ndjson", ".json", ""):
        return "jsonl"
    raise Unreadable(f"{path}: don't know what {last} holds. Say --format jsonl, csv or parquet.")


def _jsonl(file: BinaryIO, name: str, max_bytes: int) -> Iterator[Row]:
    limit = max_bytes + 1
    number = 0
    while line := file.readline(limit):
        number += 1
        where = f"{name}:{number}"
        if len(line) >= limit and not line.endswith(b"\n"):
            while rest := file.readline(1 << 20):  # the end of the long line, a piece at a time
                if rest.endswith(b"\n"):
                    break
            yield Row(where, b"", f"(line): expected at most {max_bytes} bytes")
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line := line.strip():
            yield Row(where, line)


def _csv(file: BinaryIO, name: str, max_bytes: int) -> Iterator[Row]:
    csv.field_size_limit(max_bytes)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", errors="surrogateescape")
    reader = csv.reader(text)
    columns: list[str] | None = None
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Row(f"{name}:{reader.line_num}", b"", f"(row): expected CSV ({error})")
            continue
        if cells is None:
            break
        if not any(cells):
            continue
        if columns is None:
            columns = [cell.strip() for cell in cells]
            continue
        where = f"{name}:{reader.line_num}"
        if len(cells) > len(columns):
            yield Row(where, b"", f"(row): expected {len(columns)} cells as in the header, found {len(cells)}")
            continue
        record = _nested((column, _cell(column, cell)) for column, cell in zip(columns, cells, strict=False))
        yield _row(where, record)
    text.detach()


def _cell(column: str, cell: str) -> Any:
    if cell == "":
        return None
    if cell[0] in "{[":
        try:
            return orjson.loads(cell)
        except ValueError:
            pass  # a title may begin with a bracket
    if column in LISTS:
        return [part.strip() for part in cell.split("|") if part.strip()]
    if column in NUMBERS or (column in TIMES and cell.lstrip("-").isdigit()):
        return _scalar(cell, switches=False)
    if column in SWITCHES:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(cell.lower(), cell)
    if column.startswith(FREE):
        return [_scalar(part.strip()) for part in cell.split("|")] if "|" in cell else _scalar(cell)
    return cell


def _scalar(cell: str, switches: bool = True) -> Any:
    if switches and cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    try:
        return int(cell)
    except ValueError:
        pass
    try:
        number = float(cell)
    except ValueError:
        return cell
    return number if math.isfinite(number) else cell


def _nested(cells: Any) -> dict[str, Any]:
    """(dotted name, value) pairs as one nested dict, without those that are None."""
    record: dict[str, Any] = {}
    for name, value in cells:
        if value is None or not name:
            continue
        *folders, last = name.split(".")
        into = record
        for folder in folders:
            inner = into.setdefault(folder, {})
            into = inner if isinstance(inner, dict) else {}
        into[last] = value
    return record


def _parquet(path: str, name: str) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path == "-":
        raise Unreadable("stdin: Parquet has its index at the end and can't be read from a pipe. Name a file.")
    try:
        file = pq.ParquetFile(path, memory_map=True)
    except FileNotFoundError:
        raise Unreadable(f"{name}: No such file or directory") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise Unreadable(f"{name}: not a Parquet file ({error})") from None
    done = 0

    def rows() -> Iterator[Row]:
        nonlocal done
        for batch in file.iter_batches(batch_size=BATCH):
            for record in batch.to_pylist(maps_as_pydicts="lossy"):
                done += 1
                yield _row(f"{name}:{done}", _nested((key, _plain(value)) for key, value in record.items()))

    return Source(name, rows(), file.metadata.num_rows, lambda: done)


def _plain(value: Any) -> Any:
    """A Parquet value as JSON has it: times in ms, and None for NaN (as pandas writes it)."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(value, date):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp() * 1000)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        kept = {key: _plain(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner is not None} or None
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _row(where: str, record: dict[str, Any]) -> Row:
    try:
        return Row(where, orjson.dumps(record))
    except TypeError as error:
        return Row(where, b"", f"(row): expected what JSON can hold ({error})")
