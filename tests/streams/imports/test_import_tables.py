"""Any table: delimiters, mappings, times, Parquet."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.imports.delimited import sniffed, table_of
from streams.imports.faults import Faults
from streams.imports.sources import sources
from streams.imports.times import reader_of
from tests.streams.imports.test_import_layouts import done, run

LOG = "user_id\titem_id\ttimestamp\n1\ta\t1419897600\n2\tb\t1419897500\n"


def quiet() -> Faults:
    return Faults(say=lambda _: None)


def test_the_readme_command(tmp_path: Path) -> None:
    (tmp_path / "interactions.tsv.gz").write_bytes(gzip.compress(LOG.encode()))
    (tmp_path / "items.tsv").write_text('item_id\ttitle\na\tPlain 5" pad\nb\t"Ivan ""Ironman"" Stewart"\n')
    items, events = done(
        "csv", "--events", tmp_path / "interactions.tsv.gz", "--items", tmp_path / "items.tsv", "--map",
        "user_id=user_id", "--map", "item_id=item_id", "--map", "ts=timestamp", "--ts-unit", "s", "--action", "review",
        out=tmp_path / "out",
    )  # fmt: skip
    assert [i["title"] for i in items] == ['Plain 5" pad', 'Ivan "Ironman" Stewart']
    assert events[0] == {
        "event_id": "e3", "type": "interaction", "action": "review", "user_id": "2", "item_id": "b",
        "ts": 1419897500000,
    }  # fmt: skip
    # a folder in which the names say what is what needs nothing else
    assert done("csv", tmp_path, "--action", "review", out=tmp_path / "out2") == (items, events)


def test_equal_stamps_keep_the_order_of_the_file_and_no_sort_keeps_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,ts\n" + "".join(f"u,{n},{1000 - n // 3}\n" for n in range(30)))
    _, events = done("csv", tmp_path / "log.csv", out=tmp_path / "out")
    assert [int(e["item_id"]) for e in events] == sorted(range(30), key=lambda n: (1000 - n // 3, n))
    _, events = done("csv", tmp_path / "log.csv", "--no-sort", out=tmp_path / "out")
    assert [int(e["item_id"]) for e in events] == list(range(30))


def test_a_mapping_file(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("visitor;sku;when;shop;stars\nann;p1;05/11/2026;n;4,5\nben;p1;06/11/2026;;\n")
    (tmp_path / "products.psv").write_text("p1|Lamp|red, blue|12.50|007\n")
    (tmp_path / "m.toml").write_text(
        """
        [events]
        file = "clicks.csv"
        ts_unit = "%d/%m/%Y"
        columns = { user_id = "visitor", item_id = "sku", ts = "when", context.shop = "shop" }
        constants = { action = "click" }
        [items]
        file = "products.psv"
        header = ["sku", "name", "colours", "cost", "code"]
        list_delimiter = ","
        columns = { item_id = "sku", categories = "colours", "price.amount" = "cost", "attributes.code" = "code" }
        constants = { "price.currency" = "EUR" }
        """
    )
    items, events = done("csv", "--mapping", tmp_path / "m.toml", out=tmp_path / "out")
    assert items == [
        {
            "item_id": "p1", "title": "Lamp", "categories": ["red", "blue"], "attributes": {"code": "007"},
            "price": {"amount": 12.5, "currency": "EUR"},
        }
    ]  # fmt: skip
    assert [e.get("context") for e in events] == [{"shop": "n"}, None]  # an empty cell is a field left out
    assert [e.get("value") for e in events] == [4.5, None]
    assert events[0]["ts"] == 1793836800000


def test_parquet_events_and_items(tmp_path: Path) -> None:
    when = [datetime(2026, 1, 2, 3, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)]
    log = {"user": [1, 2], "item": [7.0, 8.0], "time": pa.array(when, pa.timestamp("us", "UTC")), "rating": [4.0, None]}
    pq.write_table(pa.table(log), tmp_path / "events.parquet")
    pq.write_table(pa.table({"id": [7, 8], "name": ["a", "b"], "genres": [["x"], []]}), tmp_path / "items.parquet")
    items, events = done("csv", tmp_path, out=tmp_path / "out")
    assert items == [
        {"item_id": "7", "title": "a", "categories": ["x"]},
        {"item_id": "8", "title": "b", "categories": []},
    ]
    assert [(e["user_id"], e["item_id"], e["ts"], e["action"], e.get("value")) for e in events] == [
        ("2", "8", 1767225600000, "rate", None),
        ("1", "7", 1767322800000, "rate", 4.0),
    ]


def test_without_items_the_ids_become_items(tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text(LOG)
    items, events = done("csv", tmp_path / "log.tsv", out=tmp_path / "out")
    assert items == [{"item_id": "a", "title": "a"}, {"item_id": "b", "title": "b"}]
    assert {e["action"] for e in events} == {"click"}


def test_an_event_on_an_item_without_a_row_is_counted_or_filled_in(tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text(LOG)
    (tmp_path / "items.tsv").write_text("item_id\ttitle\na\tA\n")
    result = run("csv", tmp_path, "--out", tmp_path / "out")
    assert "1 events are on items without a row" in result.output
    items, _ = done("csv", tmp_path, "--fill-items", out=tmp_path / "out")
    assert [i["title"] for i in items] == ["A", "b"]


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ("which column is user_id", "--map item_id=b"),
        ("has no column 'x' for ts", "--map ts=x"),
        ("colour is no field", "--map colour=a"),
        ("expected FIELD=COLUMN", "--map ts"),
        ("fortnight: no unit of time", "--ts-unit fortnight --map user_id=a"),
    ],
)
def test_a_mapping_that_does_not_fit_says_what_to_do(tmp_path: Path, said: str, option: str) -> None:
    (tmp_path / "log.csv").write_text("a,b,ts\n1,2,3\n")
    result = run("csv", tmp_path / "log.csv", "--map", "item_id=b", *option.split(), "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("delimiter", ["\t", "::", ",", ";", "|"])
def test_the_delimiter_is_found_though_others_occur(delimiter: str) -> None:
    lines = [delimiter.join(row) + "\n" for row in (["user", "item", "text"], ["1", "2", "a.b c"], ["3", "4", "d: e"])]
    assert sniffed(lines) == delimiter


def test_quoted_cells_hold_line_ends_and_rows_keep_their_line_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,title\n1,"two\nlines, here"\n2,plain\n')
    table = table_of(sources(str(tmp_path / "a.csv"))["a.csv"], quiet())
    assert list(table.rows) == [(2, ["1", "two\nlines, here"]), (4, ["2", "plain"])]


@pytest.mark.parametrize(
    ("unit", "cell", "ms"),
    [
        ("s", "1419897600", 1419897600000),
        ("s", "1419897600.5", 1419897600500),
        ("ms", "1419897600123", 1419897600123),
        ("us", 1419897600123456, 1419897600123),
        ("ns", "1419897600123456789", 1419897600123),
        ("iso", "2026-11-05T10:00:00.5+01:00", 1793869200500),
        ("iso", "2026-11-05", 1793836800000),
        ("%Y%m%d", "20261105", 1793836800000),
        ("auto", "1419897600", 1419897600000),
        ("auto", "1419897600123", 1419897600123),
        ("auto", "2026-11-05 10:00:00", 1793872800000),
        ("auto", "1999-11-05", 941760000000),
    ],
)
def test_times(unit: str, cell: object, ms: int) -> None:
    assert reader_of(unit)(cell) == ms


@given(st.integers(10**9, 4 * 10**9), st.sampled_from([("s", 1), ("ms", 1000), ("us", 10**6), ("ns", 10**9)]))
def test_the_unit_of_a_stamp_of_our_days_is_guessed_right(seconds: int, unit: tuple[str, int]) -> None:
    assert reader_of("auto")(str(seconds * unit[1])) == seconds * 1000


@pytest.mark.parametrize(("unit", "cell"), [("s", "soon"), ("iso", "12"), ("s", "inf"), ("%Y", "x"), ("auto", " ")])
def test_what_is_no_time_is_a_value_error(unit: str, cell: str) -> None:
    with pytest.raises(ValueError):
        reader_of(unit)(cell)
