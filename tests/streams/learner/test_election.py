"""Elections over a real broker: who leads goes on leading while others come and go, and says what is so."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from streams.learner import election as election_module
from streams.learner.election import Election
from streams.settings import Settings
from tests.patience import PATIENCE_S


def led(election: Election) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not election.poll(0.1):
        assert time.monotonic() < deadline, "no one leads"


def test_who_leads_goes_on_leading_while_others_come_and_go(topics: Any) -> None:
    leader = Election(topics.settings, "learner")
    led(leader)
    over = threading.Event()
    joined: list[bool] = []

    def come_and_go() -> None:
        for _ in range(3):
            other = Election(topics.settings, "learner")
            deadline = time.monotonic() + PATIENCE_S
            while not other.joined and time.monotonic() < deadline:
                other.poll(0.05)
            joined.append(other.joined)
            other.close()
        over.set()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    while not over.is_set():
        leader.poll()
        leader.confirm()  # now and then in the middle of a rebalance, and refused
    thread.join()
    deadline = time.monotonic() + PATIENCE_S
    while not leader.confirm() and time.monotonic() < deadline:
        leader.poll(0.1)
    assert leader.leading
    assert leader.confirm()
    assert all(joined)
    leader.close()


class Group:
    """A group's member whose client tells, at each poll, what the test says."""

    def __init__(self, *told: list[str]) -> None:
        self._told, self._heard = iter(told), {}

    def subscribe(self, topics: list[str], **heard: Any) -> None:
        self._heard, self._topics = heard, topics

    def poll(self, timeout: float) -> None:
        for news in next(self._told):
            self._heard[news](self, [TopicPartition(self._topics[0], 0)])

    def incremental_assign(self, partitions: Any) -> None: ...
    def incremental_unassign(self, partitions: Any) -> None: ...
    def pause(self, partitions: Any) -> None: ...


def test_a_term_lost_and_won_in_one_wait_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group(["on_assign"], [], ["on_lost", "on_assign"], [])
    monkeypatch.setattr(election_module, "consumer", lambda *_, **__: group)
    election = Election(Settings(), "learner")
    assert [election.poll() for _ in range(4)] == [True, True, False, True]
