"""`headwater doctor` shows the settings without secrets, and each thing that is wrong with what to do about it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import pytest
import redis
import torch
import typer
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from streams.cli import services
from streams.embedded.jars import pinned
from streams.embedded.redis import EmbeddedRedis
from streams.kafka.topics import ensure_topics
from streams.settings import Settings

pytestmark = pytest.mark.services

Doctor = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def doctor(tmp_path: Path, jar_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Runs `headwater doctor --json` with the given environment; returns its exit status and what it printed."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HEADWATER_")]:
        monkeypatch.delenv(name)

    def run(**environment: str) -> tuple[int, dict[str, Any]]:
        for name, value in ({"HEADWATER_CACHE_DIR": str(jar_cache)} | environment).items():
            monkeypatch.setenv(name, value)
        app = typer.Typer()
        services.register(app)
        done = CliRunner().invoke(app, ["doctor", "--json"])
        return done.exit_code, json.loads(done.stdout)

    return run


def found(report: dict[str, Any], name: str) -> list[dict[str, str]]:
    return [check for check in report["checks"] if check["name"] == name]


def test_services_that_are_as_they_must_be(doctor, kafka, redis_server, namespace):
    ensure_topics(Settings(namespace=namespace), bootstrap=kafka.bootstrap)
    status, report = doctor(
        HEADWATER_KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap,
        HEADWATER_REDIS_URL=redis_server.url,
        HEADWATER_NAMESPACE=namespace,
        HEADWATER_KAFKA_SASL_PASSWORD="hush",
    )
    assert [check for check in report["checks"] if check["state"] == "wrong"] == []
    assert status == 0
    assert report["settings"]["namespace"] == namespace
    assert "hush" not in json.dumps(report)
    for name in ("kafka", "topics", "redis", "redis persistence", "redis memory", "encoder", "gpu", "disk"):
        assert found(report, name), name
    assert kafka.bootstrap in found(report, "kafka")[0]["found"]


def test_a_gpu_that_faiss_cannot_use_is_a_note(doctor, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    for gpus, device, state in ((0, "auto", "note"), (0, "cpu", "ok"), (1, "auto", "ok")):
        monkeypatch.setattr(faiss, "get_num_gpus", lambda gpus=gpus: gpus, raising=False)
        check = found(doctor(HEADWATER_DEVICE=device)[1], "gpu")[0]
        assert check["state"] == state, (gpus, device)
        assert "a GPU" in check["found"]
        assert ("faiss-gpu" in check["remedy"]) is (state == "note")


def test_missing_topics_are_a_note_and_wrong_ones_are_wrong(doctor, kafka, redis_server, namespace):
    environment = {
        "HEADWATER_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "HEADWATER_REDIS_URL": redis_server.url,
        "HEADWATER_NAMESPACE": namespace,
    }
    status, report = doctor(**environment)
    assert status == 0
    assert {check["state"] for check in found(report, "topics")} == {"note"}

    name = f"{namespace}.events.v1"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic(name, 3, 1)])[name].result()
    status, report = doctor(**environment)
    assert status == 1
    [wrong] = [check for check in found(report, "topics") if check["state"] == "wrong"]
    assert "3 partitions" in wrong["found"]
    assert "HEADWATER_KAFKA_PARTITIONS=3" in wrong["remedy"]


def test_services_that_do_not_answer_are_wrong_and_no_password_is_shown(doctor):
    with socket.socket() as listener:  # bound and not listening: every connection is refused
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        status, report = doctor(
            HEADWATER_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{port}",
            HEADWATER_REDIS_URL=f"redis://someone:hush@127.0.0.1:{port}/0",
        )
    assert status == 1
    assert [check["state"] for check in found(report, "kafka")] == ["wrong"]
    assert [check["state"] for check in found(report, "redis")] == ["wrong"]
    assert "hush" not in json.dumps(report)


def test_a_redis_that_evicts_or_forgets_is_found(doctor, tmp_path):
    server = EmbeddedRedis(tmp_path / "redis", port=0)
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("appendonly", "no")
        status, report = doctor(HEADWATER_REDIS_URL=server.url)
    finally:
        server.stop()
    assert status == 1
    [memory] = found(report, "redis memory")
    assert memory["state"] == "wrong"
    assert "noeviction" in memory["remedy"]
    assert [check["state"] for check in found(report, "redis persistence")] == ["note"]


def test_a_changed_jar_and_missing_jars_are_found(doctor, tmp_path, jar_cache, kafka):
    status, report = doctor(HEADWATER_CACHE_DIR=str(tmp_path / "cache"))
    assert status == 0
    assert [check["state"] for check in found(report, "jars")] == ["note"]
    for folder in jar_cache.glob("kafka-*"):
        copy = tmp_path / "cache" / folder.name
        copy.mkdir(parents=True)
        for jar in pinned():
            (copy / jar.file_name).symlink_to(folder / jar.file_name)
    (copy / pinned()[3].file_name).unlink()
    (copy / pinned()[3].file_name).write_bytes(b"something else")
    status, report = doctor(HEADWATER_CACHE_DIR=str(tmp_path / "cache"))
    assert status == 1
    assert pinned()[3].coordinate in found(report, "jars")[0]["found"]


def test_a_demanded_port_that_is_taken_is_wrong_and_a_misspelt_variable_is_noted(doctor):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        status, report = doctor(HEADWATER_KAFKA_PORT=port, HEADWATER_KAFKA_PROT="9092")
    assert status == 1
    assert [check["state"] for check in found(report, "ports") if port in check["found"]] == ["wrong"]
    assert "HEADWATER_KAFKA_PROT" in found(report, "setting")[0]["found"]


def test_an_encoder_that_is_not_there_is_wrong(doctor):
    status, report = doctor(HEADWATER_ENCODER="./no/such/folder")
    assert status == 1
    assert found(report, "encoder")[0]["state"] == "wrong"


def test_people_get_a_table_with_the_same_findings(doctor, monkeypatch):
    monkeypatch.setenv("HEADWATER_ENCODER", "./no/such/folder")
    app = typer.Typer()
    services.register(app)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "HEADWATER_DATA_DIR" in done.stdout
    assert "./no/such/folder does not exist" in done.stdout
