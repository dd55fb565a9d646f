"""The laboratory: an embedded Kafka and Redis on free ports over a folder that goes when the run ends.

In: the settings. Out: settings of fresh namespaces on those services, worker processes, and a Redis to be emptied. A
Kafka or Redis that the settings name is left alone: a benchmark writes millions of records and empties the Redis.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis
from transformers.utils import logging as transformers_logging

from streams.bench.processes import RoleUnderTest
from streams.embedded.services import Services
from streams.kafka.topics import ensure_topics
from streams.models import Models, load_models
from streams.settings import Settings

Say = Callable[[str], None]


class Laboratory:
    """What all benchmarks of a run share. `quick`: everything small, to see that it works. Services start when first
    asked for; enter it in the main thread, with which they end."""

    def __init__(self, settings: Settings, *, quick: bool, say: Say) -> None:
        self.quick = quick
        self.say = say
        self._given = settings
        self._running: Settings | None = None
        self._models: Models | None = None
        self._namespaces = 0
        self._stack = ExitStack()

    def __enter__(self) -> Laboratory:
        parent = self._given.data_dir.expanduser().resolve()
        parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix="bench-", dir=parent, ignore_cleanup_errors=True)
        self.folder = Path(self._stack.enter_context(folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def base(self) -> Settings:
        """The settings as given: threads, device, encoder, policy."""
        return self._given

    @property
    def models(self) -> Models:
        """The text encoder's name and size; loaded once."""
        if self._models is None:
            # its bar is for people who wait for a download
            transformers_logging.disable_progress_bar()
            self._models = load_models(self._given)
        return self._models

    def namespace(self, **changed: Any) -> Settings:
        """Settings of a new namespace whose topics exist."""
        if self._running is None:
            self.say("starting Kafka and Redis")
            own = {
                "data_dir": self.folder,
                "releases_url": (self.folder / "releases").as_uri(),
                "kafka_bootstrap_servers": None,
                "redis_url": None,
                "kafka_port": 0,
                "redis_port": 0,
                "kafka_security_protocol": "PLAINTEXT",
                "kafka_replication": 1,
            }
            services = Services(self._given.model_copy(update=own))
            self._running = self._stack.enter_context(services).settings
        self._namespaces += 1
        made = self._running.model_copy(update={"namespace": f"bench{self._namespaces}", **changed})
        ensure_topics(made)
        return made

    def redis(self, settings: Settings) -> Any:
        """A client of the laboratory's Redis; the caller closes it."""
        assert settings.redis_url is not None
        return redis.Redis.from_url(settings.redis_url.get_secret_value(), socket_timeout=60)

    @contextmanager
    def worker(self, settings: Settings, instance: str = "worker-0", **environment: str) -> Iterator[RoleUnderTest]:
        """A worker process that is ready to serve `settings.namespace`; stopped at the end."""
        with self.role(settings, "worker", instance, **environment) as process:
            yield process

    @contextmanager
    def role(
        self, settings: Settings, role: str, instance: str | None = None, **environment: str
    ) -> Iterator[RoleUnderTest]:
        """The process of any role, likewise."""
        instance = instance or role
        self.say(f"starting {instance}")
        log = self.folder / f"{settings.namespace}-{instance}.log"
        process = RoleUnderTest(settings, instance, log, environment, role)
        try:
            process.until_ready()
            yield process
        finally:
            process.stop()
