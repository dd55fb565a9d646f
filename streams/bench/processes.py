"""A role as a process of its own, started as `headwater up` starts it, and what its `/metrics` say.

In: settings and environment. Out: a process that is ready; seconds by stage so far.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from streams.bench.errors import BenchFailed
from streams.embedded import child, ports
from streams.settings import Settings
from streams.supervisor import role_command

READY_WITHIN_S = 240.0
STOP_WITHIN_S = 20.0


class WorkerFailed(BenchFailed):
    """A worker ended or never got ready. The message holds the end of its log."""


class RoleUnderTest:
    """A running worker. Start it in the main thread: it ends with the thread that started it."""

    def __init__(
        self, settings: Settings, instance: str, log: Path, environment: Mapping[str, str], role: str = "worker"
    ) -> None:
        assert settings.redis_url is not None
        self.instance, self._log = instance, log
        port = ports.any_free()
        self._url = f"http://{settings.host}:{port}"
        told = {
            "HEADWATER_NAMESPACE": settings.namespace,
            "HEADWATER_KAFKA_BOOTSTRAP_SERVERS": str(settings.kafka_bootstrap_servers),
            "HEADWATER_KAFKA_SECURITY_PROTOCOL": settings.kafka_security_protocol,
            "HEADWATER_KAFKA_PARTITIONS": str(settings.kafka_partitions),
            "HEADWATER_KAFKA_REPLICATION": str(settings.kafka_replication),
            "HEADWATER_REDIS_URL": settings.redis_url.get_secret_value(),
            "HEADWATER_RELEASES_URL": settings.releases_location,
            "HEADWATER_DATA_DIR": str(settings.data_dir),
            "HEADWATER_WORKER_ID": instance,
            "HEADWATER_LOG_FORMAT": "json",
            "HEADWATER_LOG_LEVEL": "warning",
        }
        with log.open("ab") as file:
            self._process = child.spawn(role_command(role, port), log=file, env={**os.environ, **told, **environment})

    @property
    def pid(self) -> int:
        return self._process.pid

    def until_ready(self) -> None:
        """Returns once it serves. Raises WorkerFailed."""
        deadline = time.monotonic() + READY_WITHIN_S
        with httpx.Client(timeout=5, trust_env=False) as http:
            while True:
                self.check()
                try:
                    answer = http.get(f"{self._url}/readyz")
                    if answer.status_code == 200:
                        return
                    why = answer.text
                except httpx.HTTPError as error:
                    why = type(error).__name__
                if time.monotonic() > deadline:
                    raise WorkerFailed(
                        f"{self.instance} was not ready within {READY_WITHIN_S:.0f} s: {why}\n{self._said()}"
                    )
                time.sleep(0.1)

    def check(self) -> None:
        """Raises WorkerFailed if it has ended."""
        status = self._process.poll()
        if status is not None:
            raise WorkerFailed(f"{self.instance} ended with status {status}.\n{self._said()}")

    def stages(self) -> dict[str, float]:
        """Seconds spent in each stage since its start."""
        text = httpx.get(f"{self._url}/metrics", timeout=10, trust_env=False).raise_for_status().text
        return {
            sample.labels["stage"]: float(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "headwater_stage_seconds_sum"
        }

    def stop(self) -> None:
        child.stop(self._process, STOP_WITHIN_S)

    def _said(self) -> str:
        return child.tail(self._log, lines=15)


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Seconds by stage between two readings, longest first; the inner stages of the step behind the outer ones."""
    found = {name: after[name] - before.get(name, 0.0) for name in after}
    return dict(sorted(found.items(), key=lambda one: (one[0].startswith("step."), -one[1])))
