"""What tests of the learner and the encoder share: topics of a namespace, records in and out, real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.protocol.group import LeaveGroupRequest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from recsys.world import World
from schemas.topics import TOPICS
from streams.feed import Feed
from streams.kafka.clients import producer
from streams.kafka.topics import ensure_topics
from streams.releases import ReleaseStorage
from streams.settings import Settings
from tests.patience import PATIENCE_S


class Topics:
    """Reads and writes the topics of one namespace."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._producer = producer(settings, linger_ms=0)

    def send(self, topic: str, key: str, value: dict[str, Any] | bytes | None) -> None:
        data = orjson.dumps(value) if isinstance(value, dict) else value
        self._producer.produce(TOPICS[topic].full_name(self.settings.namespace), key=key, value=data)

    def flush(self) -> None:
        assert self._producer.flush(PATIENCE_S) == 0

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
        process.wait(PATIENCE_S)


# learners that are killed
# --------------------------------------------------------------------------------------------------------------------
QUICK = {
    "HEADWATER_ENCODER": "none",
    "HEADWATER_STATISTICS_INTERVAL_MS": "100",
    "HEADWATER_LEARNING__INTERVAL_MS": "200",
    "HEADWATER_LEARNING__SEQUENCE_INTERVAL_S": "0.5",
    "HEADWATER_LEARNING__ADAPTER_INTERVAL_S": "1",
    "HEADWATER_LEARNING__CHECKPOINT_S": "0.5",
    "HEADWATER_LEARNING__CHOICES_PER_S": "1000000",
}
START = 1_760_000_000_000


class Forge:
    """Starts learners within milliseconds (`forge.py`). `log` is what all of them said."""

    def __init__(self, folder: Path, *kind: str) -> None:
        self._log = folder / "learners.log"
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forge.py")), *kind], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._log.open("w"), text=True,
        )  # fmt: skip
        self._running: set[int] = set()

    def _ask(self, told: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(told), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def start(self, **environment: str) -> int:
        pid = int(self._ask({"start": environment}))
        self._running.add(pid)
        return pid

    def status(self, pid: int) -> int | None:
        status = self._ask({"wait": pid})
        if status is not None:
            self._running.discard(pid)
        return status

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]

    def end(self) -> None:
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)  # it may still import


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    made = Forge(tmp_path_factory.mktemp("forge"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def tuning_forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    """Learners of it tune the packaged encoder."""
    made = Forge(tmp_path_factory.mktemp("forge"), "tuning")
    yield made
    made.end()


class Shop:
    """One namespace with learners that come and go, one at a time."""

    def __init__(self, kafka: Any, namespace: str, folder: Path, forge: Forge) -> None:
        self.settings = Settings(
            namespace=namespace, kafka_bootstrap_servers=kafka.bootstrap, data_dir=folder, kafka_partitions=1
        )
        ensure_topics(self.settings)
        self.topics, self.forge, self.sent = Topics(self.settings), forge, 0

    def start(self, fault: str = "", **environment: str) -> int:
        self._evict()
        settings = self.settings
        return self.forge.start(
            HEADWATER_NAMESPACE=settings.namespace,
            HEADWATER_KAFKA_BOOTSTRAP_SERVERS=str(settings.kafka_bootstrap_servers),
            HEADWATER_DATA_DIR=str(settings.data_dir),
            HEADWATER_KAFKA_PARTITIONS="1",
            HEADWATER_FAULT=fault,
            **(QUICK | environment),
        )

    def killed(
        self, stage: str, meanwhile: Callable[[], Any] = lambda: None, within_s: float = PATIENCE_S, **environment: str
    ) -> None:
        """A learner that dies as it leaves the stage."""
        began = time.monotonic()
        pid, again, deadline = self.start(f"after:{stage}:1", **environment), began + 1, began + within_s
        while (status := self.forge.status(pid)) is None:
            assert time.monotonic() < deadline, f"never came to {stage}\n{self.forge.log()}"
            if time.monotonic() > again:
                again = time.monotonic() + 0.3
                meanwhile()
            time.sleep(0.02)
        assert status == -signal.SIGKILL, f"{stage}\n{self.forge.log()}"

    def stop(self, pid: int) -> None:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_S
        while (status := self.forge.status(pid)) is None:
            assert time.monotonic() < deadline, f"does not stop\n{self.forge.log()}"
            time.sleep(0.02)
        assert status == 0, self.forge.log()

    def _evict(self) -> None:
        """Kafka misses a dead member after its session; an operator may say at once that it is gone."""
        group = f"{self.settings.namespace}-learner"
        bootstrap = str(self.settings.kafka_bootstrap_servers)
        admin = AdminClient({"bootstrap.servers": bootstrap})
        for _ in range(100):
            try:
                dead = [one.member_id for one in admin.describe_consumer_groups([group])[group].result().members]
                break
            except KafkaException as error:  # a broker that has just started
                if error.args[0].code() not in (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS):
                    raise
                time.sleep(0.1)

        async def leave() -> None:
            client = AIOKafkaClient(bootstrap_servers=bootstrap)
            await client.bootstrap()
            node = await client.coordinator_lookup(CoordinationType.GROUP, group)
            for member in dead:
                await client.send(node, LeaveGroupRequest(group, member))
            await client.close()

        if dead:
            asyncio.run(leave())

    def interaction(self, user: str, item: str) -> None:
        self.topics.interaction(self.sent, user, item, ts=START + self.sent * 1000)
        self.sent += 1

    def released(self, role: str) -> list[dict[str, Any]]:
        return [value for key, value in self.topics.read("releases") if key == role]

    def passing(self) -> list[Path]:
        """Files that were left half-written."""
        return list(self.settings.data_dir.rglob("*.tmp"))

    @contextmanager
    def worker(self) -> Iterator[Feed]:
        """What a worker serves from."""
        feed = Feed(self.settings, World.empty(), ReleaseStorage.of(self.settings), None)
        feed.start()
        yield feed
        feed.stop()


@pytest.fixture
def shop(kafka: Any, namespace: str, tmp_path: Path, forge: Forge) -> Callable[[str], Shop]:
    return lambda name: Shop(kafka, namespace + name, tmp_path / name, forge)


@pytest.fixture
def tuning_shop(kafka: Any, namespace: str, tmp_path: Path, tuning_forge: Forge) -> Shop:
    """One whose learners tune the packaged encoder."""
    return Shop(kafka, namespace, tmp_path, tuning_forge)
