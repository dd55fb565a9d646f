"""What the demo plays on: `headwater up` in a process of its own, over a fresh data folder and free ports.

In: the settings. Out: a `Connection` to what runs, and words for what is wrong when it does not. A Kafka or
Redis that the settings name is used; then everything lies under a namespace of its own and is removed after.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streams.connection import Connection
from streams.embedded import child
from streams.embedded.errors import FolderInUse, FolderVersion
from streams.embedded.folder import DataFolder
from streams.settings import Settings

READY_WITHIN_S = 600.0  # the first start of all downloads Kafka
STOP_WITHIN_S = 30.0
FOLDERS = 9  # demos that can run side by side in one data folder
FAILED = frozenset({"role.died", "service.died", "service.not_restarted"})


class StageError(RuntimeError):
    """What the demo needs does not run. The message says what is known about it."""


class Stage:
    """A running `headwater up`. `log`: the file of its messages; `up`: its process."""

    def __init__(self, settings: Settings, log: Path, up: subprocess.Popen[bytes]) -> None:
        self.settings = settings
        self.log = log
        self.up = up
        self.line: dict[str, Any] = {}

    @property
    def connection(self) -> Connection:
        return Connection(self.line["kafka"], self.line["redis"], self.line["namespace"])

    def check(self) -> None:
        """Raises StageError if `headwater up` has ended."""
        status = self.up.poll()
        if status is not None:
            raise StageError(f"`headwater up` ended with status {status}.\n{self.said()}")

    def deaths(self) -> Counter[str]:
        """How often each role or service died, by name."""
        lost: Counter[str] = Counter()
        for entry in self._entries():
            if entry.get("event") in FAILED:
                lost[str(entry.get("instance") or entry.get("role") or entry.get("service"))] += 1
        return lost

    def said(self, lines: int = 12) -> str:
        """The end of the log, and where to read more."""
        return f"{child.tail(self.log, lines=lines)}\n(all of it: {self.log})"

    def doing(self) -> str:
        """What the start is busy with, in a few words; empty if nothing is known."""
        for entry in reversed(self._entries(last=40)):
            match entry.get("event"):
                case "kafka.jars":
                    return str(entry.get("doing", "fetching Kafka"))
                case "redis.started":
                    return "Redis runs; starting Kafka"
                case "kafka.started":
                    return "Kafka runs; creating topics"
                case "topics.ready":
                    return "topics are there; starting the roles"
                case "waiting":
                    return f"waiting for {entry.get('waiting_for', 'the roles')}"
        return ""

    def _entries(self, last: int | None = None) -> list[dict[str, Any]]:
        try:
            lines = self.log.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            return []
        entries = []
        for line in lines[-last:] if last else lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                entries.append(entry)
        return entries


@contextmanager
def stage(settings: Settings, progress: Callable[[str], None]) -> Iterator[Stage]:
    """Everything running while the `with` block runs. Raises StageError where it cannot be had."""
    folder = _fresh_folder(settings.data_dir)
    own_services = settings.kafka_bootstrap_servers is None and settings.redis_url is None
    namespace = "demo" if own_services else f"{settings.namespace[:40]}-demo-{time.time_ns() // 10**6}"
    settings = settings.model_copy(update={"data_dir": folder, "namespace": namespace})
    environment = {
        **os.environ,
        "HEADWATER_DATA_DIR": str(folder),
        "HEADWATER_NAMESPACE": namespace,
        # any free ports: a demo beside one's own `headwater up` shall not disturb it
        "HEADWATER_KAFKA_PORT": "0",
        "HEADWATER_REDIS_PORT": "0",
        "HEADWATER_CONSOLE_PORT": "0",
        "HEADWATER_LOG_FORMAT": "json",
    }
    log, ready = folder / "up.log", folder / "running.json"
    with log.open("wb") as file:
        up = child.spawn([sys.executable, "-P", "-m", "streams.cli", "up"], log=file, env=environment)
        here = Stage(settings, log, up)
        try:
            _wait(here, ready, progress)
            here.line = json.loads(ready.read_text("utf-8"))
            yield here
        finally:
            progress("stopping the roles, Kafka and Redis")
            child.stop(up, STOP_WITHIN_S)
            if here.line and not own_services:
                _clear(here)


def _wait(here: Stage, ready: Path, progress: Callable[[str], None]) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while not ready.exists():
        here.check()
        if time.monotonic() > until:
            raise StageError(f"Not ready after {READY_WITHIN_S:.0f} s.\n{here.said()}")
        progress(here.doing() or "starting Redis and Kafka")
        time.sleep(0.1)


def _fresh_folder(data_dir: Path) -> Path:
    """An empty folder under the data folder that no other demo uses: demo, demo-2, ..."""
    for number in range(1, FOLDERS + 1):
        path = data_dir.expanduser().resolve() / ("demo" if number == 1 else f"demo-{number}")
        try:
            with DataFolder(path):
                _empty(path)
        except FolderInUse:
            continue
        except FolderVersion:
            _empty(path)  # whatever wrote it, it was a demo
        return path
    raise StageError(
        f"{FOLDERS} demos run in {data_dir.resolve()} already. Wait for one to end, or set HEADWATER_DATA_DIR "
        "to another folder."
    )


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()


def _clear(here: Stage) -> None:
    """Removes the demo's topics and keys from services that are not its own. Their names hold its namespace."""
    import redis

    from schemas.topics import TOPICS
    from streams.kafka.clients import admin

    place = here.connection
    if here.settings.kafka_bootstrap_servers is not None:
        names = [topic.full_name(place.namespace) for topic in TOPICS.values()]
        client = admin(here.settings, bootstrap=place.bootstrap)  # held: what it was asked ends with it
        for future in client.delete_topics(names).values():
            future.exception(timeout=30)
    if here.settings.redis_url is not None:
        with redis.Redis.from_url(place.redis_url) as client:
            for pattern in (f"{{{place.namespace}:*", f"{place.namespace}:*"):
                for key in client.scan_iter(match=pattern, count=1000):
                    client.delete(key)
