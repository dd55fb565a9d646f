"""CSV and its kin: any delimited text or Parquet, with columns mapped to our fields -> interactions and items.

In: a path (a file of events; or a folder or zip, in which the tables are found by their names) and a mapping. Out: a
`Layout`. Without an item table every item of an event becomes an item whose title is its id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streams.imports.delimited import Table, table_of
from streams.imports.faults import Faults
from streams.imports.mapping import Builder, Spec
from streams.imports.run import Layout
from streams.imports.sources import Source, sources
from streams.records.files import Unreadable

NAMES = {
    "events": re.compile(r"(events?|interactions?|ratings?|reviews?|clicks?|transactions?|behaviou?rs?|log)\b", re.I),
    "items": re.compile(r"(items?|products?|movies?|articles?|books?|games?|catalogu?e?|metadata)\b", re.I),
}
_TABLE = re.compile(r"\.(csv|tsv|psv|txt|dat|tab|parquet|pq)(\.gz)?$", re.IGNORECASE)
Numbered = Iterator[tuple[str, int, dict[str, Any]]]


def tables(path: str | None, events: Spec, items: Spec, faults: Faults, *, prefix: str = "e") -> Layout:
    """The layout of `path` and of the files that the specs name. `prefix` stands before the line in an event_id."""
    files = {} if path is None else sources(path)
    single = len(files) == 1 and path is not None and not Path(path).is_dir()
    log = _only(events.file) if events.file else next(iter(files.values())) if single else _found(files, "events", path)
    if log is None:
        raise Unreadable("Which file holds the events? Name it as PATH, or with --events.")
    catalogue = _only(items.file) if items.file else None if single else _found(files, "items", path)
    table = _table(log, events, faults)
    builder = _with_action(log, table, events)
    notes = [f"{log.name}: {_named(table.delimiter)}; {builder.said}"]
    found: list[tuple[Source, Numbered]] = []
    if catalogue is not None:
        rows = _table(catalogue, items, faults)
        maker = Builder("items", catalogue.name, rows.columns, items)
        notes.append(f"{catalogue.name}: {_named(rows.delimiter)}; {maker.said}")
        found.append((catalogue, _items(catalogue, rows, maker, faults)))
    return Layout(found, [(log, _events(log, table, builder, faults, prefix))], fill=not found, notes=notes)


def _only(path: str) -> Source:
    files = sources(path)
    if len(files) > 1:
        raise Unreadable(f"{path}: holds {len(files)} files. Name the one that is meant.")
    return next(iter(files.values()))


def _found(files: dict[str, Source], table: str, path: str | None) -> Source | None:
    """The one file whose name says that it is this table. Raises Unreadable if several do; events have to be there."""
    likely = {
        name: s for name, s in files.items() if _TABLE.search(name) and NAMES[table].match(name.rsplit("/", 1)[-1])
    }
    if len(likely) > 1:
        raise Unreadable(f"{path}: {', '.join(likely)} may all be {table}. Name the one that is meant with --{table}.")
    if not likely and table == "events" and files:
        raise Unreadable(f"{path}: no name in it says which file holds the events ({', '.join(files)}). Use --events.")
    return next(iter(likely.values()), None)


def _table(source: Source, spec: Spec, faults: Faults) -> Table:
    return table_of(source, faults, delimiter=spec.delimiter, columns=spec.header)


def _with_action(source: Source, table: Table, spec: Spec) -> Builder:
    """Where no column and no setting says the action: `rate` if there are values, else `click`."""
    builder = Builder("events", source.name, table.columns, spec)
    if "action" in builder.fields:
        return builder
    spec.constants["action"] = "rate" if "value" in builder.fields else "click"
    return Builder("events", source.name, table.columns, spec)


def _events(source: Source, table: Table, builder: Builder, faults: Faults, prefix: str) -> Numbered:
    build = builder.build
    for line, cells in table.rows:
        try:
            record = build(cells)
        except ValueError as error:
            faults.row(source.name, line, str(error))
            continue
        record["type"] = "interaction"
        if "event_id" not in record:
            record["event_id"] = f"{prefix}{line}"
        yield source.name, line, record


def _items(source: Source, table: Table, builder: Builder, faults: Faults) -> Numbered:
    for line, cells in table.rows:
        try:
            record = builder.build(cells)
        except ValueError as error:
            faults.row(source.name, line, str(error))
            continue
        if not record.get("title"):
            record["title"] = record.get("item_id")
        yield source.name, line, record


def _named(delimiter: str) -> str:
    return {"\t": "parted by tabs", "parquet": "Parquet"}.get(delimiter, f"parted by {delimiter}")
