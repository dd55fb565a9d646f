"""The statistics lane on a real broker: releases, resumption, one leader at a time."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import pytest

from recsys.keys import item_key
from recsys.statistics import Statistics
from schemas.releases import Release
from streams.releases import ReleaseStorage
from tests.patience import PATIENCE_S
from tests.streams.learner.line import assert_one_line

pytestmark = pytest.mark.services


def load(topics: Any, release: dict[str, Any]) -> Statistics:
    return ReleaseStorage.of(topics.settings).load_statistics(Release.model_validate(release))


def year(statistics: Statistics, item: str) -> float:
    row = int(statistics.take(np.array([item_key(item)], np.uint64))[0])
    return 0.0 if row < 0 else float(statistics.popularity[row, 4])


def newest(topics: Any) -> Statistics | None:
    releases = topics.releases()
    return load(topics, releases[-1]) if releases else None


def counted(topics: Any, item: str) -> float:
    statistics = newest(topics)
    return 0.0 if statistics is None else year(statistics, item)


def test_an_event_is_in_a_release_that_says_how_far_the_log_was_read(topics: Any, start: Any, wait_for: Any) -> None:
    process = start("role", HEADWATER_BACKGROUND_NICE="3")
    topics.send(
        "items", "a", {"item_id": "a", "title": "A", "categories": ["hats"], "price": {"amount": 20, "currency": "USD"}}
    )
    topics.send("events", "broken", b"{")
    topics.interaction(0, "u", "a")
    topics.interaction(1, "u", "b")
    topics.flush()
    wait_for(lambda: counted(topics, "b") > 0.9, "a release with the event")
    release = topics.releases()[-1]
    assert release["status"] == "serving"
    assert sum(release["trained_through"]["offsets"].values()) == 3
    statistics = load(topics, release)
    assert statistics.statistics_id == release["release_id"]
    row = int(statistics.take(np.array([item_key("a")], np.uint64))[0])
    assert statistics.neighbours[row, 0] == item_key("b")
    wait_for(lambda: "hats" in newest(topics).category_popularity, "the category's prior")
    assert newest(topics).price_log_mean["hats"] == pytest.approx(np.log(20))
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, ours + 3), "it gives way to who serves"


def test_sequences_grow_by_one_and_small_releases_build_on_a_whole_one(topics: Any, start: Any, wait_for: Any) -> None:
    start("role")
    for n in range(400):
        topics.interaction(n, f"u{n}", f"i{n}")
    topics.flush()
    wait_for(lambda: counted(topics, "i399") > 0.9, "the first items")
    for n in range(400, 405):
        topics.interaction(n, f"v{n}", "i7")
        topics.interaction(n + 100, f"v{n}", f"i{n}")
        topics.flush()
        wait_for(lambda item=f"i{n}": counted(topics, item) > 0.9, "the next release")
    releases = topics.releases()
    assert_one_line(releases)
    small = [r for r in releases if r["base"]]
    assert small
    assert all(r["size"] < r["base"]["size"] for r in small)
    # whoever has only just started gets there with one whole set and one difference
    assert year(load(topics, releases[-1]), "i7") == pytest.approx(6, rel=0.01)


def test_killed_and_started_again_it_counts_nothing_twice(topics: Any, start: Any, wait_for: Any) -> None:
    first = start("role")
    for n in range(50):
        topics.interaction(n, f"u{n}", "x")
    topics.flush()
    wait_for(lambda: counted(topics, "x") > 49.5, "the first events")
    first.terminate()
    assert first.wait(PATIENCE_S) == 0
    assert (topics.settings.data_dir / "releases" / topics.settings.namespace / "checkpoints").is_dir()

    second = start("role")
    for n in range(50, 80):
        topics.interaction(n, f"u{n}", "x")
    topics.flush()
    wait_for(lambda: counted(topics, "x") > 79.5, "what came after the stop")
    second.kill()  # no checkpoint of these
    second.wait(PATIENCE_S)

    start("role")
    for n in [*range(60, 80), *range(80, 90)]:  # some of them again
        topics.interaction(n, f"u{n}", "x")
    topics.interaction(999, "last", "y")
    topics.flush()
    wait_for(lambda: counted(topics, "y") > 0.9 and counted(topics, "x") > 89.5, "what came after the kill")
    time.sleep(1)
    assert counted(topics, "x") == pytest.approx(90, abs=0.1)
    assert [r["sequence"] for r in topics.releases()] == list(range(1, len(topics.releases()) + 1))


def test_of_two_learners_one_is_active_and_the_other_takes_over(topics: Any, start: Any, wait_for: Any) -> None:
    first = start("role")
    topics.interaction(0, "u", "x")
    topics.flush()
    wait_for(topics.releases, "the first release")
    second = start("role")
    for n in range(1, 20):
        topics.interaction(n, f"u{n}", "x")
        topics.flush()
        time.sleep(0.2)
    wait_for(lambda: counted(topics, "x") > 19.5, "the events while two run")
    sequences = [r["sequence"] for r in topics.releases()]
    assert sequences == list(range(1, len(sequences) + 1))

    first.send_signal(signal.SIGSTOP)  # neither dead nor alive: the group gives its place away
    for n in range(20, 30):
        topics.interaction(n, f"u{n}", "x")
    topics.flush()
    wait_for(lambda: counted(topics, "x") > 29.5, "the second learner")
    before = len(topics.releases())
    first.send_signal(signal.SIGCONT)
    for n in range(30, 60):
        topics.interaction(n, f"u{n}", "x")
        topics.flush()
        time.sleep(0.1)
    wait_for(lambda: counted(topics, "x") > 59.5, "the events after its return")
    sequences = [r["sequence"] for r in topics.releases()]
    assert len(sequences) > before
    assert sequences == list(range(1, len(sequences) + 1)), "the one that was paused published nothing"
    assert second.poll() is None


def test_a_checkpoint_of_another_log_is_not_used(topics: Any, start: Any, wait_for: Any) -> None:
    storage = ReleaseStorage.of(topics.settings)
    storage.save_checkpoint(
        "statistics", {"clock": np.zeros(5, np.int64)}, {"cluster_id": "elsewhere", "offsets": {"0": 7}}
    )
    topics.interaction(0, "u", "x")
    topics.flush()
    start("role")
    wait_for(lambda: counted(topics, "x") > 0.9, "a release from the log's beginning")
