from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import redis
from pydantic import SecretStr

from schemas.topics import TOPICS
from streams.demo import stage as demo_stage
from streams.demo.run import _trouble
from streams.demo.stage import Stage, StageError
from streams.embedded.folder import DataFolder
from streams.kafka.clients import admin
from streams.kafka.topics import ensure_topics
from streams.settings import Settings
from tests.patience import PATIENCE_S

FIGURES = {"events": 9, "recommendations": 5, "silent": False}


@pytest.fixture
def here(tmp_path):
    """A stage whose `headwater up` is some process that runs until it is stopped."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield Stage(Settings(data_dir=tmp_path), tmp_path / "up.log", process)
    process.kill()
    process.wait()


def note(here, *entries):
    with here.log.open("a") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)


def test_a_role_that_died_once_and_came_back_is_no_trouble(here):
    note(here, {"event": "role.died", "instance": "worker-0"})
    assert here.deaths() == {"worker-0": 1}
    assert _trouble(here, FIGURES) == ""


def test_a_role_that_keeps_dying_is_named_with_the_end_of_its_log(here):
    note(here, *[{"event": "role.died", "instance": "worker-0"}] * 3)
    here.log.write_text(here.log.read_text() + "Traceback: the reason\n")
    assert "worker-0" in _trouble(here, FIGURES)
    assert "the reason" in _trouble(here, FIGURES)


def test_no_recommendation_at_all_is_trouble(here):
    assert "no recommendation" in _trouble(here, FIGURES | {"recommendations": 0})
    assert "no recommendation" in _trouble(here, FIGURES | {"silent": True})


def test_an_up_that_ended_is_noticed(here):
    here.check()
    here.up.kill()
    here.up.wait()
    with pytest.raises(StageError, match="ended with status"):
        here.check()


def test_each_demo_gets_a_fresh_folder_of_its_own(tmp_path):
    first = demo_stage._fresh_folder(tmp_path)
    (first / "kafka").mkdir()
    (first / "kafka" / "old").write_text("left by an earlier demo")
    assert demo_stage._fresh_folder(tmp_path) == first
    assert {entry.name for entry in first.iterdir()} <= {"lock", "version.json"}
    with DataFolder(first):
        assert demo_stage._fresh_folder(tmp_path) != first


@pytest.mark.services
def test_on_services_of_ones_own_only_the_demos_topics_and_keys_are_removed(here, kafka, redis_server, namespace):
    demo_namespace = f"{namespace}-demo-1"
    own = here.settings.model_copy(
        update={
            "kafka_bootstrap_servers": kafka.bootstrap,
            "redis_url": SecretStr(redis_server.url),
            "namespace": demo_namespace,
        }
    )
    ensure_topics(own)
    ensure_topics(own.model_copy(update={"namespace": namespace}))
    client = redis.Redis.from_url(redis_server.url)
    for name in (demo_namespace, namespace):
        client.set(f"{{{name}:0}}:u:ann", "x")
        client.set(f"{name}:roles", "x")
    stage = Stage(own, here.log, here.up)
    stage.line = {"kafka": kafka.bootstrap, "redis": redis_server.url, "namespace": demo_namespace}

    demo_stage._clear(stage)

    until = time.monotonic() + PATIENCE_S
    while (left := topics(own, namespace)) and any("demo" in name for name in left):
        assert time.monotonic() < until, left
        time.sleep(0.2)
    assert len(left) == len(TOPICS)
    assert set(client.scan_iter(match=f"*{namespace}*")) == {
        f"{{{namespace}:0}}:u:ann".encode(),
        f"{namespace}:roles".encode(),
    }


def topics(settings, prefix):
    client = admin(settings)
    return [name for name in client.list_topics(timeout=10).topics if name.startswith(prefix)]
