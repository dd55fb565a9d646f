"""Who runs: each role says in Redis that it is there, the supervisor and the console read it.

A role's record, `<ns>:roles:<instance>`, holds `{role, instance, pid, url}` and expires 10 s after it was
last refreshed, so one that was killed vanishes by itself. The set `<ns>:roles` names the instances: the list
is found without a walk over all users' keys."""

from __future__ import annotations

import json
import os
import socket
import threading
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import redis

TTL_S = 10
REFRESH_S = 3.0


@dataclass(frozen=True, slots=True)
class Role:
    """One running process: what it does, its name, its process id on its machine, where its health is
    served."""

    role: str
    instance: str
    pid: int
    url: str


class Registration:
    """Keeps a role's record fresh from a thread of its own while the `with` block runs.

    It never raises: while Redis is away the record expires, and it is back within `REFRESH_S` of Redis'
    return."""

    def __init__(self, redis_url: str, namespace: str, role: str, instance: str, url: str) -> None:
        self._client = redis.Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=5)
        self._index = f"{namespace}:roles"
        self._role = Role(role, instance, os.getpid(), _reachable(url))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="registration", daemon=True)

    def __enter__(self) -> Registration:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=6)
        try:
            # only one's own: a successor of the same name may have written its record by now
            held = self._client.get(self._key)
            if held and json.loads(held)["pid"] == self._role.pid:
                self._client.delete(self._key)
        except (redis.RedisError, ValueError, KeyError):
            pass
        self._client.close()

    @property
    def _key(self) -> str:
        return f"{self._index}:{self._role.instance}"

    def _refresh(self) -> None:
        value = json.dumps(asdict(self._role))
        while True:
            try:
                with self._client.pipeline(transaction=False) as pipe:
                    pipe.sadd(self._index, self._role.instance)
                    pipe.set(self._key, value, ex=TTL_S)
                    pipe.execute()
            except redis.RedisError:
                pass
            if self._stop.wait(REFRESH_S):
                return


def roles(client: Any, namespace: str) -> list[Role]:
    """The roles that run now, sorted by role and instance. `client` is a redis.Redis; raises its errors."""
    index = f"{namespace}:roles"
    names = sorted(_text(name) for name in client.smembers(index))
    if not names:
        return []
    # one by one in a pipeline and not with MGET: in a Redis Cluster the keys lie on several nodes
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.get(f"{index}:{name}")
        records = pipe.execute()
    gone = [name for name, record in zip(names, records, strict=True) if record is None]
    if gone:
        client.srem(index, *gone)
    found = [Role(**json.loads(record)) for record in records if record is not None]
    return sorted(found, key=lambda role: (role.role, role.instance))


def _reachable(url: str) -> str:
    """`url`, with this machine's name where a role listens on all addresses: others cannot call 0.0.0.0."""
    parts = urlsplit(url)
    if parts.hostname not in ("0.0.0.0", "::"):
        return url
    return parts._replace(netloc=f"{socket.gethostname()}:{parts.port}").geturl()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
