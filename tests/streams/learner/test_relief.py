"""What a lane does where memory ends is in the log and in a metric."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from recsys.learning.learner import Learner
from recsys.policy import Policy
from streams.learner.relief import relieve
from streams.observe import metrics


def counted() -> float:
    value: float = metrics.LEARNER_MEMORY_ENDED.labels("sequence")._value.get()
    return value


@pytest.mark.parametrize(("without", "level"), [(None, "warning"), ("CUDA out of memory", "error")])
def test_each_relief_is_told_once(without: str | None, level: str) -> None:
    learner, before = Learner(Policy()), counted()
    learner._relieved = ["taking steps of 512 predictions (CUDA out of memory)"]
    learner.without = without
    with capture_logs() as told:
        relieve(learner)
        relieve(learner)
    assert [(one["log_level"], one["event"], one["lane"]) for one in told] == [
        (level, "learner.memory_ended", "sequence")
    ]
    assert "512" in told[0]["doing"]
    assert counted() == before + 1
