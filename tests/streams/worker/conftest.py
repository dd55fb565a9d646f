"""A laboratory for workers: real processes on the real broker and the real Redis, and what they leave behind."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import KafkaException, TopicPartition

from schemas.releases import Release
from schemas.topics import TOPICS
from schemas.wire import encode
from streams.kafka.clients import consumer, producer
from streams.kafka.topics import ensure_topics
from streams.releases import ReleaseStorage
from streams.settings import Settings
from streams.store.redis import RedisStore
from tests.patience import PATIENCE_S

STAND_IN = Path(__file__).with_name("stand_in.py")
PARTITIONS = 3


@pytest.fixture(scope="session")
def stand_in() -> Any:
    """The module of the stand-in for the core."""
    spec = importlib.util.spec_from_file_location("stand_in_core", STAND_IN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["stand_in_core"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@dataclass
class Published:
    """One record of an output topic."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    @property
    def message_id(self) -> str:
        return self.headers["ce_id"].decode()

    def without_circumstances(self) -> tuple[Any, ...]:
        value = orjson.loads(self.value) if self.value and self.value.startswith(b"{") else self.value
        if isinstance(value, dict):
            value.pop("timing", None)
            value.pop("ts", None)
        others = {"ce_time", "dlq_time", "ce_source", "dlq_topic"}  # the last two name the namespace
        headers = {k: v for k, v in self.headers.items() if k not in others}
        headers["ce_id"] = headers["ce_id"].partition(b".")[2] or headers["ce_id"]
        return self.partition, self.key, value, headers


@dataclass
class Lab:
    """Workers of one namespace. `settings` are those of every process of it."""

    settings: Settings
    folder: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def store(self) -> RedisStore:
        assert self.settings.redis_url is not None
        return RedisStore(self.settings.redis_url.get_secret_value(), self.settings.namespace)

    @property
    def releases(self) -> ReleaseStorage:
        return ReleaseStorage.of(self.settings.model_copy(update={"data_dir": self.folder}))

    def announce(self, release: Release) -> None:
        self.send([(release.role.encode(), encode(release))], to="releases")

    def topic(self, name: str) -> str:
        return TOPICS[name].full_name(self.settings.namespace)

    def told(self, **environment: str) -> dict[str, str]:
        """The environment of a process of this lab."""
        settings = self.settings
        assert settings.redis_url is not None
        names = {
            "NAMESPACE": settings.namespace,
            "KAFKA_BOOTSTRAP_SERVERS": str(settings.kafka_bootstrap_servers),
            "REDIS_URL": settings.redis_url.get_secret_value(),
            "KAFKA_PARTITIONS": str(settings.kafka_partitions),
            "MAX_RECORD_BYTES": str(settings.max_record_bytes),
            "ENCODER": "none",
            "DATA_DIR": str(self.folder),
        }
        return os.environ | {f"HEADWATER_{name}": value for name, value in names.items()} | environment

    def learner(self, **environment: str) -> subprocess.Popen[bytes]:
        """A learner process; statistics every 100 ms."""
        command = [sys.executable, "-m", "streams.cli", "learner", "--port", "0"]
        told = self.told(**{"HEADWATER_STATISTICS_INTERVAL_MS": "100"} | environment)
        return self._started(command, told)

    def _started(self, command: list[str], told: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / "workers.log").open("ab") as log:
            process = subprocess.Popen(command, env=told, stdout=log, stderr=log)
        self.workers.append(process)
        return process

    def worker(
        self, worker_id: str = "worker-0", fault: str = "", real: bool = False, **environment: str
    ) -> subprocess.Popen[bytes]:
        """A worker process: with the stand-in for the core, or the real one (without a text encoder)."""
        told = self.told(
            HEADWATER_BATCH_RECORDS=str(self.settings.batch_records),
            HEADWATER_USER_CACHE=str(self.settings.user_cache),
            HEADWATER_WORKER_ID=worker_id,
            HEADWATER_FAULT=fault,
            **environment,
        )
        return self._started([sys.executable, *(["-m", "streams.cli", "worker"] if real else [str(STAND_IN)])], told)

    def log(self) -> str:
        return (self.folder / "workers.log").read_text(errors="replace")

    def send(self, records: list[tuple[bytes | None, bytes | None]], to: str = "events", headers: Any = None) -> None:
        """Records of a topic: (key, value)."""
        out = producer(self.settings, linger_ms=5)
        for key, value in records:
            out.produce(self.topic(to), value, key, headers=headers)
        assert out.flush(PATIENCE_S) == 0

    def ends(self, name: str) -> dict[int, int]:
        reader = consumer(self.settings, "ends")
        number = TOPICS[name].partitions(self.settings.kafka_partitions)
        found: dict[int, int] = {}

        def asked() -> bool:
            try:
                for at in range(number):
                    found[at] = reader.get_watermark_offsets(TopicPartition(self.topic(name), at), timeout=10)[1]
            except KafkaException:  # a broker that was just started has to find out that it leads
                return False
            return True

        self.until(asked, f"the ends of {name}")
        reader.close()
        return found

    def until_done(self, share: float = 1.0) -> None:
        """Waits until this share of the events topic is in the store, and, for all of it, the outboxes are empty."""
        ends = self.ends("events")
        wanted = sum(ends.values()) * share

        def done() -> bool:
            held = {at: self.store.position(at) for at in ends}
            applied = sum(min(ends[at], position.offset + 1) for at, position in held.items() if position)
            return applied >= wanted and (share < 1 or not any(self.store.pending(at) for at in ends))

        self.until(done, f"{wanted:.0f} events to be applied")

    def until(self, done: Any, what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, f"waited in vain for {what}\n{self.log()[-6000:]}"
            time.sleep(0.05)

    def published(self, name: str) -> list[Published]:
        """All of a topic, in order within each partition."""
        ends = self.ends(name)
        reader = consumer(self.settings, "published")
        reader.assign([TopicPartition(self.topic(name), at, 0) for at in ends])
        found: list[Published] = []
        left = sum(ends.values())
        while left > 0:
            for record in reader.consume(min(left, 1000), 5.0):
                assert record.error() is None
                headers = dict(record.headers() or ())
                found.append(Published(record.partition(), record.key(), record.value(), headers))
                left -= 1
        reader.close()
        return sorted(found, key=lambda one: one.partition)

    def users(self) -> dict[str, dict[bytes, bytes]]:
        found: dict[str, dict[bytes, bytes]] = {}
        for at in range(self.settings.kafka_partitions):
            found |= self.store.load(at, list(self.store.users(at)))[1]
        return found

    def committed(self) -> int:
        reader = consumer(self.settings, f"{self.settings.namespace}.worker")
        places = [TopicPartition(self.topic("events"), at) for at in self.ends("events")]
        found = reader.committed(places, timeout=PATIENCE_S)
        reader.close()
        return sum(max(0, place.offset) for place in found)

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE_S)


@pytest.fixture
def lab(kafka: Any, redis_server: Any, namespace: str, tmp_path: Path) -> Iterator[Lab]:
    made = _lab(kafka, redis_server, namespace, tmp_path)
    yield made
    _end(made)


@pytest.fixture
def undisturbed(kafka: Any, redis_server: Any, namespace: str, tmp_path: Path) -> Iterator[Any]:
    """`undisturbed(events)`: a lab of its own in which one worker did all of it and nothing happened."""
    made: list[Lab] = []

    def run(events: list[tuple[bytes | None, bytes | None]], items: Any = (), real: bool = False) -> Lab:
        folder = tmp_path / f"undisturbed-{len(made)}"
        folder.mkdir()
        other = _lab(kafka, redis_server, f"{namespace}u{len(made)}", folder)
        made.append(other)
        other.send(items, to="items")
        other.send(events)
        process = other.worker(real=real)
        other.until_done()
        assert other.stop(process) == 0, other.log()
        return other

    yield run
    for other in made:
        _end(other)


def _lab(kafka: Any, redis_server: Any, namespace: str, folder: Path) -> Lab:
    settings = Settings(
        namespace=namespace,
        kafka_bootstrap_servers=kafka.bootstrap,
        redis_url=redis_server.url,
        kafka_partitions=PARTITIONS,
        batch_records=20,
        user_cache=25,
        max_record_bytes=4096,
    )
    ensure_topics(settings)
    return Lab(settings, folder)


def _end(lab: Lab) -> None:
    for process in lab.workers:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def items() -> list[tuple[bytes, bytes]]:
    """A small catalogue, as (key, value)."""
    return [
        (
            f"item-{at}".encode(),
            json.dumps(
                {
                    "item_id": f"item-{at}",
                    "title": f"{('red', 'blue', 'green')[at % 3]} {('shoe', 'dress', 'lamp', 'phone')[at % 4]} no {at}",
                    "categories": [("clothing", "home", "electronics")[at % 3]],
                    "price": {"amount": 10 + 7 * at, "currency": "EUR"},
                }
            ).encode(),
        )
        for at in range(40)
    ]


@pytest.fixture
def shoppers() -> Any:
    """`shoppers(n, users)`: n valid events of so many users, as (key, value)."""

    def make(n: int, users: int = 60, start: int = 0, **context: Any) -> list[tuple[bytes, bytes]]:
        made = []
        for at in range(start, start + n):
            user_id = f"user-{at * 7 % users}"
            event = {
                "event_id": f"e{at}", "type": "interaction", "user_id": user_id, "ts": 1_700_000_000_000 + at,
                "action": "view", "item_id": f"item-{at % 17}", "context": context,
            }  # fmt: skip
            if at % 50 == 49:
                event = {k: event[k] for k in ("event_id", "user_id", "ts")} | {"type": "forget", "scope": "all"}
            made.append((user_id.encode(), json.dumps(event).encode()))
        return made

    return make
