"""Child processes that end with their parent: started in a process group of their own, killed if the parent is
killed.

A group of its own keeps Ctrl-C on the terminal from reaching a child directly: the parent stops its children
in their order. A session of its own would do that as well, but Linux shares the cores out between sessions
first (autogroup) and between threads second: Redis then waited up to 55 ms for its turn behind the broker's
compiler, and niceness meant nothing from one process to another.

On Linux the kernel kills a child whose parent thread ends (PR_SET_PDEATHSIG), so start children from a thread
that lives as long as they shall, as a rule the main thread. Elsewhere `end_leftover` ends, at the next start,
what a killed parent left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil  # type: ignore[import-untyped]

_PR_SET_PDEATHSIG = 1
# loaded before any fork: between fork and exec a child may not import
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def spawn(
    command: Sequence[str | Path],
    *,
    log: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command`; its stdout and stderr go to `log` (default: inherited). Raises OSError if it cannot
    run."""
    parent = os.getpid()

    def die_with_parent() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # the parent died before the line above
                os._exit(1)

    return subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=dict(env) if env is not None else None,
        cwd=cwd,
        process_group=0,
        preexec_fn=die_with_parent,
    )


def stop(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Ask `process` to end, and kill it after `timeout` seconds. True if it ended by itself."""
    if process.poll() is None:
        process.terminate()
    return ended(process, timeout)


def ended(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Wait for `process`, which was asked to end, and kill it after `timeout` seconds. True if it ended by itself."""
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def end_leftover(pid_file: Path, mark: str) -> None:
    """End the process that `pid_file` names if it still runs and `mark` is a part of its command line."""
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(int(pid_file.read_text()))
        if any(mark in word for word in process.cmdline()):
            process.kill()
            process.wait(10)


def tail(path: Path, start: int = 0, lines: int = 25) -> str:
    """The last `lines` lines of the file from byte `start` on; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(start, file.tell() - 64 * 1024))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
