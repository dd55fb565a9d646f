"""Mapping: which column of a table holds which of our fields, and how its cells become values.

In: column names, and what the user says (`--map`, `--set`, or a TOML file). Out: a `Builder` that turns rows of cells
into records. Columns that the user does not name are guessed by their names; what was decided can be shown.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from streams.imports.times import reader_of
from streams.records.files import Unreadable

_ITEM_NAMES = (
    "itemid", "item", "iid", "productid", "product", "movieid", "articleid", "parentasin", "asin", "sku", "gameid",
    "bookid", "trackid", "songid", "contentid",
)  # fmt: skip
GUESSES: dict[str, dict[str, tuple[str, ...]]] = {
    "events": {
        "event_id": ("eventid",),
        "user_id": ("userid", "user", "uid", "customerid", "customer", "visitorid", "reviewerid", "memberid"),
        "item_id": _ITEM_NAMES,
        "ts": (
            "ts", "timestamp", "time", "datetime", "date", "eventtime", "createdat", "unixreviewtime", "tdat",
        ),
        "action": ("action", "eventtype", "event", "behavior", "behaviour"),
        "value": ("value", "rating", "score", "stars", "overall"),
        "text": ("text", "reviewtext", "review", "comment"),
        "session_id": ("sessionid", "session"),
        "rec_id": ("recid",),
    },
    "items": {
        "item_id": (*_ITEM_NAMES, "id"),
        "title": ("title", "name", "productname", "itemname", "producttitle", "prodname"),
        "description": ("description", "desc", "detaildesc", "productdescription"),
        "categories": ("categories", "category", "genres", "genre", "tags"),
        "brand": ("brand", "manufacturer"),
        "price.amount": ("priceamount", "price"),
        "price.currency": ("pricecurrency", "currency"),
        "url": ("url",),
        "image_url": ("imageurl", "image"),
        "available": ("available",),
        "published_at": ("publishedat", "releasedate", "published"),
        "expires_at": ("expiresat",),
        "answer": ("answer",),
    },
}  # fmt: skip
"""Names of columns, without case and punctuation, that mean one of our fields; the first one found is taken."""
NEEDED = {"events": ("user_id", "item_id", "ts"), "items": ("item_id",)}
FREE = {"events": "context.", "items": "attributes."}
_TIMES = frozenset({"ts", "published_at", "expires_at"})
_COMMA = re.compile(r"-?\d+,\d{1,2}")  # 4,50: one or two digits behind it make no thousands
_IDS = frozenset({"event_id", "user_id", "item_id", "session_id", "rec_id"})


@dataclass(slots=True)
class Spec:
    """What the user says of one table.

    `columns`: field -> column; `hints`: the same, if there is such a column; `constants`: field -> value of every row.
    """

    file: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    hints: dict[str, str] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    delimiter: str | None = None
    header: list[str] | None = None  # column names, where the file has no header line
    ts_unit: str = "auto"
    list_delimiter: str = "|"


SAID = ("file", "columns", "constants", "delimiter", "header", "ts_unit", "list_delimiter")
"""What a mapping file can say of a table."""


def read_mapping(path: Path) -> dict[str, Spec]:
    """`events` and `items` of a TOML file:

        [events]
        file = "clicks.csv.gz"              # beside this file, unless PATH or --events names another
        ts_unit = "ms"
        columns = { user_id = "visitor", item_id = "sku", ts = "when", "context.shop" = "shop" }
        constants = { action = "click" }

    Raises Unreadable with what is wrong.
    """
    try:
        said = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path}: not TOML ({error})") from None
    specs = {}
    for table, content in said.items():
        if table not in GUESSES or not isinstance(content, dict):
            raise Unreadable(f"{path}: [{table}] means nothing here; there are [events] and [items]")
        spec = Spec()
        for name, value in content.items():
            kinds = {"columns": dict, "constants": dict, "header": list}
            if name not in SAID or not isinstance(value, kinds.get(name, str)):
                raise Unreadable(f"{path}: [{table}] {name}: expected one of {', '.join(SAID)}, of its kind")
            setattr(spec, name, _flat(value) if name in ("columns", "constants") else value)
        if spec.file:
            spec.file = str(path.parent / spec.file)
        for one in (*spec.columns, *spec.constants):
            known(table, one, str(path))
        specs[table] = spec
    return specs


def known(table: str, name: str, where: str) -> None:
    """Raises Unreadable unless `name` is a field of that table."""
    free = FREE[table]
    if name in GUESSES[table] or (name.startswith(free) and len(name) > len(free)):
        return
    raise Unreadable(f"{where}: {name} is no field of {table}. Fields are {', '.join(GUESSES[table])}, {free}NAME")


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """`price.amount = "x"` in TOML is a table in a table."""
    out: dict[str, Any] = {}
    for name, value in table.items():
        out |= {f"{name}.{inner}": deep for inner, deep in value.items()} if isinstance(value, dict) else {name: value}
    return out


class Builder:
    """Makes records of one table's rows. `fields` are those it sets; `said` tells which column became which."""

    def __init__(self, table: str, name: str, columns: list[str], spec: Spec) -> None:
        """Raises Unreadable where a column that is needed, or was named, is not there."""
        chosen = _chosen(table, name, columns, spec)
        self.fields = frozenset(chosen) | frozenset(spec.constants)
        self.said = _sentence(columns, chosen, spec.constants)
        try:
            fixed = {key: _converter(key, spec)(value) for key, value in spec.constants.items()}
        except ValueError as error:
            raise Unreadable(f"{name}: a value set for every row: {error}") from None
        self._fixed = {key: value for key, value in fixed.items() if "." not in key}
        self._fixed_nested = [(*_halves(key), value) for key, value in fixed.items() if "." in key]
        plan = [(key, columns.index(column), _converter(key, spec)) for key, column in chosen.items()]
        self._flat = [step for step in plan if "." not in step[0]]
        self._nested = [(*_halves(key), at, convert) for key, at, convert in plan if "." in key]

    def build(self, cells: list[Any]) -> dict[str, Any]:
        """Raises ValueError that says which field is wrong. An empty cell is a field left out."""
        record = dict(self._fixed)
        for key, at, convert in self._flat:
            cell = cells[at]
            if cell is None or cell == "":
                continue
            try:
                record[key] = convert(cell)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
        for outer, inner, value in self._fixed_nested:
            record.setdefault(outer, {})[inner] = value
        for outer, inner, at, convert in self._nested:
            cell = cells[at]
            if cell is None or cell == "":
                continue
            try:
                record.setdefault(outer, {})[inner] = convert(cell)
            except ValueError as error:
                raise ValueError(f"{outer}.{inner}: {error}") from None
        return record


def _halves(key: str) -> tuple[str, str]:
    outer, _, inner = key.partition(".")
    return outer, inner


def _chosen(table: str, name: str, columns: list[str], spec: Spec) -> dict[str, str]:
    for key, column in spec.columns.items():
        if column not in columns:
            raise Unreadable(f"{name}: has no column {column!r} for {key}. Its columns are {', '.join(columns)}")
    chosen = {key: column for key, column in spec.hints.items() if column in columns} | spec.columns
    plain = {re.sub(r"[^a-z0-9]", "", column.lower()): column for column in reversed(columns)}
    for key, names in GUESSES[table].items():
        if key in chosen or key in spec.constants:
            continue
        for guess in names:
            if guess in plain and plain[guess] not in chosen.values():
                chosen[key] = plain[guess]
                break
    if "price.amount" in chosen and not ("price.currency" in chosen or "price.currency" in spec.constants):
        chosen["attributes.price"] = chosen.pop("price.amount")  # an amount of what?
    missing = [key for key in NEEDED[table] if key not in chosen and key not in spec.constants]
    if missing:
        raise Unreadable(
            f"{name}: which column is {missing[0]}? Say it with --map {missing[0]}=COLUMN; "
            f"its columns are {', '.join(columns)}"
        )
    return chosen


def _sentence(columns: list[str], chosen: Mapping[str, str], constants: Mapping[str, Any]) -> str:
    parts = [f"{key} <- {column}" for key, column in chosen.items()] + [f"{k} = {v!r}" for k, v in constants.items()]
    rest = [column for column in columns if column not in chosen.values()]
    return ", ".join(parts) + (f"; left out: {', '.join(rest)}" if rest else "")


def _converter(key: str, spec: Spec) -> Callable[[Any], Any]:
    if key in _IDS:
        return _id
    if key in _TIMES:
        return reader_of(spec.ts_unit if key == "ts" else "auto")
    if key in ("value", "price.amount"):
        return _number
    if key == "categories":
        return lambda cell: _list(cell, spec.list_delimiter)
    if key == "available":
        return _switch
    if "." in key and key != "price.currency":
        return _free
    return lambda cell: cell if isinstance(cell, str) else str(cell)


def _id(cell: Any) -> str:
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, float) and cell.is_integer():  # whole numbers become floats where a column has holes
        return str(int(cell))
    return str(cell)


def _number(cell: Any) -> float:
    if isinstance(cell, str) and _COMMA.fullmatch(cell.strip()):
        cell = cell.replace(",", ".")
    try:
        number = float(cell)
    except (TypeError, ValueError):
        raise ValueError(f"expected a number, found {str(cell)[:40]!r}") from None
    if not math.isfinite(number):
        raise ValueError("expected a finite number")
    return number


def _list(cell: Any, delimiter: str) -> list[str]:
    if isinstance(cell, str) and cell.startswith("["):
        with suppress(ValueError):  # a name may begin with a bracket
            cell = orjson.loads(cell)
    parts = cell if isinstance(cell, list) else str(cell).split(delimiter)
    return [text for part in parts if part is not None and (text := str(part).strip())]


def _switch(cell: Any) -> bool:
    known = {"true": True, "1": True, "yes": True, "y": True, "false": False, "0": False, "no": False, "n": False}
    found = known.get(str(cell).strip().lower())
    if found is None:
        raise ValueError(f"expected yes or no, found {str(cell)[:40]!r}")
    return found


def _free(cell: Any) -> Any:
    """A number if it looks like one and is written as JSON would (a code such as 007 stays text), else as it is."""
    if isinstance(cell, str):
        if re.fullmatch(r"-?(0|[1-9]\d{0,14})(\.\d+)?", cell):
            return float(cell) if "." in cell else int(cell)
        return cell
    if isinstance(cell, float) and not math.isfinite(cell):
        raise ValueError("expected a finite number")
    return cell if isinstance(cell, bool | int | float | list | dict) else str(cell)
