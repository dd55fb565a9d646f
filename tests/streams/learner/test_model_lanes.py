"""The model lanes on a real broker: what is learnt is released and can be served, once, whatever dies."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.rank import prior_weights
from recsys.world import World
from streams.feed import Feed
from streams.releases import ReleaseStorage
from tests.streams.learner.line import assert_one_line

pytestmark = pytest.mark.services
ITEMS = 40
OWN = {
    "HEADWATER_ENCODER": "none",
    "HEADWATER_LEARNING__SEQUENCE_INTERVAL_S": "0.5",
    "HEADWATER_LEARNING__ADAPTER_INTERVAL_S": "3",
    "HEADWATER_LEARNING__CHECKPOINT_S": "1",
}


@pytest.fixture
def quick(at_once: dict[str, str]) -> dict[str, str]:
    return at_once | OWN


class Shoppers:
    """Users who go round the catalogue in steps of three; each touches an item once."""

    def __init__(self, topics: Any) -> None:
        self.topics, self.sent, self._wave = topics, 0, 0
        for n in range(ITEMS):
            topics.send("items", f"i{n}", {"item_id": f"i{n}", "title": f"thing {n} of sort {n % 7}"})
        topics.flush()

    def wave(self, users: int = 60, n: int = 10) -> None:
        self._wave += 1
        for turn in range(n):
            for user in range(users):
                item = (user * 5 + 3 * turn) % ITEMS
                self.topics.interaction(self.sent, f"w{self._wave}-u{user}", f"i{item}")
                self.sent += 1
        self.topics.flush()


@pytest.fixture
def shoppers(topics: Any) -> Shoppers:
    return Shoppers(topics)


@pytest.fixture
def feed(topics: Any) -> Iterator[Feed]:
    """What a worker would serve from."""
    made = Feed(topics.settings, World.empty(), ReleaseStorage.of(topics.settings), None)
    made.start()
    yield made
    made.stop()


def released(topics: Any, role: str) -> list[dict[str, Any]]:
    return [value for key, value in topics.read("releases") if key == role]


def checkpoint(topics: Any) -> dict[str, Any]:
    saved = ReleaseStorage.of(topics.settings).load_checkpoint("models")
    return saved[1] if saved is not None else {}


def learnt(topics: Any) -> int:
    """Choices that the checkpoint has learnt from."""
    found = checkpoint(topics)
    return int(found["state"]["learner"]["ranker"]["choices"]) if found else 0


def until_released(
    topics: Any, shoppers: Shoppers, role: str, wait_for: Callable[..., Any], more_than: int = 0
) -> None:
    def one() -> bool:
        shoppers.wave(users=30, n=5)
        time.sleep(0.3)
        return len(released(topics, role)) > more_than

    wait_for(one, f"a release of role {role}")


def test_what_users_choose_reaches_the_world_that_serves(
    topics: Any, start: Any, wait_for: Any, shoppers: Shoppers, feed: Feed, quick: Any
) -> None:
    start("role", **quick)
    shoppers.wave()
    shoppers.wave()
    until_released(topics, shoppers, "ranker", wait_for)
    until_released(topics, shoppers, "sequence", wait_for)
    ranker = released(topics, "ranker")[-1]
    assert ranker["status"] == "serving"
    assert ranker["trained_through"]["ts"] > time.time() * 1000 - 120_000
    assert sum(ranker["trained_through"]["offsets"].values()) > 500
    assert ranker["metrics"]["choices"] >= 50
    assert released(topics, "sequence")[-1]["base"]["uri"] == released(topics, "adapter")[-1]["uri"]
    wait_for(lambda: "ranker-" in feed.current().world.release_id, "the World with the release")
    wait_for(lambda: feed.current().world.sequence is not None, "the World with the sequence model")
    world = feed.current().world
    assert not np.array_equal(world.ranker.weights, prior_weights())
    for role in ("ranker", "sequence"):
        assert_one_line(released(topics, role))


def test_a_learner_that_was_paused_too_long_cannot_publish(
    topics: Any, start: Any, wait_for: Any, shoppers: Shoppers, quick: Any
) -> None:
    first = start("role", **quick)
    shoppers.wave()
    until_released(topics, shoppers, "ranker", wait_for)
    start("role", **quick)
    first.send_signal(signal.SIGSTOP)
    before = len(released(topics, "ranker"))
    until_released(topics, shoppers, "ranker", wait_for, before)
    first.send_signal(signal.SIGCONT)
    until_released(topics, shoppers, "ranker", wait_for, len(released(topics, "ranker")) + 1)
    assert_one_line(released(topics, "ranker"))  # by one learner at a time


def test_an_erasure_leaves_the_checkpoint_and_a_receipt_says_so(
    topics: Any, start: Any, wait_for: Any, shoppers: Shoppers, quick: Any
) -> None:
    start("role", **quick)
    shoppers.wave()
    wait_for(lambda: learnt(topics) >= 512, "a checkpoint")

    def users() -> bytes:
        arrays, _ = ReleaseStorage.of(topics.settings).load_checkpoint("models") or ({}, {})
        return arrays["learner.users.id"].tobytes()

    assert b"w1-u7" in users()
    forget = {"event_id": "f", "type": "forget", "user_id": "w1-u7", "scope": "all", "ts": int(time.time() * 1000)}
    topics.send("events", "w1-u7", forget)
    topics.flush()
    receipts = wait_for(lambda: [v for k, v in topics.read("receipts") if k == "w1-u7"], "the receipt")
    assert receipts[0]["removed"]["training_visits"] > 0
    assert receipts[0]["kind"] == "forget"
    assert b"w1-u7" not in users()


def test_storage_that_is_away_stops_releases_and_nothing_else(
    topics: Any, start: Any, wait_for: Any, shoppers: Shoppers, tmp_path: Path, quick: Any
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    process = start("role", **quick, HEADWATER_RELEASES_URL=blocked.as_uri())
    shoppers.wave()
    time.sleep(6)
    assert process.poll() is None, "it waits for the storage"
    assert not topics.read("releases")
    blocked.unlink()
    wait_for(lambda: released(topics, "statistics"), "a release once there is room")


def test_examples_that_are_none_are_passed_over(
    topics: Any, start: Any, wait_for: Any, shoppers: Shoppers, quick: Any
) -> None:
    process = start("role", **quick)
    for value in (b"{", b"null", b'{"example_id": "x"}'):
        topics.send("training-examples", "u", value)
    topics.flush()
    shoppers.wave()
    wait_for(lambda: learnt(topics) >= 512, "learning goes on")
    assert process.poll() is None
