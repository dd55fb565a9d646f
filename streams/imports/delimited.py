"""Delimited text and Parquet -> a `Table`: column names, and rows of cells with the line they begin on.

The delimiter is found out from the first lines: the one of tab, `,`, `;`, `|`, `::` that parts all of them alike into
the most columns. With `,` and `;` quotes work as in RFC 4180, line ends inside them included. With the others a row is
a line, and only a cell that is quoted from its first to its last character loses its quotes, so that a 1" of a title
does not swallow the lines below it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from streams.imports.faults import Faults
from streams.imports.lines import MAX_LINE, lines_of
from streams.imports.sources import Source
from streams.records.files import Unreadable

DELIMITERS = ("\t", "::", ",", ";", "|")
SAMPLE = 50  # lines that the delimiter is found out from
BATCH = 5_000  # rows of Parquet in memory
Row = tuple[int, list[Any]]


@dataclass(slots=True)
class Table:
    """`rows` are (line number, cells), as many cells as columns; cells are text, or what Parquet holds."""

    columns: list[str]
    rows: Iterator[Row]
    delimiter: str


def table_of(
    source: Source, faults: Faults, *, delimiter: str | None = None, columns: list[str] | None = None
) -> Table:
    """Reads `source`. `columns`: the names, where the file has no header line (a Parquet file has its own).

    Raises Unreadable for a file without a row, or whose columns cannot be told apart.
    """
    if source.head().startswith(b"PAR1"):
        return _parquet(source)
    lines = lines_of(source, faults)
    first = list(islice(lines, SAMPLE))
    while first and not first[0][1].strip():
        first.pop(0)
    if not first:
        raise Unreadable(f"{source.name}: is empty. There is nothing to import in it.")
    part = delimiter or sniffed([line for _, line in first])
    if part is None:
        raise Unreadable(
            f"{source.name}: its first lines are not parted alike by tab, comma, semicolon, | or ::. "
            "Say by what with --delimiter."
        )
    rows = _rows(chain(first, lines), part, source.name, faults)
    if columns is None:
        head = next(rows, None)
        if head is None:
            raise Unreadable(f"{source.name}: is empty. There is nothing to import in it.")
        columns = [cell.strip() for cell in head[1]]
    return Table(columns, _even(rows, len(columns), source.name, faults), part)


def sniffed(lines: list[str]) -> str | None:
    """The delimiter of these lines, or None. The last line may be half of a quoted one, so most have to agree."""
    best, found = 0.0, None
    for delimiter in DELIMITERS:
        counts = [len(cells) for _, cells in _rows(enumerate(lines, 1), delimiter, "", None) if any(cells)]
        if not counts or counts[0] < 2:
            continue
        alike = sum(count == counts[0] for count in counts) / len(counts)
        if alike > 0.8 and counts[0] * alike > best:
            best, found = counts[0] * alike, delimiter
    return found


def _rows(lines: Iterator[tuple[int, str]], delimiter: str, name: str, faults: Faults | None) -> Iterator[Row]:
    return _quoted(lines, delimiter, name, faults) if delimiter in ",;" else _by_line(lines, delimiter)


def _by_line(lines: Iterator[tuple[int, str]], delimiter: str) -> Iterator[Row]:
    for number, line in lines:
        cells = line.rstrip("\r\n").split(delimiter)
        if '"' in line:
            cells = [_unquoted(cell) for cell in cells]
        if len(cells) > 1 or cells[0].strip():
            yield number, cells


def _unquoted(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        inside = cell[1:-1]
        plain = inside.replace('""', "\0")
        if '"' not in plain:
            return plain.replace("\0", '"')
    return cell


def _quoted(lines: Iterator[tuple[int, str]], delimiter: str, name: str, faults: Faults | None) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE)
    at = 0

    def counted() -> Iterator[str]:
        nonlocal at
        for number, line in lines:
            at = number
            yield line

    reader = csv.reader(counted(), delimiter=delimiter)
    begun = 1
    while True:
        before = at
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if faults is not None:
                faults.row(name, before + 1, f"(row): expected CSV ({error}); is a quote left open there?")
            continue
        begun = before + 1
        if cells and (len(cells) > 1 or cells[0].strip()):
            yield begun, cells


def _even(rows: Iterator[Row], width: int, name: str, faults: Faults) -> Iterator[Row]:
    for number, cells in rows:
        if len(cells) == width:
            yield number, cells
        elif len(cells) == width + 1 and cells[-1] == "":  # a delimiter at the end of each line
            yield number, cells[:-1]
        else:
            faults.row(name, number, f"(row): expected {width} cells, found {len(cells)}")


def _parquet(source: Source) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if source.path is None:
        raise Unreadable(f"{source.name}: Parquet inside a zip archive is not read. Unpack the archive first.")
    try:
        file = pq.ParquetFile(source.path, memory_map=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise Unreadable(f"{source.name}: not a whole Parquet file ({error})") from None
    columns = file.schema_arrow.names

    def rows() -> Iterator[Row]:
        done, total = 0, max(file.metadata.num_rows, 1)
        for batch in file.iter_batches(batch_size=BATCH):
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                done += 1
                yield done, list(cells)
            source.done = source.size * done // total

    return Table(columns, rows(), "parquet")
