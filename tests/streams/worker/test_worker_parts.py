"""The worker's small parts, by themselves."""

from __future__ import annotations

import threading
import time

import msgpack
import pytest

from streams.faults import killer
from streams.store.contract import StoreAway, StoreError
from streams.worker.outbox import Outgoing, pack, unpack
from streams.worker.patience import Abandoned, Patience


@pytest.mark.parametrize("fault", ["save:3", "after:saving:3", "after:save", "after:save:x", "before:save:1"])
def test_a_fault_that_makes_no_sense_is_refused_with_the_stages_there_are(fault):
    with pytest.raises(ValueError, match="after:<stage>:<n> with a stage of open, decode"):
        killer(fault)


def test_an_unset_fault_does_nothing():
    killer("")("save")


@pytest.mark.parametrize("value", [None, b"", b"\xff\x00"])
def test_what_waits_in_the_outbox_comes_out_as_it_went_in(value):
    one = Outgoing("t", None if value is None else b"k", value, [("a", b"\xff"), ("a", b""), ("none", None)])
    assert unpack(pack(one)) == one


def test_what_is_long_waits_in_little_room():
    value = b'{"reasons":[' + b'{"text":"Like a red dress, which you looked at","weight":1.5},' * 50 + b"]}"
    one = Outgoing("t", b"k", value, [("content-type", b"application/json")])
    assert len(pack(one)) < len(value) / 4
    assert unpack(pack(one)) == one


def test_an_outbox_from_before_it_was_compressed_is_still_sent():
    one = Outgoing("t", b"k", b"x" * 2_000, [("a", b"b")])
    assert unpack(msgpack.packb(one)) == one


def test_a_store_that_is_away_is_asked_until_it_answers():
    patience, answers = Patience(), iter([StoreAway("gone"), StoreAway("gone"), "here"])
    seen = []

    def ask():
        seen.append(patience.away_since)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patience.ask("load", threading.Event(), ask) == "here"
    assert [since is None for since in seen] == [True, False, False]
    assert patience.away_since is None


def test_waiting_ends_when_the_work_is_no_longer_ours():
    abandon = threading.Event()

    def away():
        raise StoreAway("gone")

    threading.Timer(0.2, abandon.set).start()
    started = time.monotonic()
    with pytest.raises(Abandoned):
        Patience().ask("save", abandon, away)
    assert time.monotonic() - started >= 0.15


def test_an_error_that_waiting_does_not_mend_comes_at_once():
    def refused():
        raise StoreError("wrong kind of key")

    with pytest.raises(StoreError, match="wrong kind of key"):
        Patience().ask("save", threading.Event(), refused)
