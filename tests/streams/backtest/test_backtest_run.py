"""A backtest from files to figures: anyone can work them out again, and an interruption leaves no trace."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from recsys.backtest.protocol import Learning
from streams.backtest.errors import BacktestError
from streams.records.files import Unreadable


def test_figures_follow_from_the_predictions_file_alone(backtest, log_records, item_records, tmp_path):
    events = log_records()
    report = backtest(
        events, item_records(), policies=("popular", "covisitation", "full"), predictions=tmp_path / "p.jsonl", k=5
    )
    cut = int(np.floor(0.9 * len(events)))
    assert report["log"]["cut"]["index"] == cut
    assert report["log"]["cut"]["ts"] == events[cut]["ts"]
    assert report["log"]["cut"]["event_id"] == events[cut]["event_id"]
    for one in report["policies"]:
        told = [json.loads(line) for line in (tmp_path / f"p-{one['name']}.jsonl").read_text().splitlines()]
        assert [(t["event_id"], t["user_id"], t["item_id"]) for t in told] == [
            (e["event_id"], e["user_id"], e["item_id"]) for e in events[cut:]
        ]
        seen: dict[str, set[str]] = {}
        for event in events[:cut]:
            seen.setdefault(event["user_id"], set()).add(event["item_id"])
        gains, hits = [], []
        for line in told:
            past = seen.setdefault(line["user_id"], set())
            assert not past & set(line["top"])
            assert len(line["top"]) == len(set(line["top"])) == min(5, 40 - len(past))
            if line["item_id"] not in past:
                hit = line["item_id"] in line["top"]
                hits.append(hit)
                gains.append(1 / np.log2(line["top"].index(line["item_id"]) + 2) if hit else 0.0)
            past.add(line["item_id"])
        assert one["events"] == len(gains) == report["log"]["measured"]
        assert one["ndcg"]["mean"] == pytest.approx(np.mean(gains))
        assert one["hr"]["mean"] == pytest.approx(np.mean(hits))
        assert one["ndcg"]["low"] <= one["ndcg"]["mean"] <= one["ndcg"]["high"]
    assert report["log"]["on_seen_items"] == len(told) - len(gains)
    assert (tmp_path / "p.jsonl").read_bytes() == (tmp_path / "p-full.jsonl").read_bytes()


_INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from streams.backtest import run as module
from streams.backtest.options import Options
from streams.backtest.progress import Watch, watching
from streams.settings import Settings
folder, kill_at, task = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
module.SAVE_S = 0.0
class Deadly:
    def __init__(self, watch): self.watch, self.name = watch, ""
    def say(self, line): self.watch.say(line)
    def task(self, name, total, done=0): self.name = name
    def at(self, done):
        if self.name.startswith(task) and done >= kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
options = Options([str(folder / "items.jsonl")], [str(folder / "events.jsonl")], folder / "out",
                  policies=("covisitation", "sasrec", "full"), refresh=8, epochs=2, predictions=folder / "p.jsonl")
with watching() as watch:
    module.run(options, Settings(encoder="none"), Deadly(watch))
"""


def test_a_run_that_is_killed_goes_on_and_comes_to_the_same_figures(tmp_path, log_records, item_records, lines):
    def go(folder: Path, kill_at: int, task: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _INTERRUPTED, str(folder), str(kill_at), task]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": "."}
        )

    for name in ("straight", "killed"):
        (tmp_path / name).mkdir()
        lines(tmp_path / name / "events.jsonl", log_records(500))
        lines(tmp_path / name / "items.jsonl", item_records())
    assert go(tmp_path / "straight", 10**9, "predicting").returncode == 0
    assert go(tmp_path / "killed", 1, "training full").returncode == -signal.SIGKILL
    assert go(tmp_path / "killed", 30, "predicting").returncode == -signal.SIGKILL
    last = go(tmp_path / "killed", 10**9, "predicting")
    assert last.returncode == 0, last.stderr
    trained = json.loads((tmp_path / "killed/out/report.json").read_bytes())["policies"]
    assert [one["epochs"] for one in trained] == [None, 3, None]  # without vectors `full` has no sequence model
    assert trained[1]["seconds"]["epoch"] * 3 == pytest.approx(trained[1]["seconds"]["train"])
    assert trained[0]["seconds"]["epoch"] is trained[2]["seconds"]["epoch"] is None
    assert "taken up" in last.stderr
    reports = [json.loads((tmp_path / name / "out/report.json").read_bytes()) for name in ("straight", "killed")]
    for report in reports:
        for one in report["policies"]:
            del one["seconds"], one["ms_per_event"]
        del report["log"]["files"], report["log"]["catalogue"]
    assert reports[0] == reports[1]
    for name in ("covisitation", "sasrec", "full"):
        assert (tmp_path / f"straight/p-{name}.jsonl").read_bytes() == (
            tmp_path / f"killed/p-{name}.jsonl"
        ).read_bytes()


def test_an_unsorted_log_with_repeats_and_broken_rows_gives_the_figures_of_the_clean_one(
    backtest, log_records, item_records, capsys
):
    events = log_records(300)
    shuffled = [events[at] for at in np.random.default_rng(1).permutation(len(events))]
    # stable sorting keeps the file's order where stamps are equal, so give each its own
    for at, event in enumerate(events):
        event["ts"] += at
    clean = backtest(events, item_records())
    dirty = [*shuffled, shuffled[7], b"{not json", {"type": "interaction", "event_id": "x"}, b'{"a": "\xff"}']
    capsys.readouterr()
    found = backtest(dirty, item_records())
    assert found["log"]["rejected"] == 3
    assert found["log"]["repeats"] == 1
    assert found["log"]["out_of_order"] > 100
    said = capsys.readouterr().err
    assert "events.jsonl:302: (value): expected JSON" in said
    assert "events.jsonl:303" in said
    assert "sorted by their ts" in said
    assert [one["ndcg"] for one in found["policies"]] == [one["ndcg"] for one in clean["policies"]]


def test_without_a_catalogue_the_items_are_those_of_the_events(backtest, log_records):
    events = log_records(300)
    report = backtest(events)
    assert report["log"]["items"] == len({event["item_id"] for event in events})
    assert report["log"]["on_unknown_items"] == 0


def test_unknown_items_count_as_misses_and_are_told(backtest, log_records, item_records):
    events = log_records(300)
    events[-1]["item_id"] = "not-in-the-catalogue"
    report = backtest(events, item_records())
    assert report["log"]["on_unknown_items"] == 1
    measured = report["policies"][0]["events"]
    assert measured == report["log"]["predicted"] - report["log"]["on_seen_items"]


def test_users_with_one_event_are_measured_like_others(backtest, item_records):
    events = [
        {"event_id": f"e{n}", "type": "interaction", "action": "click", "user_id": f"u{n}", "item_id": "i1", "ts": n}
        for n in range(40)
    ]
    report = backtest(events, item_records(), policies=("popular", "covisitation", "full"))
    by_name = {one["name"]: one for one in report["policies"]}
    assert by_name["popular"]["hr"]["mean"] == 1
    assert by_name["full"]["hr"]["mean"] == 1
    assert by_name["covisitation"]["hr"]["mean"] == 0  # all its scores are equal, and ties count against it


@pytest.mark.parametrize("learning", [Learning.STATISTICS, Learning.NONE])
def test_freezing_is_reported(backtest, log_records, learning):
    assert backtest(log_records(200), learning=learning)["log"]["learning"] == learning.value


def test_other_options_start_over_and_the_same_ones_do_not(backtest, log_records, capsys):
    events = log_records(300)
    first = backtest(events, k=5)
    capsys.readouterr()
    again = backtest(events, k=5)
    assert "taken up" in capsys.readouterr().err
    assert [one["ndcg"] for one in again["policies"]] == [one["ndcg"] for one in first["policies"]]
    other = backtest(events, k=1)
    assert "taken up" not in capsys.readouterr().err
    assert other["policies"][0]["hr"]["mean"] < first["policies"][0]["hr"]["mean"]


def test_what_cannot_be_backtested_is_said(backtest, log_records, item_records, tmp_path):
    events = log_records(30)
    with pytest.raises(BacktestError, match=r"There are no events in .*events\.jsonl"):
        backtest([], item_records())
    with pytest.raises(BacktestError, match="nothing to train on"):
        backtest(events[:1], item_records())
    chats = [{**event, "type": "chat", "text": "hello"} for event in events[-5:]]
    with pytest.raises(BacktestError, match="no `interaction`: nothing to predict"):
        backtest([*events[:-5], *chats])
    with pytest.raises(BacktestError, match="There is no policy best"):
        backtest(events, item_records(), policies=("best",))
    with pytest.raises(BacktestError, match=r"There are no items in .*items\.jsonl"):
        backtest(events, [])
    with pytest.raises(BacktestError, match="HEADWATER_ENCODER"):
        backtest(events, item_records(), policies=("text",), out=tmp_path / "c")


def test_a_truncated_gz_is_told_with_its_line(tmp_path, log_records):
    from streams.backtest.options import Options
    from streams.backtest.progress import watching
    from streams.backtest.run import run
    from streams.settings import Settings

    whole = gzip.compress(b"".join(orjson.dumps(event) + b"\n" for event in log_records(3000)))
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with watching() as watch, pytest.raises(Unreadable, match=r"what can be read ends at .*events\.jsonl\.gz:\d+"):
        run(Options([], [str(path)], tmp_path / "out"), Settings(encoder="none"), watch)
