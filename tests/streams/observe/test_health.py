"""The health server inside every role."""

from __future__ import annotations

import socket
from collections.abc import Callable

import httpx
import pytest

from streams.observe import metrics
from streams.observe.health import HealthServer, Heartbeat


def ask(server: HealthServer, path: str) -> httpx.Response:
    return httpx.get(server.url + path, trust_env=False)


def test_a_role_is_ready_once_no_reason_is_left() -> None:
    reasons = ["Kafka is away"]
    with HealthServer("127.0.0.1", 0, lambda: reasons) as server:
        before = ask(server, "/readyz")
        reasons.clear()
        after = ask(server, "/readyz")
    assert (before.status_code, before.json()) == (503, {"ready": False, "reasons": ["Kafka is away"]})
    assert (after.status_code, after.json()) == (200, {"ready": True, "reasons": []})


def test_a_check_that_fails_is_a_reason_and_not_a_broken_answer() -> None:
    def check() -> list[str]:
        raise ConnectionError("no route")

    with HealthServer("127.0.0.1", 0, check) as server:
        answer = ask(server, "/readyz")
    assert answer.status_code == 503
    assert "no route" in answer.json()["reasons"][0]


def test_a_loop_that_no_longer_ticks_is_not_alive() -> None:
    heartbeat = Heartbeat(limit_s=3600)
    stopped = Heartbeat(limit_s=0)
    with (
        HealthServer("127.0.0.1", 0, list, alive=heartbeat.alive) as going,
        HealthServer("127.0.0.1", 0, list, alive=stopped.alive) as hanging,
    ):
        assert ask(going, "/livez").status_code == 200
        assert ask(hanging, "/livez").status_code == 503


def test_a_role_shows_its_own_metrics_and_no_idle_gauge_of_another() -> None:
    metrics.CATALOGUE_ITEMS.set(7)
    with (
        HealthServer("127.0.0.1", 0, list, role="worker") as worker,
        HealthServer("127.0.0.1", 0, list, role="learner") as learner,
    ):
        of_worker, of_learner = ask(worker, "/metrics").text, ask(learner, "/metrics").text
    assert "\nheadwater_catalogue_items 7.0\n" in of_worker
    assert "headwater_catalogue_items" not in of_learner
    assert "headwater_learner_active" in of_learner
    assert "headwater_learner_active" not in of_worker
    assert "process_resident_memory_bytes" in of_learner


def test_an_unknown_path_is_told_which_there_are() -> None:
    with HealthServer("127.0.0.1", 0, list) as server:
        answer = ask(server, "/")
    assert answer.status_code == 404
    assert "/readyz" in answer.text


@pytest.mark.parametrize("fallback", [True, False])
def test_a_taken_port_is_an_error_unless_another_will_do(fallback: bool) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        def make() -> HealthServer:
            return HealthServer("127.0.0.1", port, list, fallback=fallback)

        if fallback:
            with make() as server:
                assert server.port != port
                assert ask(server, "/livez").status_code == 200
        else:
            assert _refused(make)


def _refused(make: Callable[[], HealthServer]) -> bool:
    with pytest.raises(OSError, match="in use"):
        make()
    return True
