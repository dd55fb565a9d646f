"""Relief: what a lane did where memory had ended, told in log and metric. The learner itself goes on in any case."""

from __future__ import annotations

import structlog

from recsys.learning.learner import Learner
from streams.observe import metrics

log = structlog.get_logger(__name__)


def relieve(learner: Learner) -> None:
    """Tells what has come since it was last called."""
    for done in learner.relieved():
        metrics.LEARNER_MEMORY_ENDED.labels("sequence").inc()
        tell = log.warning if learner.without is None else log.error
        tell("learner.memory_ended", lane="sequence", doing=done)
