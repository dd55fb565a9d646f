"""Every role's metrics and readiness, asked over HTTP where `streams.registry` says that they run.

In: the registry in Redis; each role's /metrics and /readyz. Out: one Snapshot of them all; one Prometheus text in which
each sample carries the labels `role` and `instance`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
import redis
from prometheus_client.parser import text_string_to_metric_families

from streams.observe import metrics
from streams.registry import Role, roles

ASK_WITHIN_S = 2.0
FRESH_S = 0.2  # a snapshot this young is given again


@dataclass(frozen=True, slots=True)
class Answer:
    """What one role said. `text` is empty and `reasons` says why where it did not answer."""

    role: Role
    reasons: list[str]
    text: str

    @property
    def answered(self) -> bool:
        return bool(self.text)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All roles at one moment. `at`: monotonic seconds. `problem`: why the registry could not be read, or empty."""

    at: float
    answers: list[Answer] = field(default_factory=list)
    problem: str = ""


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""(sample name, labels) -> value."""


class Gatherer:
    """Asks all roles at once. `client` is a redis.Redis; `pid` is our own, which is not asked but read."""

    def __init__(self, client: Any, namespace: str, pid: int) -> None:
        self._client, self._namespace, self._pid = client, namespace, pid
        # names and addresses come from the registry: no proxy of the environment stands between
        self._http = httpx.AsyncClient(timeout=ASK_WITHIN_S, trust_env=False)
        self._lock = asyncio.Lock()
        self._last = Snapshot(-1e9)

    async def snapshot(self) -> Snapshot:
        """All roles now, or `FRESH_S` ago at most."""
        async with self._lock:
            if time.monotonic() - self._last.at > FRESH_S:
                self._last = await self._ask_all()
            return self._last

    async def close(self) -> None:
        await self._http.aclose()

    async def _ask_all(self) -> Snapshot:
        try:
            found = await asyncio.to_thread(roles, self._client, self._namespace)
        except (redis.RedisError, ValueError, TypeError) as error:
            return Snapshot(time.monotonic(), problem=f"Redis: {type(error).__name__}: {error}")
        answers = await asyncio.gather(*map(self._ask, found))
        return Snapshot(time.monotonic(), list(answers))

    async def _ask(self, role: Role) -> Answer:
        if role.pid == self._pid:
            return Answer(role, [], metrics.exposition("console").decode())
        try:
            text, ready = await asyncio.gather(
                self._http.get(f"{role.url}/metrics"), self._http.get(f"{role.url}/readyz")
            )
            said = ready.json()
            reasons = [] if ready.status_code == 200 else [str(one) for one in said.get("reasons", ["not ready"])]
            return Answer(role, reasons, text.raise_for_status().text)
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            return Answer(role, [f"does not answer ({type(error).__name__})"], "")


def samples_of(text: str) -> Samples:
    """The samples of a Prometheus text."""
    return {
        (sample.name, frozenset(sample.labels.items())): float(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def federated(answers: Iterable[Answer]) -> bytes:
    """All roles' metrics as one text, each sample labelled with whose it is; `headwater_role_up` says who answered."""
    heads: dict[str, list[str]] = {}
    bodies: dict[str, list[str]] = {}
    up = metrics.ROLE_UP._name
    for answer in answers:
        labels = f'role="{_escaped(answer.role.role)}",instance="{_escaped(answer.role.instance)}"'
        family = ""
        for line in answer.text.splitlines():
            if line.startswith("# "):
                family = line.split(" ", 3)[2]
                if line not in heads.setdefault(family, []):
                    heads[family].append(line)
            elif line and family != up:
                bodies.setdefault(family, []).append(_labelled(line, labels))
        bodies.setdefault(up, []).append(f"{up}{{{labels}}} {float(answer.answered)}")
    row = next(row for row in metrics.TABLE if row.name == up)
    heads[up] = [f"# HELP {up} {row.help}", f"# TYPE {up} gauge"]
    lines = [line for family in sorted(bodies) for line in (*heads.get(family, ()), *bodies[family])]
    return ("\n".join(lines) + "\n").encode()


def _labelled(line: str, labels: str) -> str:
    brace, space = line.find("{"), line.find(" ")
    if brace != -1 and brace < space:
        return f"{line[: brace + 1]}{labels},{line[brace + 1 :]}"
    return f"{line[:space]}{{{labels}}}{line[space:]}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
