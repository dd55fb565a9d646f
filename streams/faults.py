"""Places where a test may kill a process, to prove that nothing is lost or done twice, whatever dies when.

`HEADWATER_FAULT=after:save:3` ends the process with SIGKILL as it leaves the stage `save` for the third time. The
worker's stages are those of `streams.worker.partition` and `streams.worker.publisher`; the learner's name what they are
of first. Of a file: `write`, it lies there under a passing name, and `move`, it has its own. Of a record: `confirm`,
the coordinator says that this process leads, and `deliver`, Kafka has it. Unset, a stage costs one empty call.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

WORKER = ("open", "decode", "load", "step", "save", "produce", "publish", "confirm", "acknowledge")
_FILES = ("statistics", "ranker", "sequence", "adapter", "encoder")
_CHECKPOINTS = ("statistics-checkpoint", "models-checkpoint", "tuning-checkpoint")
_RECORDS = ("statistics", "models", "encoder", "alert", "receipt")
LEARNER = (
    *(f"{lane}.{stage}" for lane in ("statistics", "models", "tuning") for stage in ("read", "learn")),
    *(f"{name}.{stage}" for name in (*_FILES, *_CHECKPOINTS) for stage in ("write", "move")),
    *(f"{name}.{stage}" for name in _RECORDS for stage in ("confirm", "deliver")),
)
STAGES = (*WORKER, *LEARNER)


def _nothing(stage: str) -> None:
    pass


def killer(fault: str) -> Callable[[str], None]:
    """The hook for one value of HEADWATER_FAULT. Raises ValueError for one that can't be understood."""
    if not fault:
        return _nothing
    words = fault.split(":")
    if len(words) != 3 or words[0] != "after" or words[1] not in STAGES or not words[2].isdigit():
        raise ValueError(f"HEADWATER_FAULT={fault!r} is not after:<stage>:<n> with a stage of {', '.join(STAGES)}")
    wanted, left = words[1], int(words[2])

    def passed(stage: str) -> None:
        nonlocal left
        if stage == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return passed


passed = killer(os.environ.get("HEADWATER_FAULT", ""))
