"""Bootstrap of a worker: the pure core wired to a live World. The one place where the two meet.

In: the settings. Out: a `Core` for the loop, and why it is not ready to be served from yet.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import structlog

from recsys.step import Incoming, step
from recsys.user import decode_user, encode_user
from recsys.world import World
from schemas.decode import decode_event
from streams.feed import Feed, Snapshot
from streams.models import Models, load_models
from streams.observe import metrics
from streams.releases import ReleaseStorage
from streams.settings import Settings
from streams.worker.outcome import Core

log = structlog.get_logger(__name__)


class LiveCore:
    """Loads the models on a thread (seconds), then follows the topics. `core` is for use once `problems()` is empty."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._feed: Feed | None = None
        self._problem = "the text encoder is being loaded"
        self.core = Core(
            decode=decode_event,
            incoming=Incoming,
            step=timed_step,
            encode_user=encode_user,
            decode_user=decode_user,
            world=self._world,
            policy=settings.policy,
        )

    def start(self) -> None:
        threading.Thread(target=self._load, name="models", daemon=True).start()

    def problems(self) -> list[str]:
        return [self._problem] if self._feed is None else self._feed.problems()

    def _load(self) -> None:
        try:
            models = load_models(self._settings)
            storage = ReleaseStorage.of(self._settings)
            feed = Feed(self._settings, empty_world(models), storage, models.encoder_id, _show, models.tuned)
            feed.start()
            self._feed = feed
            while not feed.wait(1.0):
                pass
            # a catalogue is millions of objects that stay: a collection that walks them all stops a step for 100 ms
            gc.collect()
            gc.freeze()
        except Exception as error:
            self._problem = f"the models cannot be loaded: {error}"
            log.exception("worker.models_failed")

    def _world(self) -> tuple[World, Mapping[str, Mapping[int, int]]]:
        assert self._feed is not None
        snapshot = self._feed.current()
        return snapshot.world, snapshot.positions


def empty_world(models: Models) -> World:
    """The World before anything was read."""
    return World.empty(models.dim, models.encode_query, device=models.device)


def timed_step(world: Any, users: Any, events: Any, policy: Any) -> Any:
    """The step with its inner stages on the clock."""
    return step(world, users, events, policy, _stage_timer())


def _stage_timer() -> Callable[[str], None]:
    # the step may work in several threads: each has a clock, and its "wait" only sets it
    last = {threading.get_ident(): time.perf_counter()}

    def ended(stage: str) -> None:
        now, mine = time.perf_counter(), threading.get_ident()
        if stage != "wait":
            _stage(stage).observe(now - last.get(mine, now))
        last[mine] = now

    return ended


@lru_cache(maxsize=32)
def _stage(stage: str) -> Any:
    return metrics.STAGE_SECONDS.labels(f"step.{stage}")


def _show(snapshot: Snapshot) -> None:
    world = snapshot.world
    metrics.CATALOGUE_ITEMS.set(world.whole_items)
    metrics.CATALOGUE_PENDING.set(len(world.catalogue) - world.whole_items)
    metrics.INDEX_RECALL.set(world.dense.recall)
    metrics.WORLD_INFO.clear()
    metrics.WORLD_INFO.labels(**world.names).set(1)
    tail = world.statistics.statistics_id.rpartition("-")[2]
    metrics.STATISTICS_SEQUENCE.set(int(tail) if tail.isdigit() else 0)
