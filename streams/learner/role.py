"""The learner as a process: stands by until it is elected, then runs its lanes until it is not.

In: the settings and a port for its health. Out: releases and an exit status: 0 when asked to stop and all was
written down, 2 when the cluster is not as it must be.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import structlog
from confluent_kafka import KafkaException

from streams.learner.announce import Announcer
from streams.learner.election import Election
from streams.learner.process import RoleProcess
from streams.learner.refusals import AGAIN_S
from streams.learner.statistics import StatisticsLane
from streams.observe import metrics
from streams.releases import ReleaseUnusable
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.learner.models import ModelLane

_BATCH = 2000
_IDLE_S = 0.05
log = structlog.get_logger(__name__)


def run(settings: Settings, port: int) -> None:
    """Runs a learner until SIGTERM or Ctrl-C; ends the process with its status."""
    RoleProcess(settings, port, "learner").run(lead)


def lead(settings: Settings, election: Election, process: RoleProcess) -> None:
    """One term: from the election to its loss, or to the end of the process."""
    metrics.LEARNER_ACTIVE.set(1)
    announcer = Announcer(settings, election)
    lane = StatisticsLane(settings, election, announcer)
    models = _models(settings, announcer) if settings.learning.models else None
    try:
        interval, published = settings.statistics_interval_ms / 1000, 0.0
        while election.poll() and not process.stopping:
            process.beat.tick()
            lane.take(lane.reader.take(_BATCH, _IDLE_S))
            now = time.monotonic()
            try:
                if lane.changed and now - published >= interval:
                    published = now
                    lane.publish()
            except ReleaseUnusable:
                # what was counted stays in memory, and the World in hand goes on serving
                published = now + AGAIN_S
            with contextlib.suppress(ReleaseUnusable):  # told by the lane
                lane.look_after()
            if models is not None:
                models.poll()
            process.problem = _problem(lane, models)
        if election.leading:
            for last_word in (lane.publish, lane.save):
                with contextlib.suppress(ReleaseUnusable):  # whoever leads next counts again from the last checkpoint
                    last_word()
    except KafkaException as error:
        log.warning("learner.kafka_away", error=str(error.args[0]))
        raise
    finally:
        metrics.LEARNER_ACTIVE.set(0)
        if models is not None:
            models.close(save=election.leading)
        lane.close()


def _problem(lane: StatisticsLane, models: ModelLane | None) -> str | None:
    if lane.reader.behind():
        return "the log is being read from its beginning"
    return lane.refusals.problem or (models.refusals.problem if models is not None else None)


def _models(settings: Settings, announcer: Announcer) -> ModelLane:
    # torch takes seconds to import, and statistics do without
    from streams.learner.models import ModelLane

    lane = ModelLane(settings, announcer)
    lane.start()
    return lane
