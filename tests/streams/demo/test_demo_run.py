"""The demo as a person starts it: the command, real services, real roles."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]


def headwater_demo(data_dir, *words, **settings):
    own = ("HEADWATER_KAFKA_BOOTSTRAP_SERVERS", "HEADWATER_REDIS_URL")
    outside = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.run(
        [sys.executable, "-P", "-m", "streams.cli", "demo", *words],
        env={**outside, "HEADWATER_DATA_DIR": str(data_dir), **settings},
        capture_output=True,
        text=True,
        timeout=500,
    )


def test_the_demo_shops_beats_popularity_and_ends_with_its_last_line(tmp_path):
    done = headwater_demo(tmp_path, "--seconds", "30", "--shoppers", "80", "--json")
    assert done.returncode == 0, done.stderr[-4000:]
    summary, last = done.stdout.splitlines()
    figures = json.loads(summary)
    assert last == f"{figures['events']} events in, {figures['recommendations']} recommendations out"
    # everything but an impression is answered
    silent = figures["events_by_kind"].get("impression", 0)
    assert figures["recommendations"] == figures["events"] - silent
    assert figures["unanswered"] == figures["undelivered"] == 0
    hits = figures["hit_rate"]["all"]
    assert hits["rankings"] > 30
    assert hits["headwater"] > hits["popularity"]
    # progress without a terminal: lines on stderr
    assert "hit rate" in done.stderr


def test_what_cannot_start_fails_the_demo_and_says_why(tmp_path):
    done = headwater_demo(tmp_path, "--seconds", "5", HEADWATER_REDIS_URL="http://not-a-redis")
    assert done.returncode == 1
    assert "HEADWATER_REDIS_URL" in done.stderr
    assert str(tmp_path / "demo" / "up.log") in done.stderr.replace("\n", "")
    assert not done.stdout
