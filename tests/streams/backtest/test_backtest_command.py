"""`headwater backtest` as a person meets it, and how much memory a long log takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from streams.backtest.demo import demo_files, demo_log
from streams.backtest.progress import watching
from streams.cli.backtest import register
from streams.demo.catalogue import load


@pytest.fixture(scope="module")
def command():
    app = typer.Typer()
    register(app)
    return lambda *words: CliRunner().invoke(app, [*words])


@pytest.fixture(autouse=True)
def no_encoder(monkeypatch, tmp_path):
    from streams.settings import settings

    monkeypatch.setenv("HEADWATER_ENCODER", "none")
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_it_prints_figures_and_writes_a_report(command, lines, log_records, item_records, tmp_path):
    lines(tmp_path / "events.jsonl", log_records(200))
    lines(tmp_path / "items.jsonl", item_records())
    given = ["--items", "items.jsonl", "--events", "events.jsonl", "--out", "r", "--policies", "popular"]
    done = command(*given)
    assert done.exit_code == 0, done.output
    assert "popular" in done.stdout
    assert "cut at event 180" in done.stdout.replace("\n", " ")
    assert "NDCG@10" in (tmp_path / "r/report.html").read_text()
    done = command(*given, "--json")
    assert json.loads(done.stdout) == json.loads((tmp_path / "r/report.json").read_bytes())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "Give --events"),
        (["--events", "none.jsonl"], "none.jsonl: No such file"),
        (["--events", "e.jsonl", "--freeze", "--freeze-models"], "not both"),
        (["--demo", "--events", "e.jsonl"], "leave out --items and --events"),
        (["--events", "e.jsonl", "--policies", "magic"], "There is no policy magic"),
        (["--events", "e.jsonl", "--split", "2"], "between 0 and 1"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(command, lines, log_records, tmp_path, options, says):
    lines(tmp_path / "e.jsonl", log_records(30))
    done = command(*options)
    assert done.exit_code == 1
    assert says in done.stderr
    assert "Traceback" not in done.output


def test_help_has_an_example(command):
    done = command("--help")
    assert done.exit_code == 0
    assert "headwater backtest --demo" in done.output


def test_the_demo_log_is_the_same_twice_in_order_and_finds_nothing_before_it_is_out(tmp_path):
    with watching() as watch:
        a, b = (demo_files(tmp_path / name, watch, shoppers=40) for name in ("a", "b"))
    for kind in (0, 1):
        assert Path(a[kind][0]).read_bytes() == Path(b[kind][0]).read_bytes()
    items, events = ([json.loads(line) for line in Path(a[kind][0]).read_text().splitlines()] for kind in (0, 1))
    published = {item["item_id"]: item["published_at"] for item in items}
    assert len(events) > 300
    # turns of one moment are a few milliseconds long and may overlap
    assert all(now["ts"] >= before["ts"] - 1000 for before, now in pairwise(events))
    touched = [event for event in events if event["type"] == "interaction"]
    assert any(published[event["item_id"]] > events[0]["ts"] for event in touched)
    assert all(published[event["item_id"]] <= event["ts"] for event in touched)


def test_the_demo_has_shoppers_of_all_kinds():
    with watching() as watch:
        kinds = {event["type"] for event in demo_log(load(), 60, 1, watch)}
    assert {"interaction", "chat", "impression", "request"} <= kinds


_MEASURED = """
import resource, sys
from pathlib import Path
from itertools import islice
import orjson
from streams.backtest.options import Options
from streams.backtest.progress import watching
from streams.backtest.run import run
from streams.demo.log import synthetic_log
from streams.settings import Settings
folder, events = Path(sys.argv[1]), int(sys.argv[2])
folder.mkdir()
with open(folder / "events.jsonl", "wb") as file:
    for event in synthetic_log(2000, events, 500):
        file.write(orjson.dumps(event | {"text": "x" * 400}) + b"\\n")
with watching() as watch:
    run(Options([], [str(folder / "events.jsonl")], folder / "out", split=0.995, refresh=1000, policies=("popular",)),
        Settings(encoder="none"), watch)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, (folder / "events.jsonl").stat().st_size)
"""


def test_memory_grows_far_less_than_the_log(tmp_path):
    used, sizes = [], []
    for name, events in (("short", 40_000), ("long", 160_000)):
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, str(tmp_path / name), str(events)],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": os.getcwd()},
            cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__)))),
        )  # fmt: skip
        peak, size = map(int, done.stdout.split())
        used.append(peak)
        sizes.append(size)
    assert (used[1] - used[0]) < (sizes[1] - sizes[0]) / 3
