"""The embedded Redis keeps users over a restart and a kill, and is set up for many small hashes."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from streams.embedded import redis as module
from streams.embedded.errors import PortTaken, ServiceDied, UnsupportedPlatform
from streams.embedded.redis import EmbeddedRedis

pytestmark = pytest.mark.services


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    one = EmbeddedRedis(tmp_path / "a folder", port=0)
    one.start()
    yield one
    one.stop()


def test_values_outlive_a_restart_on_the_same_address(server):
    url = server.url
    with redis.Redis.from_url(url) as client:
        client.set("kept", "yes")
    server.restart()
    assert server.url == url
    with redis.Redis.from_url(url) as client:
        assert client.get("kept") == b"yes"


def test_values_written_out_outlive_a_kill(server):
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
        client.waitaof(1, 0, 10_000)
    server.kill()
    assert server.pid is None
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"


def test_it_is_set_up_as_the_store_needs_it(server):
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        found = client.config_get("*")
        client.hset("user", mapping={"state": "s" * 2000, "profile": "p" * 1500})
        assert client.object("encoding", "user") == "listpack"
    assert found["appendonly"] == "yes"
    assert found["appendfsync"] == "everysec"
    assert found["save"] == ""
    assert found["maxmemory-policy"] == "noeviction"
    assert found["hash-max-listpack-value"] == "8192"
    assert found["hash-max-listpack-entries"] == "128"
    assert found["bind"] == "127.0.0.1"


def test_a_demanded_port_that_is_taken_is_told(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(PortTaken):
            EmbeddedRedis(tmp_path, port=listener.getsockname()[1], port_demanded=True).start()


def test_a_server_that_dies_at_its_start_shows_the_end_of_its_log(server):
    server.stop()
    for part in (server.folder / "appendonlydir").iterdir():
        part.write_bytes(b"this is no append-only file\r\n" * 10)
    with pytest.raises(ServiceDied) as caught:
        server.start()
    log = caught.value.problem.split("redis.log")[1]
    assert "append" in log.lower() or "manifest" in log.lower()


def test_the_systems_own_server_comes_first_and_an_old_one_is_passed_over(tmp_path, monkeypatch):
    packaged = module.server_executable()
    folder = tmp_path / "bin"
    folder.mkdir()
    fake = folder / "redis-server"
    monkeypatch.setenv("PATH", str(folder))
    for version, expected in (("7.0.15", fake), ("5.0.7", packaged)):
        fake.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
        fake.chmod(0o755)
        if expected is packaged and shutil.which("redis-server", path="/usr/bin"):
            pytest.skip("a system server hides the packaged one here")
        assert module.server_executable() == expected


def test_a_machine_without_a_server_is_told_as_such(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "_WHEELS", {})
    with pytest.raises(UnsupportedPlatform) as caught:
        EmbeddedRedis(tmp_path, port=0).start()
    assert "HEADWATER_REDIS_URL" in caught.value.remedy
