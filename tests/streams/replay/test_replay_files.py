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


@settings(max_examples=12, deadline=None)
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
