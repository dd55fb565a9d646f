"""A server as a child process: started, awaited, stopped, killed, its death explained. Kafka and Redis fill it in.

Goes in: a folder for its state, a preferred port. Comes out: a server that answers, its log in the folder.
"""

from __future__ import annotations

import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from streams.embedded import child, ports
from streams.embedded.errors import ServiceDied, ServiceError, UnsupportedPlatform
from streams.embedded.folder import disk_full

_LOG_LIMIT_BYTES = 4 << 20
_ATTEMPTS = 3


class Service(ABC):
    """One server in `folder`. `port` is preferred, or insisted on where `port_demanded`; 0 means any free one.

    After the first `start` the object keeps its port, so that clients find the server again after a restart.
    """

    name: str  # as a person writes it
    setting: str  # that names the port
    remedy: str  # what to do if it died and the log says nothing

    def __init__(self, folder: Path, *, port: int, port_demanded: bool = False) -> None:
        self.folder = folder.resolve()
        self.log_file = self.folder / f"{self.name.lower()}.log"
        self._port = port
        self._port_demanded = port_demanded
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self.running and self._process else None

    def start(self, timeout: float = 90) -> None:
        """Start it and return once it answers, at the latest after `timeout` seconds. Raises a ServiceError."""
        if self.running:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._start(timeout)
        except OSError as error:
            there = next(one for one in (self.folder, *self.folder.parents) if one.exists())
            if full := disk_full(there, f"{self.name} cannot be started", error=error):
                raise full from error
            raise
        self._port_demanded = True

    def stop(self, timeout: float = 15) -> None:
        """End it cleanly, or kill it after `timeout` seconds. What is stopped already stays so."""
        if self._process is not None:
            child.stop(self._process, timeout)
            (self.folder / "pid").unlink(missing_ok=True)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Stop and start on the same port, with the same state."""
        self.stop()
        self.start()

    def log_tail(self, lines: int = 25) -> str:
        """The end of what the server wrote since its last start."""
        return child.tail(self.log_file, self._log_start, lines)

    # what a service fills in --------------------------------------------------------------------------------

    @abstractmethod
    def _mark(self) -> str:
        """A part of the command line by which a server that an earlier parent left behind is known."""

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """Write the configuration for `self._port` and return the command line."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server serves now. Waits half a second at most, raises nothing."""

    @abstractmethod
    def _unsupported(self, why: str) -> UnsupportedPlatform:
        """The error for a program that cannot run on this machine."""

    def _explain(self, what: str, log: str) -> ServiceError | None:
        """A more telling error for a death, if the log holds one."""
        return None

    # --------------------------------------------------------------------------------------------------------

    def _start(self, timeout: float) -> None:
        child.end_leftover(self.folder / "pid", self._mark())
        demanded, wish = self._port_demanded, self._port
        for attempt in range(_ATTEMPTS):
            self._port = ports.choose(wish, demanded=demanded, service=self.name, setting=self.setting)
            try:
                self._run(self._command(), time.monotonic() + timeout)
                return
            except ServiceDied as error:
                # another process may take a port between our look and the server's bind
                if demanded or attempt == _ATTEMPTS - 1 or "Address already in use" not in error.problem:
                    raise

    def _run(self, command: Sequence[str | Path], deadline: float) -> None:
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_LIMIT_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = self._spawned(command, log)
        try:
            (self.folder / "pid").write_text(str(self._process.pid))
            while not self._answers():
                status = self._process.poll()
                if status is not None:
                    raise self._died(f"ended with status {status} while it was starting", self.log_tail())
                if time.monotonic() > deadline:
                    raise self._died("did not answer in time", self.log_tail())
                time.sleep(0.03)
        except BaseException:
            self.kill()
            raise

    def _spawned(self, command: Sequence[str | Path], log: object) -> subprocess.Popen[bytes]:
        try:
            return child.spawn(command, log=log, cwd=self.folder)  # type: ignore[arg-type]
        except OSError as error:
            raise self._unsupported(f"{command[0]} cannot be run ({error.strerror})") from error

    def _died(self, what: str, log: str) -> ServiceError:
        if full := disk_full(self.folder, f"{self.name} {what}", log):
            return full
        return self._explain(what, log) or ServiceDied(
            f"{self.name} {what}. The end of {self.log_file}:\n{log or '(nothing was written)'}", self.remedy
        )
