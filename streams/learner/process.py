"""What the learner and the encoder share as processes: signals, health, registration, and the wait to be elected.

In: the settings, a role's name, and what it does while it leads. Out: an exit status. 0: asked to stop, and
stopped in order; 2: the topics are not as they must be, and starting again won't help. Both give way to workers on the
same cores (`background_nice`).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Literal

import structlog
from confluent_kafka import KafkaException

from streams.kafka.clients import KafkaUnreachable
from streams.kafka.topics import WrongTopics, ensure_topics
from streams.learner.election import Election
from streams.observe import logs
from streams.observe.health import HealthServer, Heartbeat
from streams.registry import Registration
from streams.releases import StorageAway
from streams.settings import Settings

WRONG_CLUSTER = 2
_MOST_WAIT_S = 5.0
log = structlog.get_logger(__name__)

Lead = Callable[[Settings, Election, "RoleProcess"], None]


class RoleProcess:
    """`stopping` turns true on SIGTERM; `problem` is why the role is not ready, None once it is."""

    def __init__(self, settings: Settings, port: int, role: Literal["learner", "encoder"]) -> None:
        self._settings, self._port, self._role = settings, port, role
        self.stopping = False
        self.problem: str | None = "Kafka has not answered yet"
        self.beat = Heartbeat()

    def run(self, lead: Lead) -> None:
        """Until asked to stop. Does not return: ends the process."""
        settings = self._settings
        os.nice(settings.background_nice)
        instance = f"{self._role}-{socket.gethostname()}-{os.getpid()}"
        logs.configure(settings.log_level, settings.log_format, role=self._role, instance=instance)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        checks = lambda: [self.problem] if self.problem else []  # noqa: E731
        with ExitStack() as stack:
            health = stack.enter_context(
                HealthServer(settings.host, self._port, checks, alive=self.beat.alive, role=self._role)
            )
            if settings.redis_url is not None:
                address = settings.redis_url.get_secret_value()
                stack.enter_context(Registration(address, settings.namespace, self._role, instance, health.url))
            status = self._serve(lead)
        log.info(f"{self._role}.stopped", status=status)
        sys.exit(status)

    def _stop(self, *_: Any) -> None:
        self.stopping = True

    def _serve(self, lead: Lead) -> int:
        wait = 0.2
        while not self.stopping:
            self.beat.tick()
            try:
                ensure_topics(self._settings)
                self._stand_by(lead)
            except (KafkaUnreachable, KafkaException, StorageAway) as error:
                away = "the storage of releases" if isinstance(error, StorageAway) else "Kafka"
                self.problem = f"{away} does not answer ({error}); trying again"
                log.warning(f"{self._role}.away", what=away, error=str(error), again_in_s=wait)
                until = time.monotonic() + wait
                while time.monotonic() < until and not self.stopping:
                    time.sleep(0.05)
                wait = min(2 * wait, _MOST_WAIT_S)
            except WrongTopics as error:
                log.error(f"{self._role}.wrong_topics", reason=str(error))
                return WRONG_CLUSTER
            else:
                wait = 0.2
        return 0

    def _stand_by(self, lead: Lead) -> None:
        election = Election(self._settings, self._role)
        try:
            while not self.stopping:
                self.beat.tick()
                # one that stands by is as ready as it can be
                self.problem = None if election.joined else "the group has not answered yet"
                if election.poll(0.2):
                    lead(self._settings, election, self)
        finally:
            election.close()
