"""Jars are fetched once, checked always, and a wrong one is never kept. The repository is a local HTTP
server."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from streams.embedded import jars, ports
from streams.embedded.errors import DiskFull, NoNetwork, WrongChecksum
from streams.embedded.jars import Jar

CONTENT = {"org.example:one:1.0": b"first jar", "org.example.deep:two:2.1": b"second jar"}
BIG = {"org.example:big:1.0": bytes(1 << 20)}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def wanted() -> list[Jar]:
    return [Jar(name, hashlib.sha256(content).hexdigest()) for name, content in CONTENT.items()]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Maven repository that holds `CONTENT` and `BIG`."""
    root = tmp_path / "repository"
    for coordinate, content in (CONTENT | BIG).items():
        group, artifact, version = coordinate.split(":")
        folder = root / group.replace(".", "/") / artifact / version
        folder.mkdir(parents=True)
        (folder / f"{artifact}-{version}.jar").write_bytes(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {"local": f"http://127.0.0.1:{server.server_address[1]}"}
    server.shutdown()
    server.server_close()


@pytest.fixture
def nowhere() -> dict[str, str]:
    """A repository at which nothing answers."""
    return {"local": f"http://127.0.0.1:{ports.any_free()}"}


def test_missing_jars_are_fetched_and_later_starts_need_no_network(tmp_path, wanted, repository, nowhere):
    said: list[str] = []
    paths = jars.class_path(tmp_path / "cache", wanted, repositories=repository, progress=said.append)
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert "2 jars" in said[0]
    assert jars.class_path(tmp_path / "cache", wanted, repositories=nowhere, progress=said.append) == paths
    assert len(said) == 1


def test_no_network_says_what_to_do_and_keeps_nothing(tmp_path, wanted, nowhere):
    with pytest.raises(NoNetwork) as caught:
        jars.class_path(tmp_path / "cache", wanted, repositories=nowhere)
    assert "HEADWATER_KAFKA_BOOTSTRAP_SERVERS" in caught.value.remedy
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_jar_that_the_repository_lacks_is_told_as_such(tmp_path, wanted, repository):
    with pytest.raises(NoNetwork):
        jars.class_path(tmp_path / "cache", [Jar("org.example:three:3.0", "0" * 64)], repositories=repository)


def test_a_fetched_jar_with_another_checksum_is_refused_and_not_kept(tmp_path, wanted, repository):
    swapped = [Jar(wanted[0].coordinate, wanted[1].sha256)]
    with pytest.raises(WrongChecksum) as caught:
        jars.class_path(tmp_path / "cache", swapped, repositories=repository)
    assert wanted[0].coordinate in caught.value.problem
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_cached_jar_that_was_changed_is_refused_and_named(tmp_path, wanted, repository):
    path = jars.class_path(tmp_path / "cache", wanted, repositories=repository)[1]
    path.write_bytes(b"something else")
    with pytest.raises(WrongChecksum) as caught:
        jars.class_path(tmp_path / "cache", wanted, repositories=repository)
    assert str(path) in caught.value.problem
    assert "Delete" in caught.value.remedy


def test_a_full_disk_is_told_as_such(small_disk, repository):
    with pytest.raises(DiskFull) as caught:
        jars.class_path(small_disk, [Jar("org.example:big:1.0", "0" * 64)], repositories=repository)
    assert "HEADWATER_CACHE_DIR" in caught.value.remedy


def test_the_lock_pins_every_jar_by_full_coordinate_and_checksum():
    pinned = jars.pinned()
    assert len({jar.file_name for jar in pinned}) == len(pinned) > 30
    assert any(jar.coordinate == f"org.apache.kafka:kafka_2.13:{jars.KAFKA_VERSION}" for jar in pinned)
    versions = {jar.coordinate.split(":")[2] for jar in pinned if jar.coordinate.startswith("org.apache.kafka:")}
    assert versions == {jars.KAFKA_VERSION}, "mixed versions of Kafka end the broker at its start"
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in pinned)
