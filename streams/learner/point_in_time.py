"""Point in time: the statistics that a choice is to be seen with, those of before it.

In: snapshots of the feed as they come, and where a batch of events begins in its log. Out: the World with the newest
statistics that had counted none of the batch.

What serves counts an event within a second or two; a learner that has fallen behind, or goes on from its checkpoint,
reads it later than that. With statistics that count a choice already it would find an item popular because it was
chosen, and learn to trust that. So the checkpoint says which release of statistics it stood on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from recsys.statistics import Statistics
from recsys.world import World
from schemas.releases import Release
from streams.feed import Snapshot
from streams.releases import ReleaseUnusable

_MOST = 4  # the neighbours of 100,000 items take 80 MB
_LAG = 20_000
"""Events that statistics may lack, or a tenth of those that they count: with fewer they say something else than those
that serve do."""
Offsets = Mapping[int, int]
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Held:
    """`world`: the newest that had these statistics, while its catalogue is that of the newest of all: what it has
    worked out needs no second time."""

    release: Release | None
    statistics: Statistics
    world: World | None = None


class PointInTime:
    """`see` every snapshot, on whichever thread; ask `world` for each batch, in the order of the log."""

    def __init__(self) -> None:
        """At the beginning of the log, where nothing was counted."""
        self._held = [_Held(None, Statistics.empty())]  # by age
        self._lock = threading.Lock()
        self._made: tuple[World, World] | None = None

    def see(self, snapshot: Snapshot) -> None:
        release, world = snapshot.statistics, snapshot.world
        with self._lock:
            for one in self._held:
                if one.world is not None and one.world.catalogue is not world.catalogue:
                    one.world = None
            if release is not None and not (self._held and release == self._held[-1].release):
                self._held.append(_Held(release, world.statistics))
            if self._held and release == self._held[-1].release:
                self._held[-1].world = world
            if len(self._held) > _MOST:  # the further back, the further apart
                del self._held[1:-1:2]

    def world(self, world: World, first: Offsets) -> World:
        """`world` with the newest statistics that have counted nothing from `first` on: where the reader stood in all
        partitions of `events` before the batch. Where there are none such, or only such as lack too much: as it is."""
        with self._lock:
            fit = [at for at, one in enumerate(self._held) if _before(counted(one.release), first)]
            if not fit:
                return world
            del self._held[: fit[-1]]  # later batches begin later
            then, statistics = self._held[0].world, self._held[0].statistics
            if _lags(counted(self._held[0].release), first):
                return world
        if statistics is world.statistics:
            return world
        if then is not None and _alike(then, world):
            return then
        if self._made is None or self._made[0] is not world or self._made[1].statistics is not statistics:
            self._made = world, world.advanced(statistics=statistics)
        return self._made[1]

    def dump(self) -> dict[str, Any] | None:
        """The release that was stood on last, as JSON knows it."""
        with self._lock:
            release = self._held[0].release if self._held else None
        return None if release is None else release.model_dump(mode="json")

    def go_on(self, dumped: Mapping[str, Any] | None, load: Callable[[Release], Statistics]) -> None:
        """Stands where `dump` was called, before anything is seen. Where the file is gone it stands nowhere."""
        if dumped is None:
            return
        release = Release.model_validate(dumped)
        try:
            self._held = [_Held(release, load(release))]
        except ReleaseUnusable as error:
            self._held = []
            log.warning(
                "learner.statistics_gone", release_id=release.release_id, why=str(error),
                doing="seeing events that were counted since with the newest",
            )  # fmt: skip


def counted(release: Release | None) -> dict[int, int]:
    """How far a release of statistics has counted each partition of `events`."""
    read = {} if release is None else release.trained_through.offsets
    return {int(partition): offset for partition, offset in read.items()}


def _alike(then: World, now: World) -> bool:
    return all(
        getattr(then, part) is getattr(now, part) for part in ("catalogue", "dense", "ranker", "sequence", "canary")
    )


def _before(through: Offsets, first: Offsets) -> bool:
    return all(through.get(partition, 0) <= offset for partition, offset in first.items())


def _lags(through: Offsets, first: Offsets) -> bool:
    known = sum(through.get(partition, 0) for partition in first)
    return sum(first.values()) - known > max(_LAG, known // 10)
