"""The statistics lane: the log counted over all users, published as small releases.

In: `events` (all partitions) and `items`. Out: statistics releases, files first and then their records, and a
checkpoint to go on from. `streams.learner.role` keeps it going; one process at a time (`streams.learner.election`).

What happens, in this order, and what a death after each step means:
 1. fold        events -> counts in memory. Lost, and folded again from the checkpoint's offsets.
 2. file        the release's file is written. A file that nobody names; pruned one day.
 3. confirm     the coordinator says that this process still leads. As after 2.
 4. record      the Release is produced and its delivery confirmed. The next leader finds it on the topic and
 goes on
                with the next sequence; its counts come from the checkpoint and the log, so no event counts
                twice. No release has read less than the one before it: who begins anew is silent until then.
 5. checkpoint  counts and offsets, in one file, moved into place. The next leader starts here.
A release is a difference from the last whole one while that pays: a new whole one is due when a difference
holds a quarter of the rows, or when those written since add up to the size of a whole one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import structlog
from confluent_kafka import KafkaException, Message

from recsys.counting import Counts, Limits
from recsys.learning.screen import Screen
from recsys.priors import Shelf
from schemas.alerts import Alert
from schemas.decode import Malformed, decode_event, decode_item
from schemas.events import Forget
from schemas.releases import Base, Release, TrainedThrough
from streams import faults
from streams.learner.announce import Announcer
from streams.learner.bursts import alert_of, vouched
from streams.learner.election import Election
from streams.learner.reading import Reader, last_release, read_through, received_ms
from streams.learner.refusals import AGAIN_S, Refusals
from streams.observe import metrics
from streams.releases import SCHEMA_VERSION, ReleaseStorage, ReleaseUnusable, StorageAway
from streams.settings import Settings

ROLE = "statistics"
_SCREEN = "screen."
_CHECKPOINT_SHARE = 0.02  # of the time may go into checkpoints
_PRUNE_S = 300.0
log = structlog.get_logger(__name__)

Received = Sequence[tuple[str, Message]]


class StatisticsLane:
    """One term of leadership. `take` records as they come, `publish` now and then, `save` on the way out."""

    def __init__(
        self, settings: Settings, election: Election, announcer: Announcer, limits: Limits | None = None
    ) -> None:
        """Takes up the last checkpoint. Raises KafkaException when the brokers do not answer."""
        self._settings = settings
        self._announcer = announcer
        self._election = election
        self._storage = ReleaseStorage.of(settings)
        self._limits = limits
        self._shelf = Shelf()
        self._last = last_release(settings, ROLE)
        self._sequence = 0 if self._last is None else self._last.sequence
        self._base: Base | None = None
        self._base_rows = 0
        self._since_base = 0  # bytes of the differences written since
        self._newest_event_ms = 0
        self.screen = Screen() if settings.learning.screen else None
        self._alerts: list[Alert] = []
        self.refusals = Refusals()
        self._storage.sweep(int(time.time() * 1000))
        self.counts, self.reader = self._resume()
        published = self._last.trained_through.offsets if self._last else {}
        self.changed = any(published.get(str(p), 0) < at for p, at in self.reader.positions["events"].items() if at)
        self._unsaved = False
        self._saved = self._pruned = time.monotonic()
        self._checkpoint_s = settings.learning.checkpoint_s

    def _resume(self) -> tuple[Counts, Reader]:
        """The checkpoint's counts and a reader that stands where they end; or a new beginning."""
        fresh = Counts(self._settings.policy, self._limits)
        try:
            saved = self._storage.load_checkpoint(ROLE)
        except StorageAway:
            raise  # a new beginning would throw away what is only out of reach
        except ReleaseUnusable as error:
            log.warning("learner.checkpoint_unusable", why=str(error), doing="reading the log from its beginning")
            saved = None
        if saved is None:
            return fresh, Reader(self._settings, {"events": {}, "items": {}, "alerts": {}})
        arrays, meta = saved
        offsets = {int(p): at for p, at in meta["offsets"].items()}
        alerts = {int(p): at for p, at in meta.get("alerts", {}).items()}
        reader = Reader(self._settings, {"events": offsets, "items": {}, "alerts": alerts})
        ends = reader.ends["events"]
        if reader.cluster_id != meta["cluster_id"] or any(at > ends.get(p, 0) for p, at in offsets.items()):
            log.warning("learner.checkpoint_of_another_log", doing="reading the log from its beginning")
            reader.__exit__()
            return fresh, Reader(self._settings, {"events": {}, "items": {}, "alerts": {}})
        counts = Counts.restore(arrays, self._settings.policy, self._limits)
        if self.screen is not None and "screen" in meta:
            mine = {n.removeprefix(_SCREEN): array for n, array in arrays.items() if n.startswith(_SCREEN)}
            self.screen = Screen.restore(mine, meta["screen"])
        log.info("learner.resumed", events=counts.events, items=len(counts))
        return counts, reader

    # 1
    # -------------------------------------------------------------------------------------------------------
    def take(self, records: Received) -> None:
        """Folds in records of `events` and `items`. What is malformed is passed over: others dead-letter it."""
        events, received = [], []
        if records:
            faults.passed("statistics.read")
        most, now = self._settings.max_record_bytes, int(time.time() * 1000)
        for topic, record in records:
            key, value = record.key(), record.value()
            if topic == "alerts":
                self._heed(value)
                continue
            if topic == "items":
                change = decode_item(key, value, most)
                if not isinstance(change, Malformed) and self._shelf.place(change):
                    self.changed = True
                continue
            event = decode_event(key, value, most)
            if isinstance(event, Malformed):
                continue
            events.append(event)
            received.append(received_ms(record, now))
        if not records:
            return
        self._unsaved = True
        if events:
            with metrics.stage("fold"):
                weights = None if self.screen is None else self.screen.weigh(events, received).tolist()
                counted = self.counts.learn(events, received, weights)
            for burst in self.screen.bursts() if self.screen is not None else ():
                self._alerts.append(alert_of(burst))
            for event in events:
                if self.screen is not None and isinstance(event, Forget):
                    self.screen.forget(event.user_id)
            metrics.LEARNER_EVENTS.inc(counted)
            self._newest_event_ms = read_through(self._newest_event_ms, received, now)
            self.changed = self.changed or counted > 0
        faults.passed("statistics.learn")

    def _heed(self, value: bytes | None) -> None:
        """An alert that says that an operator vouches for an item."""
        item_id = vouched(value)
        if item_id is not None and self.screen is not None:
            given = self.screen.release(item_id, give_back=True)
            log.info("learner.vouched", withheld=round(given, 2))

    # 2, 3, 4
    # -------------------------------------------------------------------------------------------------
    def publish(self) -> Release | None:
        """The release of what was counted so far; None if this process may not, or Kafka did not confirm it."""
        if not self.changed or self._catching_up():
            return None
        rows, touched = len(self.counts), self.counts.touched
        whole = self._base is None or touched > max(64, self._base_rows // 4) or self._since_base >= self._base.size
        now = int(time.time() * 1000)
        with metrics.stage("release"):
            tallies = self.counts.tallies(self._shelf, touched=not whole)
            with self.refusals.of("releases"):
                place = self._storage.save_statistics(tallies, self._sequence + 1, now, whole=whole)
        release = Release(
            release_id=f"statistics-{place.sha256[:10]}-{self._sequence + 1}",
            role="statistics",
            sequence=self._sequence + 1,
            parent=self._last.release_id if self._last else None,
            created_ts=now,
            trained_through=TrainedThrough(
                ts=self.counts.now or 0,
                offsets={str(p): at for p, at in sorted(self.reader.positions["events"].items())},
            ),
            metrics={"events": self.counts.events, "items": rows, "rows": rows if whole else touched},
            uri=place.uri,
            sha256=place.sha256,
            size=place.size,
            schema_version=SCHEMA_VERSION,
            status="serving",
            base=None if whole else self._base,
        )
        if not self._announcer.announce([release]):
            self._look_again()
            return None
        if whole:
            self.counts.mark()
            self._base, self._base_rows, self._since_base = place, rows, 0
        else:
            self._since_base += place.size
        self._last, self._sequence, self.changed = release, release.sequence, False
        metrics.LEARNER_RELEASES.labels(ROLE).inc()
        metrics.STATISTICS_SEQUENCE.set(release.sequence)
        if self._newest_event_ms:
            metrics.LEARNER_STALENESS_SECONDS.set(max(0.0, time.time() - self._newest_event_ms / 1000))
        log.debug("learner.published", release_id=release.release_id, rows=touched, whole=whole, size=place.size)
        return release

    def _catching_up(self) -> bool:
        """Whether the newest release had read further, as after the loss of a checkpoint: a release now would take back
        what is served."""
        at, ends = self.reader.positions["events"], self.reader.ends["events"]
        read = self._last.trained_through.offsets if self._last else {}
        return any(at.get(int(p), 0) < min(offset, ends.get(int(p), 0)) for p, offset in read.items())

    def _look_again(self) -> None:
        """A release that is not known to have arrived may have arrived all the same: the topic knows."""
        try:
            self._last = last_release(self._settings, ROLE)
            self._sequence = max(self._sequence, self._last.sequence if self._last else 0)
        except KafkaException as error:
            log.warning("learner.kafka_away", error=str(error.args[0]))

    # 5
    # -------------------------------------------------------------------------------------------------------
    def look_after(self) -> None:
        """Tells alerts, checkpoints and prunes when it is time to. Raises ReleaseUnusable."""
        now = time.monotonic()
        self._tell()
        if now - self._saved >= self._checkpoint_s:
            self.save()
        if now - self._pruned >= _PRUNE_S and self._last is not None:
            self._pruned = now
            keep = {self._last.uri} | ({self._base.uri} if self._base else set())
            self._storage.sweep(int(time.time() * 1000))
            gone = self._storage.prune(int(time.time() * 1000), keep)
            log.info("learner.pruned", files=gone)

    def _tell(self) -> bool:
        """Whether no alert waits any more."""
        if self._alerts and self._announcer.announce(self._alerts):
            self._alerts.clear()
        return not self._alerts

    def save(self) -> None:
        """Writes the checkpoint, if there is anything new and this process still leads. Not before the alerts are told:
        who goes on from it would not find them again. Raises ReleaseUnusable."""
        self._saved = time.monotonic()
        if not self._unsaved or not self._tell() or not self._election.confirm():
            return
        with metrics.stage("checkpoint"):
            meta: dict[str, Any] = {
                "cluster_id": self.reader.cluster_id,
                "offsets": {str(p): at for p, at in self.reader.positions["events"].items()},
                "alerts": {str(p): at for p, at in self.reader.positions["alerts"].items()},
            }
            arrays = self.counts.dump()
            if self.screen is not None:
                mine, screen = self.screen.dump()
                arrays |= {f"{_SCREEN}{name}": array for name, array in mine.items()}
                meta["screen"] = screen
            try:
                with self.refusals.of("checkpoints"):
                    self._storage.save_checkpoint(ROLE, arrays, meta)
            except ReleaseUnusable:
                self._saved -= self._checkpoint_s - AGAIN_S
                raise
        self._unsaved = False
        took = time.monotonic() - self._saved
        self._checkpoint_s = max(self._settings.learning.checkpoint_s, took / _CHECKPOINT_SHARE)

    def close(self) -> None:
        self.reader.__exit__()
