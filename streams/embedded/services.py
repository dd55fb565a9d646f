"""Kafka and Redis for one data folder: those that the settings name are used, the others are started.

In: the settings. Out: settings in which both addresses stand, and what was started, to be looked after and
stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import structlog
from pydantic import SecretStr

from streams.embedded.errors import ServiceDied, ServiceError
from streams.embedded.folder import DataFolder
from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.redis import EmbeddedRedis
from streams.settings import Settings

log = structlog.get_logger(__name__)


class Services:
    """Both services, running while the `with` block runs. Raises a ServiceError on entry where one cannot be
    had.

    Enter it in the main thread: what it starts is ended with the thread that started it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.kafka: EmbeddedKafka | None = None
        self.redis: EmbeddedRedis | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Services:
        given = self.settings
        with ExitStack() as stack:
            folder = stack.enter_context(DataFolder(given.data_dir))
            if given.redis_url is None:
                self.redis = EmbeddedRedis(
                    folder / "redis",
                    port=given.redis_port,
                    port_demanded="redis_port" in given.model_fields_set,
                )
                stack.callback(self.redis.stop, timeout=4)
                self.redis.start()
                log.info("redis.started", url=self.redis.url, pid=self.redis.pid)
            else:
                _wait_for_redis(given.redis_url.get_secret_value())
            if given.kafka_bootstrap_servers is None:
                self.kafka = EmbeddedKafka(
                    folder / "kafka",
                    cache=given.cache_dir.expanduser(),
                    port=given.kafka_port,
                    port_demanded="kafka_port" in given.model_fields_set,
                    heap_mb=given.kafka_heap_mb,
                    progress=lambda line: log.info("kafka.jars", doing=line),
                )
                stack.callback(self.kafka.stop, timeout=9)
                self.kafka.start()
                log.info("kafka.started", bootstrap=self.kafka.bootstrap, pid=self.kafka.pid)
            self._stack = stack.pop_all()
        self.settings = given.model_copy(
            update={
                "data_dir": folder,
                "kafka_bootstrap_servers": self.kafka.bootstrap if self.kafka else given.kafka_bootstrap_servers,
                "redis_url": SecretStr(self.redis.url) if self.redis else given.redis_url,
            }
        )
        return self

    def __exit__(self, *_: object) -> None:
        # ends Redis last: it is entered first. Both are idle by then, as the roles were stopped before.
        self._stack.close()

    def pids(self) -> dict[str, list[int]]:
        """Process ids of what was started and runs."""
        started = {"kafka": self.kafka, "redis": self.redis}
        return {name: [one.pid] for name, one in started.items() if one is not None and one.pid is not None}

    def dead(self) -> list[tuple[str, Callable[[], None]]]:
        """What was started and has ended by itself: (name, how to start it again on its old port)."""
        started = {"redis": self.redis, "kafka": self.kafka}
        return [(name, one.start) for name, one in started.items() if one is not None and not one.running]


def _wait_for_redis(url: str, timeout: float = 20) -> None:
    """Wait until the user's own Redis answers. Raises a ServiceError that shows no password."""
    import redis

    deadline = time.monotonic() + timeout
    while True:
        try:
            with redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3) as client:
                client.ping()
                return
        except ValueError as error:
            raise ServiceError(
                f"HEADWATER_REDIS_URL is not a Redis URL: {error}.",
                "Write it as redis://[user:password@]host:port/0, or rediss:// for TLS.",
            ) from error
        except redis.exceptions.RedisError as error:
            if time.monotonic() > deadline:
                raise ServiceDied(
                    f"The Redis of HEADWATER_REDIS_URL ({without_password(url)}) does not answer: {error}.",
                    "Start it, or mend the URL, or leave HEADWATER_REDIS_URL unset: then one is started here.",
                ) from error
        time.sleep(0.5)


def without_password(url: str) -> str:
    """A Redis URL to show: user and password left out."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
