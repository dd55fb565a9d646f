"""`headwater up`: services and roles as child processes, watched, restarted, and stopped in order.

The flow: open the data folder -> Redis, Kafka -> topics -> roles -> wait until each role is ready -> report
-> watch. On SIGTERM, SIGINT or SIGHUP it goes back the same way: roles (they drain), then Kafka and Redis. If
the supervisor is killed outright, the kernel ends its children (see `streams.embedded.child`)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import redis
import structlog

from streams.connection import running_file
from streams.embedded import child, ports
from streams.embedded.errors import ServiceError
from streams.embedded.services import Services
from streams.registry import Role, roles
from streams.settings import Settings

log = structlog.get_logger(__name__)

DRAIN_S = 14.0  # for the roles; with Kafka's 9 s and Redis' 4 s a stop stays under 30 s
FIRST_BACKOFF_S = 0.5
MOST_BACKOFF_S = 30.0
STEADY_S = 60.0  # a role that ran this long begins again with the first back-off
DEATHS_BEFORE_READY = 4
READY_WITHIN_S = 300.0
_LOOK_S = 0.2


class Stopped(BaseException):
    """Asked to stop by a signal. Not an Exception, so that nothing on the way catches it."""


class NotReady(RuntimeError):  # noqa: N818
    """A role does not come up. The message says which and why."""


@dataclass(slots=True)
class Member:
    """A role's process and its fate. Times are of the monotonic clock, in seconds."""

    role: str
    instance: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    due: float = 0.0
    deaths: int = 0
    ready: bool = False
    reasons: str = "not started"
    url: str = ""

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


def role_command(role: str, port: int) -> list[str]:
    """How a role is started: the role stands as a word in the command line."""
    return [sys.executable, "-P", "-m", "streams.cli", role, "--port", str(port)]


class Supervisor:
    """Everything that `headwater up` runs. `run` returns only by an exception, `Stopped` as a rule.

    `command(role, port)` gives a role's command line.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        learner: bool = True,
        command: Callable[[str, int], Sequence[str]] = role_command,
    ) -> None:
        self._given = settings
        self._settings = settings
        self._learner = learner
        self._command = command
        self._members: list[Member] = []
        self._service_backoff: dict[str, tuple[float, float]] = {}

    def run(self, report: Callable[[dict[str, Any]], None]) -> None:
        """Start all, call `report` with the line of `up --json` once all is ready, and watch until stopped.

        Raises ServiceError, NotReady, or what the topics' check raises; all that was started has ended by
        then."""
        from streams.kafka.topics import ensure_topics

        with Services(self._given) as services:
            self._settings = services.settings
            ensure_topics(self._settings)
            log.info("topics.ready", namespace=self._settings.namespace)
            self._members = self._plan()
            file = running_file(self._settings)
            try:
                self._until_ready(services)
                line = self._line(services)
                scratch = file.with_suffix(".new")
                # it can hold the password of a Redis URL
                scratch.touch(mode=0o600)
                scratch.write_text(json.dumps(line) + "\n")
                scratch.replace(file)
                report(line)
                while True:
                    self._look_after(services)
                    time.sleep(_LOOK_S)
            finally:
                file.unlink(missing_ok=True)
                self._stop_roles()

    # --------------------------------------------------------------------------------------------------------

    @property
    def _console_port_demanded(self) -> bool:
        return "console_port" in self._given.model_fields_set

    def _console_command(self) -> Sequence[str]:
        port = ports.choose(
            self._settings.console_port,
            demanded=self._console_port_demanded,
            service="the console",
            setting="HEADWATER_CONSOLE_PORT",
        )
        return self._command("console", port)

    def _plan(self) -> list[Member]:
        names = ["encoder", *(["learner"] if self._learner else [])]
        workers = [Member("worker", f"worker-{i}", self._command("worker", 0)) for i in range(self._settings.workers)]
        others = [Member(name, name, self._command(name, 0)) for name in names]
        return [*others, *workers, Member("console", "console", self._console_command())]

    def _environment(self, member: Member) -> dict[str, str]:
        settings = self._settings
        assert settings.kafka_bootstrap_servers is not None
        assert settings.redis_url is not None
        added = {
            "HEADWATER_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "HEADWATER_REDIS_URL": settings.redis_url.get_secret_value(),
            "HEADWATER_NAMESPACE": settings.namespace,
            "HEADWATER_DATA_DIR": str(settings.data_dir),
        }
        if member.role == "worker":
            added["HEADWATER_WORKER_ID"] = member.instance
        return {**os.environ, **added}

    def _start(self, member: Member) -> None:
        if member.role == "console" and member.deaths and not self._console_port_demanded:
            member.command = self._console_command()  # another process may have been quicker at the port
        # a role's stdout joins its stderr: our own stdout holds the one line of data
        member.process = child.spawn(member.command, log=sys.stderr.buffer, env=self._environment(member))
        member.started = time.monotonic()
        member.ready, member.reasons = False, "starting"

    def _look_after(self, services: Services) -> None:
        """One round: start again what has ended and whose back-off is over."""
        now = time.monotonic()
        for name, start in services.dead():
            due, backoff = self._service_backoff.get(name, (0.0, FIRST_BACKOFF_S))
            if now < due:
                continue
            log.error("service.died", service=name, doing="starting it again")
            self._service_backoff[name] = (now + backoff, min(2 * backoff, MOST_BACKOFF_S))
            try:
                start()
                log.info("service.restarted", service=name)
            except ServiceError as error:
                log.error("service.not_restarted", service=name, problem=error.problem)
        for member in self._members:
            if member.running:
                continue
            if member.process is not None:
                self._note_death(member, member.process.returncode)
            if time.monotonic() >= member.due:
                self._start(member)

    def _note_death(self, member: Member, status: int) -> None:
        ran = time.monotonic() - member.started
        member.deaths = 1 if ran > STEADY_S else member.deaths + 1
        backoff = min(FIRST_BACKOFF_S * 2 ** (member.deaths - 1), MOST_BACKOFF_S)
        member.due = time.monotonic() + backoff
        member.process, member.ready, member.reasons = None, False, f"ended with status {status}"
        log.error(
            "role.died",
            role=member.role,
            instance=member.instance,
            status=status,
            ran_s=round(ran, 1),
            again_in_s=backoff,
        )

    def _until_ready(self, services: Services) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        told = time.monotonic()
        assert self._settings.redis_url
        with (
            redis.Redis.from_url(self._settings.redis_url.get_secret_value(), socket_timeout=5) as client,
            httpx.Client(timeout=2, trust_env=False) as http,
        ):
            while True:
                self._look_after(services)
                self._ask(client, http)
                waiting = [member for member in self._members if not member.ready]
                if not waiting:
                    return
                why = "; ".join(f"{member.instance}: {member.reasons}" for member in waiting)
                if any(member.deaths >= DEATHS_BEFORE_READY for member in waiting):
                    raise NotReady(
                        f"A role ended {DEATHS_BEFORE_READY} times before it was ready ({why}). Its "
                        "own messages "
                        "are above; mend what they name and start again."
                    )
                if time.monotonic() > deadline:
                    raise NotReady(
                        f"Not ready after {READY_WITHIN_S:.0f} s ({why}). Mend what is named and start again."
                    )
                if time.monotonic() - told > 5:
                    told = time.monotonic()
                    log.info("waiting", waiting_for=why)
                time.sleep(_LOOK_S)

    def _ask(self, client: Any, http: httpx.Client) -> None:
        """Ask those that are not ready yet whether they are now."""
        try:
            found = {role.pid: role for role in roles(client, self._settings.namespace)}
        except redis.RedisError as error:
            found = {}
            log.warning("redis.away", error=type(error).__name__)
        for member in self._members:
            if member.process is None or member.ready:
                continue
            role = found.get(member.process.pid)
            member.ready, member.reasons = _readiness(role, http)
            member.url = role.url if role else ""

    def _line(self, services: Services) -> dict[str, Any]:
        settings = self._settings
        assert settings.redis_url
        return {
            "kafka": settings.kafka_bootstrap_servers,
            "redis": settings.redis_url.get_secret_value(),
            "console": next(member.url for member in self._members if member.role == "console"),
            "namespace": settings.namespace,
            "pids": {**services.pids(), **self.pids()},
        }

    def pids(self) -> dict[str, list[int]]:
        """Process ids of the roles that run."""
        found: dict[str, list[int]] = {}
        for member in self._members:
            if member.running and member.process is not None:
                found.setdefault(member.role, []).append(member.process.pid)
        return found

    def _stop_roles(self) -> None:
        running = [member.process for member in self._members if member.running and member.process is not None]
        if running:
            log.info("stopping", roles=len(running))
        for process in running:
            process.terminate()
        deadline = time.monotonic() + DRAIN_S
        for process in running:
            # not asked a second time: it could come into the middle of what the first has begun
            if not child.ended(process, max(0.1, deadline - time.monotonic())):
                log.warning("role.killed", pid=process.pid, reason=f"it did not end within {DRAIN_S:.0f} s")


def _readiness(role: Role | None, http: httpx.Client) -> tuple[bool, str]:
    """Whether a role is ready, and if not, why."""
    if role is None:
        return False, "starting"
    try:
        # by the loopback address: a role that listens on all is registered by a name that need not resolve here
        url = httpx.URL(role.url)
        if url.host == socket.gethostname():
            url = url.copy_with(host="127.0.0.1")
        answer = http.get(url.copy_with(path="/readyz"))
        if answer.status_code == 200:
            return True, ""
        reasons = answer.json().get("reasons", [])
        return False, ", ".join(map(str, reasons)) or f"status {answer.status_code}"
    except (httpx.HTTPError, ValueError, AttributeError) as error:
        return False, f"{role.url}/readyz: {type(error).__name__}"


@contextmanager
def stop_signals() -> Iterator[None]:
    """Within it, the first SIGTERM, SIGINT or SIGHUP raises `Stopped` in the main thread; later ones do
    nothing.

    So a stop takes effect wherever the start has got to, and nothing cuts the clean-up short.
    """
    signals = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signals.append(signal.SIGHUP)

    def raise_once(number: int, frame: Any) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(signal.Signals(number).name)

    before = {each: signal.signal(each, raise_once) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
