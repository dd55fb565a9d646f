"""What tests of the learner and the encoder share: topics of a namespace, records in and out, real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.topics import TOPICS
from streams.kafka.clients import producer
from streams.kafka.topics import ensure_topics
from streams.settings import Settings

PATIENCE_S = 60.0


class Topics:
    """Reads and writes the topics of one namespace."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._producer = producer(settings, linger_ms=0)

    def send(self, topic: str, key: str, value: dict[str, Any] | bytes | None) -> None:
        data = orjson.dumps(value) if isinstance(value, dict) else value
        self._producer.produce(TOPICS[topic].full_name(self.settings.namespace), key=key, value=data)

    def flush(self) -> None:
        assert self._producer.flush(20) == 0

    def interaction(self, n: int, user: str, item: str, ts: int | None = None, action: str = "click") -> None:
        event = {"event_id": f"e{n}", "type": "interaction", "user_id": user, "action": action, "item_id": item}
        self.send("events", user, event | {"ts": int(time.time() * 1000) if ts is None else ts})

    def read(self, topic: str) -> list[tuple[str, Any]]:
        """(key, value) of all records of a topic that are there now; dead letters as bytes."""
        name = TOPICS[topic].full_name(self.settings.namespace)
        reader = Consumer(
            {
                "bootstrap.servers": self.settings.kafka_bootstrap_servers,
                "group.id": "test",
                "enable.auto.commit": False,
            }
        )
        try:
            places, wanted = [], 0
            for partition in reader.list_topics(name, timeout=10).topics[name].partitions:
                low, high = reader.get_watermark_offsets(TopicPartition(name, partition), timeout=10)
                places.append(TopicPartition(name, partition, low))
                wanted += high - low
            reader.assign(places)
            found: list[tuple[str, Any]] = []
            deadline = time.monotonic() + PATIENCE_S
            while len(found) < wanted and time.monotonic() < deadline:
                for message in reader.consume(500, 0.2):
                    assert message.error() is None, message.error()
                    value = message.value()
                    key = (message.key() or b"").decode()
                    as_is = value is None or topic == "dead-letters"
                    found.append((key, value if as_is else orjson.loads(value or b"")))
            return found
        finally:
            reader.close()

    def releases(self) -> list[dict[str, Any]]:
        return [value for key, value in self.read("releases") if key == "statistics" and value is not None]


def eventually(question: Callable[[], Any], what: str) -> Any:
    """The first answer that is true; fails after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.1)
    pytest.fail(f"waited {PATIENCE_S:.0f} s in vain for {what}")


@pytest.fixture
def wait_for() -> Callable[[Callable[[], Any], str], Any]:
    return eventually


@pytest.fixture
def topics(kafka: Any, namespace: str, tmp_path: Path) -> Topics:
    settings = Settings(
        namespace=namespace,
        kafka_bootstrap_servers=kafka.bootstrap,
        data_dir=tmp_path,
        statistics_interval_ms=100,
        kafka_partitions=2,
    )
    ensure_topics(settings)
    return Topics(settings)


@pytest.fixture
def start(topics: Topics) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a role as a process: `start("role")` or `start("encoding")`; stops what is left at the end."""
    running: list[subprocess.Popen[bytes]] = []

    def started(module: str, **environment: str) -> subprocess.Popen[bytes]:
        code = f"from streams.settings import Settings; from streams.learner.{module} import run; run(Settings(), 0)"
        settings = topics.settings
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ
            | {
                "HEADWATER_NAMESPACE": settings.namespace,
                "HEADWATER_KAFKA_BOOTSTRAP_SERVERS": str(settings.kafka_bootstrap_servers),
                "HEADWATER_DATA_DIR": str(settings.data_dir),
                "HEADWATER_STATISTICS_INTERVAL_MS": "100",
                "HEADWATER_KAFKA_PARTITIONS": "2",
            }
            | environment,
        )
        running.append(process)
        return process

    yield started
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait(20)
