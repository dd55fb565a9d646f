"""Reading rows out of files, without any service."""

from __future__ import annotations

import datetime
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams.records.files import Row, Unreadable, opened
from streams.records.send import record_of

LIMIT = 1000


def rows_of(path: Path, format: Any = None) -> list[Row]:
    with opened(str(path), format, LIMIT) as source:
        return list(source.rows)


def records_of(path: Path, format: Any = None) -> list[Any]:
    return [json.loads(row.value) for row in rows_of(path, format)]


def test_a_line_over_the_limit_is_named_and_the_next_ones_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n' + b"x" * 5000 + b'\n{"a": 2}\n' + b"y" * 1200)
    rows = rows_of(path)
    assert [row.problem is None for row in rows] == [True, False, True, False]
    assert [row.where for row in rows] == [f"{path}:{n}" for n in (1, 2, 3, 4)]
    assert "1000 bytes" in str(rows[1].problem)


def test_bytes_that_are_not_utf8_reach_the_decoder_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"item_id": "\xff"}\n')
    (row,) = rows_of(path)
    _, _, wrong = record_of(row, "items", LIMIT)
    assert wrong is not None
    assert wrong.reason == "not_utf8"


def test_a_csv_cell_that_is_not_utf8_is_a_row_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"item_id,title\n1,\xff\n2,fine\n")
    bad, good = rows_of(path)
    assert bad.problem is not None
    assert json.loads(good.value) == {"item_id": "2", "title": "fine"}


def test_a_csv_row_with_too_many_cells_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("item_id,title\n1,a,b\n2\n")
    long, short = rows_of(path)
    assert (long.where, "expected 2 cells" in str(long.problem)) == (f"{path}:2", True)
    assert json.loads(short.value) == {"item_id": "2"}


def test_parquet_types_become_what_json_has(tmp_path: Path) -> None:
    when = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "item_id": ["a", "b"],
            "price.amount": pa.array([Decimal("1.50"), None], pa.decimal128(8, 2)),
            "published_at": pa.array([when, None], pa.timestamp("us", "UTC")),
            "brand": ["x", None],
            "attributes": pa.array([[("ram", 16.0)], [("ram", float("nan"))]], pa.map_(pa.string(), pa.float64())),
            "categories": [["c", "d"], []],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    assert records_of(tmp_path / "a.parquet") == [
        {
            "item_id": "a", "price": {"amount": 1.5}, "published_at": 1767312000000, "brand": "x",
            "attributes": {"ram": 16.0}, "categories": ["c", "d"],
        },
        {"item_id": "b", "categories": []},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl.gz", b"not gzip", "gzip"),
        ("b.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)[:-20], "end"),
        ("c.parquet", b"PAR?", "Parquet"),
        ("d.xlsx", b"", "--format"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=name) as error:
        rows_of(path)
    assert says in str(error.value)


def test_the_format_can_be_said(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_text("item_id,value\n1,2.5\n")
    assert records_of(path, "csv") == [{"item_id": "1", "value": 2.5}]
