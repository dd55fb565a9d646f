"""A log of files through the step: the same twice, wherever it is cut, and honest about what it could not read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.replay import files
from streams.replay.player import Player
from streams.replay.recording import Recording
from streams.replay.shelf import Shelf
from streams.replay.span import Mark, Span
from streams.replay.watching import watching
from streams.settings import Settings


@pytest.fixture(scope="module")
def played(tmp_path_factory, make):
    """`played(log)`: (digest, lines) of a replay in this process."""
    folder = tmp_path_factory.mktemp("replay")
    steady = Settings(encoder="none", data_dir=folder)
    items = make.jsonl(folder / "items.jsonl", make.shop())

    def play(log, *, batch=500, held=1 << 20, users=1000, span=None):
        events = make.jsonl(folder / "events.jsonl", log)
        with Recording(held) as recording, Shelf(users) as shelf, watching() as watch:
            player = Player(steady.policy, shelf, recording)
            files.replay_files(files.Sources([items], [events]), steady, player, span or Span(), watch, batch=batch)
            return recording.digest(), [line.text for line in recording.lines()]

    return play


def test_where_batches_are_cut_and_what_memory_holds_changes_nothing(played, make):
    log = make.shoppers(400)
    expected = played(log)
    for batch, held, users in ((1, 1 << 20, 1000), (7, 4000, 2), (133, 20_000, 5)):
        assert played(log, batch=batch, held=held, users=users) == expected


@settings(max_examples=12)
@given(cut=st.integers(0, 150), by_time=st.booleans())
def test_a_replay_until_some_place_is_the_beginning_of_the_whole_one(played, make, cut, by_time):
    log = make.shoppers(150)
    mark = Mark(ts=make.START + cut * 1000) if by_time else Mark(event_id=f"e{min(cut, 149)}")
    part = set(played(log, span=Span(until=mark))[1])
    whole = played(log)[1]
    before = {f"e{at}" for at in range(min(cut, 149) + 1)}
    assert part == {line for line in whole if json.loads(line)["trigger"]["event_id"] in before}


def test_what_is_written_since_a_place_is_the_end_of_the_whole_one(played, make):
    log = make.shoppers(150)
    whole = played(log)[1]
    late = played(log, span=Span(since=Mark(event_id="e100")))[1]
    assert late == [line for line in whole if int(json.loads(line)["trigger"]["event_id"][1:]) >= 100]


def test_what_becomes_of_recommendations_is_told_and_counted_and_not_recorded(in_force, make, tmp_path):
    day = 86_400_000
    log = [make.event(at, f"u{at % 3}", "request", k=4) | {"ts": make.START + at * day} for at in range(9)]
    log += [make.event(9, "u0", "profile_edit", op="add", statement="likes lamps") | {"ts": make.START + 9 * day}]
    sources = files.Sources(
        [make.jsonl(tmp_path / "items.jsonl", make.shop())], [make.jsonl(tmp_path / "events.jsonl", log)]
    )
    told = []
    with Recording() as recording, Shelf() as shelf, watching() as watch:
        player = Player(in_force.policy, shelf, recording, told=told.append)
        files.replay_files(sources, in_force, player, Span(), watch, batch=2)
        lines = [json.loads(line.text) for line in recording.lines()]
    assert len(lines) == player.tally.recommendations == 9
    assert all(line["kind"] == "ranking" and len(line["items"]) == 4 for line in lines)
    counted = player.tally.as_dict()
    # each request is answered, and what nobody touched of it is over when the user comes back
    assert counted["training_examples"] == sum(one.topic == "training-examples" for one in told) == 7 * 4
    assert counted["receipts"] == sum(one.topic == "receipts" for one in told) == 1
    assert sum(one.topic == "recommendations" for one in told) == 9
