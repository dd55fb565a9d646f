"""The compose file and the Dockerfile hold what they promise. Nothing here starts a container."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLES = ("worker", "learner", "encoder", "console")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def instructions() -> list[str]:
    """The Dockerfile's instructions, continued lines joined, comments left out."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "deploy" / "Dockerfile").read_text())
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def pinned(image: str) -> bool:
    return re.search(r":\d+\.\d+\.\d+[\w.-]*$|@sha256:[0-9a-f]{64}$", image) is not None


def test_kafka_redis_and_every_role_are_there(compose):
    assert set(compose["services"]) == {"kafka", "redis", *ROLES}


def test_every_service_has_a_health_check_and_time_to_stop(compose):
    for name, service in compose["services"].items():
        check = service["healthcheck"]
        assert check["test"][0] in ("CMD", "CMD-SHELL"), name
        assert {"interval", "timeout", "retries"} <= set(check), name
        assert service["stop_grace_period"], name


def test_every_image_is_pinned_to_a_full_version(compose):
    for name, service in compose["services"].items():
        assert pinned(service["image"]), name


def test_every_volume_and_network_is_declared_and_used(compose):
    used = {volume.partition(":")[0] for service in compose["services"].values() for volume in service["volumes"]}
    assert used == set(compose["volumes"])
    for name, service in compose["services"].items():
        assert set(service["networks"]) <= set(compose["networks"]), name


def test_roles_wait_for_services_that_are_healthy(compose):
    for role in ROLES:
        depends = compose["services"][role]["depends_on"]
        assert depends == {name: {"condition": "service_healthy"} for name in ("kafka", "redis")}


def test_roles_are_commands_and_use_settings_that_exist(compose):
    from streams.settings import Settings

    known = {f"HEADWATER_{name.upper()}" for name in Settings.model_fields}
    for role in ROLES:
        service = compose["services"][role]
        words = " ".join(service.get("command") or service["entrypoint"])
        assert re.search(rf"\b{role} --port 8080\b", words), role
        assert set(service["environment"]) <= known, role


def test_nothing_is_published_beyond_this_machine(compose):
    for name, service in compose["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_redis_keeps_users_and_evicts_none(compose):
    command = compose["services"]["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"


def test_the_compose_broker_is_the_version_of_the_embedded_one(compose):
    from streams.embedded.jars import KAFKA_VERSION

    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_the_image_is_pinned_checked_and_not_root(instructions):
    bases = [line.split()[1] for line in instructions if line.startswith("FROM ")]
    assert bases
    assert all(pinned(base) for base in bases)
    assert [line.split()[1] for line in instructions if line.startswith("USER ")][-1] != "root"
    assert any(line.startswith("HEALTHCHECK ") for line in instructions)
    assert any("--require-hashes" in line for line in instructions)


def test_everything_the_image_copies_is_in_the_project_and_in_its_context(instructions):
    allowed = {
        line[1:]
        for line in (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for line in instructions:
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
                assert source in allowed, source


def test_docker_accepts_the_compose_file():
    docker = shutil.which("docker")
    command = [docker or "docker", "compose"]
    if docker is None or subprocess.run([*command, "version"], capture_output=True, check=False).returncode:
        pytest.skip("needs docker's compose plugin")
    done = subprocess.run([*command, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
