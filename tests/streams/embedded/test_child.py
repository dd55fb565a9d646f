"""Children: out of Ctrl-C's reach, and for the scheduler one of us."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from streams.embedded import child

WAITS = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_child_has_a_process_group_of_its_own_and_shares_our_session():
    process = child.spawn(WAITS)
    try:
        assert os.getpgid(process.pid) == process.pid  # Ctrl-C goes to the terminal's foreground group alone
        assert os.getsid(process.pid) == os.getsid(0)  # Linux weighs sessions against each other before threads
    finally:
        assert child.stop(process, 10)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux alone does this")
def test_a_child_ends_with_a_killed_parent():
    parents = (
        "import sys, time; from streams.embedded import child\n"
        f"print(child.spawn({WAITS!r}).pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", parents], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        orphan = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    psutil.wait_procs([orphan], timeout=10)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
