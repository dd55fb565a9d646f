"""Which Kafka and Redis a command uses: what is set, else what runs in the data folder, else a word on what to do."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.connection import Connection, NotConnected, connection, running_file
from streams.settings import Settings


@pytest.fixture
def listening() -> Iterator[str]:
    """An address where a socket opens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "NAMESPACE"):
        monkeypatch.delenv(f"HEADWATER_{name}", raising=False)


def running(folder: Path, **line: Any) -> Settings:
    settings = Settings(data_dir=folder)
    running_file(settings).write_text(json.dumps(line))
    return settings


def test_what_is_set_holds_and_nothing_is_asked(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, kafka_bootstrap_servers="k:1", redis_url="redis://r:2", namespace="shop")  # type: ignore[arg-type]
    assert connection(settings, redis=True) == Connection("k:1", "redis://r:2", "shop")


def test_what_runs_in_the_folder_is_used_with_its_namespace(tmp_path: Path, listening: str) -> None:
    settings = running(tmp_path, kafka=listening, redis="redis://r:2", namespace="shop", console="", pids={})
    place = connection(settings, redis=True)
    assert place == Connection(listening, "redis://r:2", "shop")
    in_force = place.settings(settings)
    assert (in_force.kafka_bootstrap_servers, in_force.namespace) == (listening, "shop")
    assert in_force.redis_url is not None
    assert in_force.redis_url.get_secret_value() == "redis://r:2"


def test_a_namespace_that_is_set_wins_over_the_running_one(tmp_path: Path, listening: str) -> None:
    running(tmp_path, kafka=listening, redis="redis://r:2", namespace="shop")
    assert connection(Settings(data_dir=tmp_path, namespace="mine")).namespace == "mine"


def test_ones_own_kafka_needs_no_redis_unless_the_command_does(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, kafka_bootstrap_servers="k:1")
    assert connection(settings).bootstrap == "k:1"
    with pytest.raises(NotConnected, match="HEADWATER_REDIS_URL"):
        connection(settings, redis=True)


def test_nothing_running_says_what_to_start(tmp_path: Path) -> None:
    with pytest.raises(NotConnected, match="headwater up"):
        connection(Settings(data_dir=tmp_path))


def test_a_file_left_behind_by_a_killed_run_is_recognised(tmp_path: Path, listening: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{sock.getsockname()[1]}"
    with pytest.raises(NotConnected, match="has ended"):
        connection(running(tmp_path, kafka=closed, redis="redis://r:2", namespace="shop"))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kafka": "k:1"}'])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "running.json").write_text(text)
    with pytest.raises(NotConnected, match=r"running\.json"):
        connection(Settings(data_dir=tmp_path))


def test_a_password_is_not_in_what_is_shown() -> None:
    assert "secret" not in str(Connection("k:1", "redis://:secret@r:2", "shop"))
