"""`headwater counterfactual` on files: rewards found, targets matched, figures and warnings printed."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from streams.cli import outcomes

app = typer.Typer()
outcomes.register(app)
app.callback()(lambda: None)  # so that the command keeps its name beside others
DAY = 86_400_000
ITEMS = [f"i{n}" for n in range(5)]


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["counterfactual", *(str(arg) for arg in args)])


def answer(*args: str | Path) -> dict[str, Any]:
    result = run(*args, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def recommendation(user: str, n: int, items: list[tuple[str, float]], **more: Any) -> dict[str, Any]:
    return {
        "rec_id": f"rec-{user}-{n}", "user_id": user, "kind": "ranking",
        "trigger": {"event_id": f"r{n}", "type": "request", "ts": n * DAY},
        "items": [
            {"item_id": item, "rank": rank, "score": 0.0, "propensity": share, "source": "popular", "reasons": []}
            for rank, (item, share) in enumerate(items, 1)
        ],
        "constraints": [], "world": {}, "arm": "main", "timing": {"event_ts": n * DAY}, **more,
    }  # fmt: skip


def interaction(user: str, n: int, item: str, after_ms: int = 1000, **more: Any) -> dict[str, Any]:
    return {
        "event_id": f"c{n}", "type": "interaction", "action": "click", "user_id": user, "item_id": item,
        "ts": n * DAY + after_ms, **more,
    }  # fmt: skip


def request(user: str, n: int) -> dict[str, Any]:
    return {"event_id": f"r{n}", "type": "request", "user_id": user, "ts": n * DAY}


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A log that shows i0 first, or with a chance of one half any item; clicks come on i3 mostly. The target: i3."""
    folder, draw = tmp_path_factory.mktemp("shop"), random.Random(7)
    recs, events, target = [], [], []
    for u in range(300):
        for n in range(4):
            user = f"u{u}"
            item = draw.choice(ITEMS) if draw.random() < 0.5 else "i0"
            recs.append(recommendation(user, n, [(item, 0.6 if item == "i0" else 0.1)]))
            target.append(recommendation(user, n, [("i3", 1.0)]))
            events.append(request(user, n))
            if draw.random() < (0.6 if item == "i3" else 0.1):
                events.append(interaction(user, n, item))
    return (
        write(folder / "recs.jsonl", recs), write(folder / "events.jsonl.gz", events),
        write(folder / "target.jsonl", target),
    )  # fmt: skip


def test_another_ranking_is_estimated_and_its_truth_is_held(shop: tuple[Path, Path, Path]) -> None:
    recs, events, target = shop
    found = answer("--recommendations", recs, "--events", events, "--target", target)
    assert found["answerable"]
    assert found["warnings"] == []
    assert (found["recommendations"], found["users"]) == (1200, 300)
    assert found["logging"]["low"] <= 0.15 <= found["logging"]["high"]
    for name in ("ips", "snips", "dr"):
        one = found["estimates"][name]
        assert one["low"] <= 0.6 <= one["high"]
        assert one["difference"]["low"] > 0.2
    assert found["estimates"]["model"]["low"] is None


def test_the_table_says_the_same_to_a_person(shop: tuple[Path, Path, Path]) -> None:
    recs, events, target = shop
    result = run("--recommendations", recs, "--events", events, "--target", target, "--clip", "2")
    assert result.exit_code == 0
    for said in ("doubly robust", "1,200 recommendations of 300 users", "Warning: ", "cut at 2"):
        assert said in result.stdout


def test_a_built_in_target_needs_no_second_file(shop: tuple[Path, Path, Path]) -> None:
    recs, events, _ = shop
    found = answer("--recommendations", recs, "--events", events, "--target", "no-exploration")
    assert found["estimates"]["ips"]["low"] <= 0.1 <= found["estimates"]["ips"]["high"]
    assert found["estimates"]["ips"]["difference"]["high"] < 0


def test_items_the_log_never_showed_bring_the_warning(shop: tuple[Path, Path, Path], tmp_path: Path) -> None:
    recs, events, _ = shop
    new = [recommendation(f"u{u}", n, [("new", 1.0)]) for u in range(300) for n in range(4)]
    target = write(tmp_path / "t.jsonl", new)
    found = answer("--recommendations", recs, "--events", events, "--target", target)
    assert not found["answerable"]
    assert found["estimates"]["snips"]["value"] is None
    assert "overlaps too little" in found["warnings"][0]


@pytest.mark.parametrize(
    ("events", "options", "reward"),
    [
        ([interaction("u", 0, "i1")], (), 1.0),
        ([interaction("u", 0, "i2")], (), 0.0),
        ([interaction("u", 0, "i1"), interaction("u", 0, "i1", 2000)], (), 1.0),  # a place is rewarded once
        ([interaction("u", 0, "i0"), interaction("u", 0, "i1")], (), 2.0),
        ([interaction("u", 0, "i1", 2 * DAY)], (), 0.0),
        ([interaction("u", 0, "i1", 2 * DAY)], ("--window", "3d"), 1.0),
        ([interaction("u", 0, "i1", 2 * DAY, rec_id="rec-u-0")], (), 1.0),
        ([interaction("v", 0, "i1", rec_id="rec-u-0")], (), 0.0),  # a recommendation of somebody else
        ([interaction("u", 0, "i1", action="skip")], (), 0.0),
        ([interaction("u", 0, "i1", action="rate", value=1.0)], (), 0.0),
        ([interaction("u", 0, "i1", action="rate", value=5.0)], (), 1.0),
        ([interaction("u", 0, "i1")], ("--actions", "purchase"), 0.0),
    ],
)
def test_what_counts_as_a_reward(
    tmp_path: Path, events: list[dict[str, Any]], options: tuple[str, ...], reward: float
) -> None:
    recs = write(tmp_path / "r.jsonl", [recommendation("u", 0, [("i0", 0.9), ("i1", 0.9)])])
    log = write(tmp_path / "e.jsonl", [request("u", 0), *events])
    found = answer("--recommendations", recs, "--events", log, "--target", "no-exploration", *options)
    assert found["logging"]["value"] == reward


def test_only_what_was_shown_counts_if_impressions_say_so(tmp_path: Path) -> None:
    recs = write(tmp_path / "r.jsonl", [recommendation("u", n, [("i0", 0.9)]) for n in range(3)])
    seen = {"event_id": "s", "type": "impression", "user_id": "u", "ts": 1, "rec_id": "rec-u-1", "item_ids": ["i0"]}
    log = write(tmp_path / "e.jsonl", [request("u", n) for n in range(3)] + [seen])
    asked = ("--recommendations", recs, "--events", log, "--target", "no-exploration")
    assert answer(*asked)["recommendations"] == 1
    assert answer(*asked, "--all")["recommendations"] == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--target", "no-exploration"), "--from-topic"),
        (("--recommendations", "{r}", "--events", "{e}", "--target", "{r}"), "was made with exploration"),
        (("--recommendations", "{r}", "--events", "{e}", "--target", "{other}"), "no recommendation of the log"),
        (("--recommendations", "{r}", "--events", "{e}", "--target", "none.jsonl"), "No such file"),
        (("--recommendations", "{r}", "--events", "{e}", "--target", "{e}"), "expected recommendations"),
        (("--recommendations", "{e}", "--events", "{e}", "--target", "no-exploration"), "not one recommendation"),
        (("--recommendations", "{r}", "--events", "{e}", "--target", "no-exploration", "--window", "x"), "--window x"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    files = {
        "r": write(tmp_path / "r.jsonl", [recommendation("u", 0, [("i0", 0.9)])]),
        "e": write(tmp_path / "e.jsonl", [request("u", 0)]),
        "other": write(tmp_path / "o.jsonl", [recommendation("v", 0, [("i0", 1.0)])]),
    }
    result = run(*(option.format(**files) for option in options))
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output
