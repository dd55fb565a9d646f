"""Where a command finds Kafka and Redis: the one rule.

In: the settings. Out: addresses that answer. What `HEADWATER_KAFKA_BOOTSTRAP_SERVERS`, `HEADWATER_REDIS_URL`
and `HEADWATER_NAMESPACE` say holds. What they leave unset comes from the `headwater up` that runs in this
data folder: it writes its line of `up --json` into `<data_dir>/running.json` and removes it when it stops.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from streams.settings import Settings


class NotConnected(RuntimeError):  # noqa: N818
    """No Kafka or Redis is named or running. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Addresses that a command uses.

    `redis_url` can hold a password: show `str(connection)`, not the field.
    """

    bootstrap: str
    redis_url: str
    namespace: str

    def __str__(self) -> str:
        return f"Kafka at {self.bootstrap}, namespace {self.namespace}"

    def settings(self, settings: Settings) -> Settings:
        """`settings` with these addresses in place, for what makes clients from settings."""
        return settings.model_copy(
            update={
                "kafka_bootstrap_servers": self.bootstrap,
                "redis_url": SecretStr(self.redis_url) if self.redis_url else None,
                "namespace": self.namespace,
            }
        )


def running_file(settings: Settings) -> Path:
    """Where `headwater up` says what it runs."""
    return settings.data_dir / "running.json"


def connection(settings: Settings, *, redis: bool = False) -> Connection:
    """The addresses to use.

    `redis` says whether the caller needs a Redis too; if not, `redis_url` may be empty. Raises NotConnected
    when what is needed is neither set nor running.
    """
    bootstrap = settings.kafka_bootstrap_servers or ""
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    namespace = settings.namespace
    if not bootstrap or (redis and not redis_url):
        running = _running(settings)
        if not bootstrap and "namespace" not in settings.model_fields_set:
            namespace = str(running.get("namespace", namespace))
        bootstrap = bootstrap or _answering(str(running["kafka"]), settings)
        redis_url = redis_url or str(running["redis"])
    return Connection(bootstrap, redis_url, namespace)


def _running(settings: Settings) -> dict[str, Any]:
    path = running_file(settings)
    try:
        line = json.loads(path.read_text(encoding="utf-8"))
        line["kafka"], line["redis"]
    except FileNotFoundError:
        raise NotConnected(
            f"Nothing runs in {settings.data_dir.resolve()}. Start `headwater up` there (in another terminal) and wait "
            "until it says where the console is, or set HEADWATER_KAFKA_BOOTSTRAP_SERVERS and HEADWATER_REDIS_URL to "
            "your own; HEADWATER_DATA_DIR names another folder."
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise NotConnected(
            f"{path} can't be read ({type(error).__name__}: {error}). Stop `headwater up`, remove the file and "
            "start again."
        ) from None
    return dict(line)


def _answering(bootstrap: str, settings: Settings) -> str:
    """`bootstrap` if a socket opens there: a `headwater up` that was killed leaves its file behind."""
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except (OSError, ValueError):
        raise NotConnected(
            f"{running_file(settings)} names a Kafka at {bootstrap}, and nothing answers there: that "
            "`headwater up` has ended. Start it again."
        ) from None
    return bootstrap
