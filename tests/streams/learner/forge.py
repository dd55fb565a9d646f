"""Forks learners that have everything imported: a test that kills twenty of them can't wait twenty times for torch.

In: lines of JSON on stdin, `{"start": {environment}}` or `{"wait": pid}`. Out: a line each, the pid or the status as
`subprocess` tells it (None: still running). A learner here is the real role in a process of its own. `forge.py tuning`
makes learners that tune the encoder, at the pace of a test: rounds of 60 pairs, and no pause between two releases.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module

from streams import faults
from streams.learner.role import run
from streams.settings import Settings

# the last is what torch's optimisers ask for when the first of them is made
for name in ("streams.learner.models", "streams.worker.bootstrap", "torch._dynamo"):
    import_module(name)


def _tune_at_once() -> None:
    from streams.learner import models
    from streams.learner.tuning import Pace, Rates, TuningLane, _import

    _import()
    pace = Pace(enough=60, held=40, drawn=8, pause_s=0)
    models.TuningLane = lambda *given: TuningLane(*given, Rates(rate=2e-3), pace)  # type: ignore[misc, assignment]


if sys.argv[1:] == ["tuning"]:
    _tune_at_once()


def become_a_learner(environment: dict[str, str]) -> None:
    status = 1
    try:
        sys.stdin.close()
        os.environ.update(environment)
        faults.passed = faults.killer(os.environ.get("HEADWATER_FAULT", ""))
        run(Settings(), 0)
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what learners print is their log
    for line in sys.stdin:
        told = json.loads(line)
        if "start" in told:
            answer = os.fork()
            if answer == 0:
                answers.close()
                become_a_learner(told["start"])
        else:
            pid, status = os.waitpid(told["wait"], os.WNOHANG)
            answer = None if pid == 0 else os.waitstatus_to_exitcode(status)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
