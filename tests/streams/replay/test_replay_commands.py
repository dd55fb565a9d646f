"""`headwater replay` and `profile show --at` on files, the bad ones too."""

from __future__ import annotations

import gzip
import json
from hashlib import sha256

import orjson
import pytest


@pytest.fixture
def log(tmp_path, make):
    """`log(events)`: the words of a replay of these events, and where its lines go."""

    def written(events, name="events.jsonl"):
        items = make.jsonl(tmp_path / "items.jsonl", make.shop())
        path = make.jsonl(tmp_path / name, events) if isinstance(events, list) else events
        return ["replay", "--items", items, "--events", str(path), "--out", str(tmp_path / "recs.jsonl")]

    return written


def found(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_digest_is_that_of_the_lines_without_their_timing_as_they_stand_in_the_file(headwater, log, make, tmp_path):
    said = found(headwater(*log(make.shoppers(120)), "--json"))
    lines = (tmp_path / "recs.jsonl").read_bytes().splitlines()
    total = sha256()
    for line in lines:
        value = orjson.loads(line)
        assert orjson.dumps(value, option=orjson.OPT_SORT_KEYS) == line
        del value["timing"]
        total.update(orjson.dumps(value, option=orjson.OPT_SORT_KEYS) + b"\n")
    assert said["digest"] == total.hexdigest()
    assert said["recommendations"] == len(lines) > 80
    assert [orjson.loads(one)["user_id"] for one in lines] == sorted(orjson.loads(one)["user_id"] for one in lines)
    assert said["world"]["release_id"] == said["world"]["statistics_id"] == "none"
    assert headwater("replay", "--digest", str(tmp_path / "recs.jsonl")).stdout.strip() == said["digest"]


def test_rows_that_are_no_events_are_told_by_line_and_counted(headwater, log, make):
    rows = [
        *make.shoppers(20),
        b"{",
        b'{"event_id": "x", "type": "interaction", "user_id": "u", "ts": 1}',
        b"\xff\xfe",
        b"",
    ]
    clean = found(headwater(*log(make.shoppers(20)), "--json"))
    result = headwater(*log(rows), "--json")
    assert found(result) | {"seconds": 0, "events_per_second": 0} == clean | {
        "dead_letters": {"missing_field": 1, "not_json": 1, "not_utf8": 1}, "seconds": 0, "events_per_second": 0
    }  # fmt: skip
    for line in (21, 22, 23):
        assert f"events.jsonl:{line}: " in result.stderr


def test_strict_ends_at_the_first_row_that_is_no_event(headwater, log, make, tmp_path):
    result = headwater(*log([*make.shoppers(5), b"{"]), "--strict")
    assert result.exit_code == 1
    assert "events.jsonl:6: " in result.stderr
    assert not (tmp_path / "recs.jsonl").exists()


def test_a_log_out_of_order_keeps_its_order_and_is_counted(headwater, log, make):
    events = make.shoppers(60)
    sorted_log = found(headwater(*log(events), "--json"))
    said = found(headwater(*log([*events[30:], *events[:30]]), "--json"))
    assert sorted_log["unsorted"] == 0
    assert said["unsorted"] == 30
    assert said["digest"] != sorted_log["digest"]


def test_unknown_items_count_and_change_nothing_else(headwater, log, make):
    said = found(headwater(*log([make.event(0, "u", action="click", item_id="nowhere")]), "--json"))
    assert (said["unknown_items"], said["recommendations"], said["dead_letters"]) == (1, 1, {})


def test_an_empty_log_and_one_in_another_encoding_are_said_to_be_so(headwater, log, make, tmp_path):
    empty = headwater(*log([]), "--json")
    assert found(empty)["recommendations"] == 0
    assert "There are no events in" in empty.stderr
    path = tmp_path / "wide.jsonl"
    path.write_text(json.dumps(make.event(0, "u", "request")) + "\n", encoding="utf-16")
    assert "iconv -f UTF-16" in headwater(*log(path)).stderr


def test_a_truncated_gz_names_the_file_and_the_last_line(headwater, log, make, tmp_path):
    path = tmp_path / "cut.jsonl.gz"
    whole = gzip.compress(b"".join(orjson.dumps(one) + b"\n" for one in make.shoppers(3000)))
    path.write_bytes(whole[: len(whole) // 2])
    result = headwater(*log(path))
    assert result.exit_code == 1
    assert "cut.jsonl.gz:" in result.stderr
    assert "fetch it again" in result.stderr
    assert not (tmp_path / "recs.jsonl").exists()


def test_a_place_that_is_not_in_the_log_is_an_error(headwater, log, make):
    result = headwater(*log(make.shoppers(10)), "--until", "nobody")
    assert result.exit_code == 1
    assert "There is no event nobody" in result.stderr


def test_where_two_replays_part_is_explained(headwater, log, make, tmp_path, monkeypatch):
    from streams.settings import settings

    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    events = make.shoppers(60)
    found(headwater(*log(events)[:-1], str(a), "--json"))
    found(headwater(*log([*events[:20], *events[21:]])[:-1], str(b), "--json"))
    said = found(headwater("replay", "--explain-diff", str(a), str(b), "--json"))
    user = events[20]["user_id"]
    assert said["only_in_a"] == 1
    assert {one["user_id"] for one in said["first"]} == {user}
    assert said["earliest"]["trigger"]["event_id"] == "e20"
    page = headwater("replay", "--explain-diff", str(a), str(b)).stdout
    assert "its event is missing" in page
    assert user in page

    monkeypatch.setenv("HEADWATER_POLICY__EXPLORATION", "0")
    settings.cache_clear()
    found(headwater(*log(events)[:-1], str(b), "--json"))
    said = found(headwater("replay", "--explain-diff", str(a), str(b), "--json"))
    first = said["first"][0]
    assert first["kind"] == "differs"
    assert first["fields"] == ["items"]
    assert "settings of the step" in " ".join(first["why"])
    assert said["differ"] > 40
    same = headwater("replay", "--explain-diff", str(a), str(a))
    assert "The same:" in same.stdout


def test_a_profile_as_of_then_knows_nothing_of_what_came_later(headwater, make, tmp_path):
    items = make.jsonl(tmp_path / "items.jsonl", make.shop())
    events = make.jsonl(
        tmp_path / "events.jsonl",
        [
            make.event(0, "ann", action="like", item_id="item-3"),
            make.event(1, "bob", action="like", item_id="item-4"),
            make.event(2, "ann", "chat", text="a red shoe under 90 EUR"),
            make.event(3, "ann", action="purchase", item_id="item-5"),
        ],
    )
    words = ["profile", "show", "ann", "--items", items, "--events", events, "--json", "--at"]
    then = found(headwater(*words, "e1"))
    assert [one["event_id"] for one in then["recent"]] == ["e0"]
    assert then["conditions"] == []
    assert found(headwater(*words, str(make.START + 2000)))["conditions"]
    assert len(found(headwater(*words, "e3"))["recent"]) == 2
    assert headwater(*words, str(make.START - 1)).exit_code == 1
