"""The console as a process, beside a worker's health server, real Kafka and Redis; and its page in a browser."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.topics import TOPICS
from streams.embedded.ports import any_free
from streams.kafka.clients import producer
from streams.kafka.topics import ensure_topics
from streams.observe import metrics
from streams.observe.health import HealthServer
from streams.registry import Registration
from streams.settings import Settings, settings
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.services

RUN = """
import sys
from streams.console.role import run
from streams.settings import settings
run(settings(), int(sys.argv[1]))
"""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Running:
    url: str
    process: subprocess.Popen[bytes]
    settings: Settings
    redis_url: str

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, trust_env=False, timeout=10)

    def until(self, path: str, wanted: Any, within_s: float = 30) -> httpx.Response:
        """The first answer that is as wanted; the last one when none is."""
        until = time.monotonic() + within_s
        while True:
            assert self.process.poll() is None, "the console ended"
            try:
                answer = self.get(path)
            except httpx.TransportError:
                answer = None
            if answer is not None and (wanted(answer) or time.monotonic() > until):
                return answer
            assert time.monotonic() < until, "the console never answered"
            time.sleep(0.1)


@pytest.fixture
def console(kafka: Any, redis_server: Any, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("HEADWATER_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setenv("HEADWATER_REDIS_URL", redis_server.url)
    monkeypatch.setenv("HEADWATER_NAMESPACE", namespace)
    settings.cache_clear()
    ensure_topics(settings())
    port = any_free()
    process = subprocess.Popen([sys.executable, "-c", RUN, str(port)], env=os.environ.copy())
    try:
        yield Running(f"http://127.0.0.1:{port}", process, settings(), redis_server.url)
    finally:
        process.kill()
        process.wait()
        settings.cache_clear()


def recommend(in_force: Settings, user: str, reason: str) -> None:
    record = {
        "rec_id": "r1", "user_id": user, "kind": "ranking",
        "trigger": {"event_id": "e1", "type": "interaction", "ts": 1},
        "items": [{"item_id": "lamp-1", "rank": 1, "score": 1, "source": "dense", "reasons": [{"text": reason}]}],
        "timing": {"event_ts": 1, "received_ts": 2, "emitted_ts": 9},
    }  # fmt: skip
    to = producer(in_force)
    to.produce(TOPICS["recommendations"].full_name(in_force.namespace), key=user.encode(), value=json.dumps(record))
    assert to.flush(20) == 0


def test_it_is_ready_while_workers_are_and_gathers_their_metrics(console: Running) -> None:
    alone = console.until("/readyz", lambda answer: answer.json()["reasons"] == ["no worker runs"])
    assert (alone.status_code, alone.json()["reasons"]) == (503, ["no worker runs"])
    assert console.get("/livez").status_code == 200
    reasons = ["the catalogue is not read yet"]
    metrics.CATALOGUE_ITEMS.set(41)
    with (
        HealthServer("127.0.0.1", 0, lambda: reasons, role="worker") as worker,
        Registration(console.redis_url, console.settings.namespace, "worker", "worker-7", worker.url),
    ):
        waiting = console.until("/readyz", lambda answer: "catalogue" in answer.text)
        assert (waiting.status_code, waiting.json()["reasons"]) == (503, ["worker-7: the catalogue is not read yet"])
        reasons.clear()
        assert console.until("/readyz", lambda answer: answer.status_code == 200).json()["ready"] is True
        assert 'headwater_catalogue_items{role="worker",instance="worker-7"} 41.0\n' in console.get("/metrics").text
        metrics.CATALOGUE_ITEMS.set(42)
        fresh = console.until("/metrics", lambda answer: "} 42.0\n" in answer.text, within_s=5).text
        assert 'headwater_catalogue_items{role="worker",instance="worker-7"} 42.0\n' in fresh
        assert 'headwater_role_up{role="console",instance="console"} 1.0\n' in fresh
    gone = console.until("/readyz", lambda answer: answer.status_code == 503)
    assert gone.json()["reasons"] == ["no worker runs"]
    assert "headwater_catalogue_items" not in console.get("/metrics").text


def test_it_stops_at_once_and_with_success_when_told_to(console: Running) -> None:
    console.until("/livez", lambda answer: answer.status_code == 200)
    console.process.send_signal(signal.SIGTERM)
    assert console.process.wait(timeout=15) == 0


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to show the page in")
def test_the_page_shows_what_runs_and_runs_nothing_that_users_say(console: Running, tmp_path: Path) -> None:
    recommend(console.settings, "benjamin", 'you liked <img src=x onerror="document.title=1"> this')
    metrics.CATALOGUE_ITEMS.set(1234)
    with (
        HealthServer("127.0.0.1", 0, list, role="worker") as worker,
        Registration(console.redis_url, console.settings.namespace, "worker", "worker-7", worker.url),
    ):
        console.until("/status.json", lambda answer: answer.json()["ready"] and answer.json()["recent"])
        page = console.get("/").text
        assert CHROMIUM is not None
        shown = subprocess.run(
            [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'browser'}",
                "--virtual-time-budget=4000", "--dump-dom", console.url,
            ],
            capture_output=True, text=True, timeout=PATIENCE_S, check=True,
        ).stdout  # fmt: skip
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert 'class="yes">ready<' in shown
    for part in ("worker-7", ">1,234<", "lamp-1", "benj…", "7.0 ms", "you liked &lt;img"):
        assert part in shown, part
    assert "benjamin" not in shown
    assert "<img" not in shown
