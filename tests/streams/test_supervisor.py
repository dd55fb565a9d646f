"""`headwater up`: one line once all is ready, roles come back, all goes down in order, and nothing is left
behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from streams.embedded.ports import any_free
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.services]

STUB_UP = Path(__file__).with_name("stub_up.py")


@dataclass
class Up:
    process: subprocess.Popen[str]
    errors: Path

    def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        assert text, f"ended with {self.process.wait()}:\n{self.errors.read_text()}"
        return json.loads(text)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def up(tmp_path: Path, jar_cache: Path) -> Iterator[Callable[..., Up]]:
    """Starts `headwater up` with stub roles and the given environment; what still runs at the end is
    ended."""
    started: list[Up] = []

    def start(*arguments: str, **environment: str) -> Up:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        errors = tmp_path / f"stderr-{len(started)}"
        defaults = {
            "HEADWATER_DATA_DIR": str(tmp_path / "data"),
            "HEADWATER_CACHE_DIR": str(jar_cache),
            "HEADWATER_KAFKA_HEAP_MB": "256",
            "STUB_FOLDER": str(tmp_path),
        }
        process = subprocess.Popen(
            [sys.executable, str(STUB_UP), "up", "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors.open("w"),
            text=True,
            cwd=tmp_path,
            env={**kept, **defaults, **environment},
        )
        started.append(Up(process, errors))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            try:
                one.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
        if one.process.stdout:
            one.process.stdout.close()


@pytest.fixture
def own(kafka: Any, redis_server: Any, namespace: str) -> dict[str, str]:
    """The environment of someone who has a Kafka and a Redis."""
    return {
        "HEADWATER_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "HEADWATER_REDIS_URL": redis_server.url,
        "HEADWATER_NAMESPACE": namespace,
    }


def eventually(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(0.1)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_own_services_are_used_and_only_the_roles_are_started(up, own, namespace, tmp_path):
    headwater = up("--workers", "2", **own)
    line = headwater.line()
    assert line["kafka"] == own["HEADWATER_KAFKA_BOOTSTRAP_SERVERS"]
    assert line["redis"] == own["HEADWATER_REDIS_URL"]
    assert line["namespace"] == namespace
    assert {role: len(pids) for role, pids in line["pids"].items()} == {
        "encoder": 1,
        "learner": 1,
        "worker": 2,
        "console": 1,
    }
    for role, pids in line["pids"].items():
        assert all(role in psutil.Process(pid).cmdline() for pid in pids)
    assert json.loads((tmp_path / "data" / "running.json").read_text()) == line
    assert headwater.stop() == 0
    assert headwater.process.stdout is not None
    assert headwater.process.stdout.read() == "", "stdout holds the one line and nothing of the roles"
    drained = {path.stem for path in tmp_path.glob("*.drained")}
    assert drained == {"encoder", "learner", "worker-0", "worker-1", "console"}
    assert {path.read_text() for path in tmp_path.glob("*.asked")} == {"once\n"}, "nobody is asked twice"
    assert not (tmp_path / "data" / "running.json").exists()


def test_roles_that_listen_on_all_addresses_are_found_ready(up, own):
    line = up("--no-learner", HEADWATER_HOST="0.0.0.0", **own).line()
    assert line["console"].startswith(f"http://{socket.gethostname()}:")


def test_no_learner_leaves_the_learner_out_and_keeps_the_encoder(up, own):
    pids = up("--no-learner", **own).line()["pids"]
    assert "learner" not in pids
    assert "encoder" in pids


def test_a_role_that_died_is_started_again(up, own, tmp_path):
    headwater = up(**own)
    [before] = headwater.line()["pids"]["worker"]
    os.kill(before, signal.SIGKILL)

    def another_worker() -> bool:
        children = psutil.Process(headwater.process.pid).children()
        return any(child.pid != before and "worker" in child.cmdline() for child in children)

    eventually(another_worker, "another worker")
    assert "role.died" in headwater.errors.read_text()
    assert headwater.stop() == 0


def test_no_child_outlives_a_killed_supervisor(up, own):
    if sys.platform != "linux":
        pytest.skip("the kernel's help is Linux's; elsewhere the next start ends what was left")
    headwater = up(**own)
    pids = [pid for pids in headwater.line()["pids"].values() for pid in pids]
    headwater.process.kill()
    headwater.process.wait()
    eventually(lambda: all(map(gone, pids)), "all roles gone")


def test_a_role_that_cannot_start_ends_the_start_with_its_name(up, own):
    headwater = up(STUB_DIES="learner", **own)
    assert headwater.process.wait(PATIENCE_S) == 1
    errors = headwater.errors.read_text()
    assert "learner: ended with status 3" in errors
    assert "learner cannot go on" in errors


def test_services_are_started_guarded_and_brought_back(up, tmp_path):
    first = up()
    line = first.line()
    assert set(line["pids"]) == {"kafka", "redis", "encoder", "learner", "worker", "console"}

    refused = up()
    assert refused.process.wait(PATIENCE_S) == 1
    assert f"pid {first.process.pid}" in refused.errors.read_text()

    beside = up(HEADWATER_DATA_DIR=str(tmp_path / "other"))
    other = beside.line()
    assert other["kafka"] != line["kafka"]
    assert other["redis"] != line["redis"]
    assert beside.stop(signal.SIGINT) == 0
    assert all(gone(pid) for pids in other["pids"].values() for pid in pids)

    [broker] = line["pids"]["kafka"]
    os.kill(broker, signal.SIGKILL)
    eventually(lambda: "service.restarted" in first.errors.read_text(), "the broker restarted")
    assert first.stop() == 0


def test_a_console_whose_port_somebody_took_first_starts_on_another(up, own, tmp_path):
    """Between the choice of a port and the console's own start lie seconds, in which another `up` may choose, too."""
    headwater = up(**own, STUB_ROBBED="console")
    try:
        line = headwater.line()
        assert "role.died" in headwater.errors.read_text()
        assert httpx.get(f"{line['console']}/readyz").status_code == 200
        assert headwater.stop() == 0
    finally:
        os.kill(int((tmp_path / "thief").read_text()), signal.SIGKILL)


def test_a_console_that_cannot_have_its_port_says_so_in_a_line(own):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "streams.cli", "console", "--port", port]
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, env={**os.environ, **own}, check=False
        )
    assert ended.returncode == 2
    assert "choose another --port" in ended.stderr
    assert port in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_stop_during_the_start_ends_cleanly(up, tmp_path):
    headwater = up()
    log = tmp_path / "data" / "kafka" / "kafka.log"
    eventually(log.exists, "the broker being started")
    assert headwater.stop() == 0
    eventually(
        lambda: not any(str(tmp_path) in " ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])),
        "nothing left running",
    )


def test_a_first_start_without_network_says_what_to_do(up, tmp_path):
    (tmp_path / ".jgorc").write_text(f"[repositories]\ncentral = http://127.0.0.1:{any_free()}\n")
    headwater = up(HEADWATER_CACHE_DIR=str(tmp_path / "empty"), HOME=str(tmp_path))
    assert headwater.process.wait(PATIENCE_S) == 1
    errors = headwater.errors.read_text()
    assert "could not be fetched" in errors
    assert "HEADWATER_KAFKA_BOOTSTRAP_SERVERS" in errors
    assert "Traceback" not in errors


def test_bad_settings_are_named_and_their_values_are_not_shown(up):
    headwater = up(HEADWATER_WORKERS="several-secrets")
    assert headwater.process.wait(PATIENCE_S) == 1
    errors = headwater.errors.read_text()
    assert "HEADWATER_WORKERS" in errors
    assert "several-secrets" not in errors
