"""A role that does nothing: registers, answers /readyz, drains on SIGTERM. Started by stub_up.py, not by
pytest."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from streams.observe.health import HealthServer
from streams.registry import Registration

role, port = sys.argv[1], int(sys.argv[3])
instance = os.environ["HEADWATER_WORKER_ID"] if role == "worker" else role
folder = Path(os.environ["STUB_FOLDER"])
if os.environ.get("STUB_DIES") == role:
    print(f"{role} cannot go on", file=sys.stderr)
    sys.exit(3)
if os.environ.get("STUB_ROBBED") == role and not (folder / "thief").exists():
    hold = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); print(flush=True); time.sleep(60)"
    thief = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE)
    assert thief.stdout
    assert thief.stdout.readline()
    (folder / "thief").write_text(str(thief.pid))
    sys.exit(2)
stop = threading.Event()


def asked_to_stop(*_: object) -> None:
    with (folder / f"{instance}.asked").open("a") as file:
        file.write("once\n")
    stop.set()


signal.signal(signal.SIGTERM, asked_to_stop)
print(f"{role} says something on its stdout", flush=True)
with (
    HealthServer(os.environ.get("HEADWATER_HOST", "127.0.0.1"), port, checks=list) as health,
    Registration(os.environ["HEADWATER_REDIS_URL"], os.environ["HEADWATER_NAMESPACE"], role, instance, health.url),
):
    stop.wait()
(folder / f"{instance}.drained").write_text(str(os.getpid()))
