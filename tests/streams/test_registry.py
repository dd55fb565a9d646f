"""A role is listed while it runs, vanishes when it ends or is killed, and comes back with Redis."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from streams import registry
from streams.registry import Registration, Role, roles
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.services


@pytest.fixture
def client(redis_server: Any) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as one:
        yield one


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_role_is_listed_while_it_runs(client, redis_server, namespace):
    with (
        Registration(redis_server.url, namespace, "worker", "worker-1", "http://127.0.0.1:2"),
        Registration(redis_server.url, namespace, "learner", "learner", "http://127.0.0.1:1"),
    ):
        eventually(lambda: len(roles(client, namespace)) == 2)
        assert roles(client, namespace) == [
            Role("learner", "learner", os.getpid(), "http://127.0.0.1:1"),
            Role("worker", "worker-1", os.getpid(), "http://127.0.0.1:2"),
        ]
    assert roles(client, namespace) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_a_role_that_listens_on_all_addresses_is_listed_by_its_machines_name(client, redis_server, namespace, host):
    with Registration(redis_server.url, namespace, "worker", "worker-0", f"http://{host}:8080"):
        eventually(lambda: roles(client, namespace) != [])
        assert [role.url for role in roles(client, namespace)] == [f"http://{socket.gethostname()}:8080"]


def test_namespaces_do_not_see_each_other(client, redis_server, namespace):
    with Registration(redis_server.url, namespace, "worker", "worker-0", "http://127.0.0.1:1"):
        eventually(lambda: roles(client, namespace) != [])
        assert roles(client, namespace + "x") == []


def test_a_record_expires_and_is_refreshed(client, redis_server, namespace, monkeypatch):
    monkeypatch.setattr(registry, "REFRESH_S", 0.1)
    key = f"{namespace}:roles:worker-0"
    with Registration(redis_server.url, namespace, "worker", "worker-0", "http://127.0.0.1:1"):
        eventually(lambda: client.exists(key) == 1)
        assert 0 < client.ttl(key) <= registry.TTL_S
        client.delete(key)  # as if it had expired while Redis was away
        eventually(lambda: client.exists(key) == 1)


def test_the_index_forgets_a_role_whose_record_expired(client, redis_server, namespace):
    client.sadd(f"{namespace}:roles", "worker-9")
    assert roles(client, namespace) == []
    assert client.scard(f"{namespace}:roles") == 0


def test_a_successor_of_the_same_name_is_not_unlisted_by_its_predecessor(client, redis_server, namespace):
    key = f"{namespace}:roles:worker-0"
    with Registration(redis_server.url, namespace, "worker", "worker-0", "http://127.0.0.1:1"):
        eventually(lambda: client.exists(key) == 1)
        client.set(key, b'{"role":"worker","instance":"worker-0","pid":1,"url":"http://127.0.0.1:9"}', ex=10)
    assert [role.pid for role in roles(client, namespace)] == [1]


def test_an_unreachable_redis_stops_no_role(namespace):
    with Registration("redis://127.0.0.1:1/0", namespace, "worker", "worker-0", "http://127.0.0.1:1") as one:
        time.sleep(0.2)
        assert one._thread.is_alive()
