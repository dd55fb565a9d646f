"""Malformed rows, mixed encodings, files that break off: told by file and line, and the rest is kept."""

from __future__ import annotations

import gzip
import json
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.imports import lines as lines_module
from streams.imports.faults import SHOWN, Faults
from streams.imports.lines import lines_of
from streams.imports.sources import sources
from streams.imports.write import write_events
from tests.streams.imports.test_import_layouts import done, read, run

HEAD = "user_id,item_id,ts,rating\n"


def noisy(n: int, seed: int = 1) -> bytes:
    draw = random.Random(seed)
    rows = (
        f"u{draw.randrange(500)},i{draw.randrange(900)},{1_500_000_000 + k},{draw.random():.9f}\n" for k in range(n)
    )
    return (HEAD + "".join(rows)).encode()


def test_malformed_rows_are_told_by_line_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    long = "x" * 200
    path.write_text(
        f"{HEAD}a,b,1500000000,4\na,b,soon,4\na,b\n,b,1500000000,1\n{long},b,1500000000,1\na,b,1500000000,high\n\n"
    )
    result = run("csv", path, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0
    assert len(read(tmp_path / "out")[1]) == 1
    for line, said in (
        (3, "ts: "),
        (4, "expected 4 cells"),
        (5, "user_id: "),
        (6, "user_id: "),
        (7, "value: expected a number"),
    ):
        assert f"{path}:{line}: " in result.output
        assert said in result.output
    assert json.loads(result.stdout.splitlines()[-1])["malformed"] == {str(path): 5}


def test_only_the_first_faults_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(HEAD + "a,b,1500000000,4\n" + "a,b,soon,4\n" * 100)
    result = run("csv", path, "--out", tmp_path / "out")
    assert result.output.count(f"{path}:") == SHOWN + 2  # the notes at the start and at the end
    assert "100 malformed rows" in result.output


def test_strict_ends_at_the_first_one_and_leaves_what_stood_there(tmp_path: Path) -> None:
    path, out = tmp_path / "log.csv", tmp_path / "out"
    path.write_text(HEAD + "a,b,1500000000,4\na,b,soon,4\n")
    out.mkdir()
    (out / "events.jsonl").write_text("before")
    result = run("csv", path, "--out", out, "--strict")
    assert result.exit_code == 1
    assert f"{path}:3: ts: " in result.output
    assert [p.name for p in out.iterdir()] == ["events.jsonl"]
    assert (out / "events.jsonl").read_text() == "before"


def test_lines_that_are_not_utf8_are_read_as_latin1_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes("\ufeffitem_id,title\n1,Café\n".encode() + "2,Café\n3,Élan\n".encode("latin-1") + b"4,plain\n")
    (tmp_path / "events.csv").write_text(HEAD + "a,1,1500000000,4\n")
    result = run("csv", tmp_path, "--out", tmp_path / "out")
    assert [i["title"] for i in read(tmp_path / "out")[0]] == ["Café", "Café", "Élan", "plain"]
    assert f"{path}:3: not UTF-8" in result.output
    assert f"{path}: 2 lines are not UTF-8" in result.output


def test_utf16_with_a_bom(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes((HEAD + "ännä,b,1500000000,4\n").encode("utf-16"))
    assert done("csv", tmp_path / "log.csv", out=tmp_path / "out")[1][0]["user_id"] == "ännä"


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_gzip_that_breaks_off_keeps_what_came_before(tmp_path: Path, share: float) -> None:
    plain = noisy(40_000)
    packed = gzip.compress(plain)
    path = tmp_path / "log.csv.gz"
    path.write_bytes(packed[: int(len(packed) * share)])
    result = run("csv", path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    events = read(tmp_path / "out")[1]
    assert f"{path}: broken after line {len(events) + 1:,}" in result.output
    whole = plain.decode().splitlines()[1 : len(events) + 1]
    assert [f"{e['user_id']},{e['item_id']},{e['ts'] // 1000}" for e in events] == [r.rsplit(",", 1)[0] for r in whole]
    assert share * 40_000 * 0.9 < len(events) < 40_000
    assert run("csv", path, "--out", tmp_path / "out", "--tolerant").exit_code == 0


def test_a_gzip_with_a_wrong_byte_says_where(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(noisy(100_000)))
    packed[len(packed) // 2] ^= 255
    (tmp_path / "log.csv.gz").write_bytes(packed)
    result = run("csv", tmp_path / "log.csv.gz", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "broken after line" in result.output
    assert read(tmp_path / "out")[1]


def test_gzip_of_several_members_is_read_whole_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(gzip.compress(HEAD.encode()) + gzip.compress(b"a,b,1500000000,4\n") + b"\0" * 64)
    assert len(done("csv", tmp_path / "log.csv", out=tmp_path / "out")[1]) == 1


def test_a_zip_that_breaks_off_cannot_be_listed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("events.csv", noisy(1000))
    path = tmp_path / "broken.zip"
    path.write_bytes((tmp_path / "a.zip").read_bytes()[:20_000])
    result = run("csv", path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "fetch it again" in result.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (HEAD.encode(), "Not one event"),
        (HEAD.encode() + b"a,b,soon,1\n", "1 malformed rows"),
        (b"BZh91AY", "bzip2"),
        (b"PAR1 but no more", "Parquet"),
        (b"one\ntwo\nthree\n", "--delimiter"),
    ],
)
def test_a_file_with_nothing_to_import_says_so(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "log.csv").write_bytes(content)
    result = run("csv", tmp_path / "log.csv", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out" / "events.jsonl").exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for layout in ("csv", "movielens", "amazon"):
        result = run(layout, tmp_path / "none", "--out", tmp_path / "out")
        assert result.exit_code == 1
        assert "No such file" in result.output


def test_a_line_without_end_is_skipped_and_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE", 1 << 20)
    path = tmp_path / "a.json"
    path.write_bytes(b"first\n" + b"x" * (5 << 20) + b"\nthird\n")
    faults = Faults(say=lambda _: None)
    assert list(lines_of(sources(str(path))["a.json"], faults)) == [(1, "first\n"), (3, "third\n")]
    assert faults.malformed.total() == 1


@given(stamps=st.lists(st.integers(-5, 5), max_size=200), block=st.sampled_from([1, 500, 3000]))
def test_sorting_on_disk_is_stable_sorting(
    stamps: list[int], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("sort") / "events.jsonl"
    records = [
        {"event_id": f"e{n}", "type": "interaction", "action": "view", "user_id": "u", "item_id": "i", "ts": ts}
        for n, ts in enumerate(stamps)
    ]
    count = write_events((("f", n, r) for n, r in enumerate(records)), path, Faults(say=print), block=block)
    written = [json.loads(line) for line in path.open()]
    assert count == len(stamps)
    assert written == sorted(records, key=lambda r: r["ts"])
