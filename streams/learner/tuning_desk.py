"""The edges of the tuning lane: what it reads, and the encoder releases that come of it.

In: `items` and the encoder's `releases` whole, then `events` from where the checkpoint stands; slices of the model
lanes' thread. Out: releases of the role "encoder", which the encoder role and every feed follow; its own checkpoint.

It works between turns of the model lanes, a quarter of a second at a time: torch is loaded and used on one thread, and
the ranker is not kept waiting, nor are the statistics, on the thread of the election. What needs that goes by `ask`.
An operator may choose another encoder (`headwater releases`): candidates then have to be better than that one. While
it is `pinned`, none is released; nor while a sequence release is, which would rest beside another encoder. What was
found meanwhile waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog
from confluent_kafka import KafkaException

from recsys.encoder import Adapter
from schemas.decode import Malformed, decode_event, decode_item
from schemas.events import Event
from schemas.items import Item, Withdrawn
from schemas.releases import Release, TrainedThrough
from streams import faults
from streams.encoders import LAYOUT as RELEASE_LAYOUT
from streams.encoders import ROLE, Encoder, Encoders, loader
from streams.learner.announce import Announcer
from streams.learner.reading import Reader, read_through, received_ms
from streams.learner.tuning import Proposal, TuningLane
from streams.observe import metrics
from streams.releases import ReleaseStorage, ReleaseUnusable, StorageAway
from streams.settings import Settings

CHECKPOINT = "tuning"
LAYOUT = 1
SLICE_S = 0.25
_BATCH = 2000
_REST_S = 30.0  # after a failure
_SAVING = 0.02  # most of its time that goes into checkpoints
_LOOK_S = 30.0  # between two looks for a release whose file could not be read
_PRUNE_S = 300.0
log = structlog.get_logger(__name__)


class _Unsent(NamedTuple):
    """A release whose file is written, and whose record is not known to have arrived."""

    record: Release
    adapter: Adapter


class TuningDesk:
    """One term of leadership, on one thread. `turn` it; `passed` before an erasure is confirmed; `save` at the end."""

    def __init__(
        self,
        settings: Settings,
        storage: ReleaseStorage,
        announcer: Announcer,
        ask: Callable[[Callable[[], Any]], Any],
        lane: TuningLane,
        base: str,
    ) -> None:
        """`ask` has the election's thread do something; `base` is the frozen encoder's id. Takes up the checkpoint.
        Raises KafkaException when the brokers do not answer."""
        self._settings, self._storage, self._announcer, self._ask = settings, storage, announcer, ask
        self.lane = lane
        self._encoders = Encoders(base, loader(storage))
        self._serving: Encoder | None = None
        self._sequence: Release | None = None  # the sequence release that serves
        self._waits_for = ""  # the pinned release that was told of last
        self._shelf = Reader(settings, {"items": {}, "releases": {}})
        self._log, self._read_ts = self._resume()
        self._unsent: _Unsent | None = None
        self._unsaved = False
        self._saved_to = self._places()
        self._save_every = settings.learning.checkpoint_s
        now = time.monotonic()
        self._saved, self._pruned, self._looked, self._rests_until = now, now, 0.0, 0.0

    @property
    def behind(self) -> bool:
        """Whether it has not yet read to where the topics ended at the start."""
        return self._shelf.behind() or self._log.behind()

    def close(self) -> None:
        self._shelf.__exit__()
        self._log.__exit__()

    # a turn
    # -------------------------------------------------------------------------------------------------------
    def turn(self) -> None:
        """Reads on, works for a slice, and releases what came of it. What fails is told, and left for a while: the
        other lanes go on."""
        started = time.monotonic()
        try:
            while self._read() and time.monotonic() - started < SLICE_S:
                pass
            if self._rests_until <= started and not self.behind:
                self._follow()
                self.lane.work(time.monotonic() + SLICE_S)
                self._release()
            if started - self._saved >= self._save_every:
                self.save()
        except Exception as error:
            self._rests_until = self._saved = time.monotonic() + _REST_S
            if isinstance(error, ReleaseUnusable | KafkaException):
                log.warning("tuning.waits", why=str(error))
            else:
                log.exception("tuning.failed", doing="going on in a while")
        metrics.LEARNER_SECONDS.labels("tuning").observe(time.monotonic() - started)

    def _look_at_shelf(self) -> list[Item | Withdrawn]:
        changes: list[Item | Withdrawn] = []
        for topic, message in self._shelf.take(_BATCH, 0.0):
            if topic == "items":
                change = decode_item(message.key(), message.value(), self._settings.max_record_bytes)
                if not isinstance(change, Malformed):
                    changes.append(change)
            elif message.key() in (ROLE.encode(), b"sequence") and message.value() is not None:
                try:
                    release = Release.model_validate_json(message.value() or b"")
                except ValueError as error:
                    log.warning("tuning.release_ignored", offset=message.offset(), why=str(error)[:200])
                    continue
                known = self._sequence
                if release.role == "sequence" and release.status == "serving":
                    self._sequence = release if known is None or release.sequence >= known.sequence else known
                if self._encoders.take(release):
                    self._looked = 0.0
        return changes

    def _read(self) -> int:
        """Takes in records, the shelf's first; how many."""
        items, events, received = self._look_at_shelf(), list[Event](), list[int]()
        now = int(time.time() * 1000)
        records = [] if self._shelf.behind() else self._log.take(_BATCH, 0.0)
        for _, message in records:
            event = decode_event(message.key(), message.value(), self._settings.max_record_bytes)
            if not isinstance(event, Malformed):
                events.append(event)
                received.append(received_ms(message, now))
        if records:
            faults.passed("tuning.read")
        if received:
            self._read_ts = read_through(self._read_ts, received, now)
        self.lane.take(events, items)
        self._unsaved = self._unsaved or bool(records)
        if records:
            faults.passed("tuning.learn")
        return len(items) + len(records)

    def _follow(self) -> None:
        """Candidates have to be better than what is released, whoever released it."""
        now = time.monotonic()
        if self._looked and now - self._looked < _LOOK_S:
            return
        self._looked = now
        best = self._encoders.usable(now)[0]
        if self._serving is None or best.encoder_id != self._serving.encoder_id:
            self.lane.serve(best.adapter)
        self._serving = best

    # releases
    # ------------------------------------------------------------------------------------------------------
    def _release(self) -> None:
        if self._serving is None or self._held_by_a_pin(self._serving):
            return
        if self._unsent is None:
            proposal = self.lane.proposal()
            if proposal is None:
                return
            self._unsent = self._written(proposal)
        record, adapter = self._unsent
        newest = self._encoders.newest
        if newest is not None and newest.sequence >= record.sequence and newest != record:
            log.warning("tuning.overtaken", release_id=record.release_id, by=newest.release_id)
            self._unsent = None
            return
        # one that is not known to have arrived is sent again, the same
        if newest != record and not self._ask(lambda: self._announcer.announce([record])):
            return
        self._unsent = None
        self._encoders.take(record)
        self._looked, self._unsaved = 0.0, True
        self.lane.serve(adapter)
        metrics.LEARNER_RELEASES.labels(ROLE).inc()
        log.info("tuning.released", release_id=record.release_id, **record.metrics)
        self.save()
        if time.monotonic() - self._pruned > _PRUNE_S:
            self._pruned = time.monotonic()
            self._storage.prune(int(time.time() * 1000), {one.uri for one in self._encoders.known}, ROLE)

    def _held_by_a_pin(self, serving: Encoder) -> bool:
        """Whether an operator holds on to a release that another encoder would put out of service; tells it once."""
        pinned = next((one for one in (serving.release, self._sequence) if one is not None and one.pinned), None)
        if pinned is None:
            self._waits_for = ""
            return False
        if self._waits_for != pinned.release_id:
            self._waits_for = pinned.release_id
            rests = ", and would rest beside another encoder" if pinned.role == "sequence" else ""
            why = f"{pinned.release_id} is pinned{rests}"
            log.warning("tuning.waits", why=why, until=f"headwater releases promote {pinned.release_id}")
        return True

    def _written(self, proposal: Proposal) -> _Unsent:
        now, newest = int(time.time() * 1000), self._encoders.newest
        sequence = 1 + (newest.sequence if newest is not None else 0)
        place = self._storage.save_model(ROLE, dict(proposal.arrays), proposal.meta, sequence, now)
        assert self._serving is not None
        before = self._serving.release
        through = TrainedThrough(ts=self._read_ts, offsets={str(p): at for p, at in sorted(self._places().items())})
        record = Release(
            release_id=f"{ROLE}-{place.sha256[:10]}-{sequence}", role="encoder", sequence=sequence,
            parent=before.release_id if before is not None else None, created_ts=now, trained_through=through,
            metrics=proposal.metrics, uri=place.uri, sha256=place.sha256, size=place.size,
            schema_version=RELEASE_LAYOUT, status="serving",
        )  # fmt: skip
        return _Unsent(record, proposal.arrays)

    # erasures and checkpoints
    # --------------------------------------------------------------------------------------------------
    def passed(self, places: Mapping[int, int]) -> bool:
        """Whether all events before `places` (by partition) are read, and the checkpoint knows of the erasures among
        them; saves it for that."""
        if any(self._log.positions["events"].get(p, 0) < at for p, at in places.items()):
            return False
        if any(self._saved_to.get(p, 0) < at for p, at in places.items()):
            self.save()
        return all(self._saved_to.get(p, 0) >= at for p, at in places.items())

    def save(self) -> None:
        """Writes the checkpoint, if there is anything new and this process still leads."""
        self._saved = time.monotonic()
        if not self._unsaved or not self._ask(self._announcer.leads):
            return
        places = self._places()
        meta = {
            "layout": LAYOUT, "cluster_id": self._log.cluster_id, "read_ts": self._read_ts,
            "offsets": {str(p): at for p, at in places.items()},
        }  # fmt: skip
        self._storage.save_checkpoint(CHECKPOINT, self.lane.dump(), meta)
        self._unsaved, self._saved_to = False, places
        took = time.monotonic() - self._saved
        self._save_every = max(self._settings.learning.checkpoint_s, took / _SAVING)

    def _places(self) -> dict[int, int]:
        return dict(self._log.positions["events"])

    def _resume(self) -> tuple[Reader, int]:
        """Takes up the checkpoint: a reader of events that stands where it ends, and the log's time there (ms)."""
        try:
            saved = self._storage.load_checkpoint(CHECKPOINT)
            if saved is None or not saved[0]:
                return Reader(self._settings, {"events": {}}), 0
            arrays, meta = saved
            if meta["layout"] != LAYOUT:
                raise ReleaseUnusable(f"it has layout {meta['layout']}, and this version reads {LAYOUT}")
            starts = {int(p): int(at) for p, at in meta["offsets"].items()}
            cluster_id, read_ts = str(meta["cluster_id"]), int(meta["read_ts"])
        except StorageAway:
            raise  # a new beginning would throw away what is only out of reach
        except (ReleaseUnusable, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
            log.warning("tuning.checkpoint_unusable", why=str(error), doing="learning from the log's beginning")
            return Reader(self._settings, {"events": {}}), 0
        reader = Reader(self._settings, {"events": starts})
        if reader.cluster_id != cluster_id or any(at > reader.ends["events"].get(p, 0) for p, at in starts.items()):
            log.warning("tuning.checkpoint_of_another_log", doing="learning from the log's beginning")
            reader.__exit__()
            return Reader(self._settings, {"events": {}}), 0
        self.lane.restore(arrays)
        return reader, read_ts


def blank(storage: ReleaseStorage, leads: Callable[[], bool]) -> None:
    """Where the lane is off, nobody takes erasures out of its last checkpoint: so that goes as a whole."""
    try:
        saved = storage.load_checkpoint(CHECKPOINT)
        if saved is None or not saved[0]:
            return
    except (ReleaseUnusable, OSError):
        pass  # it cannot be made out, which does not say that there is nothing in it
    try:
        if leads():
            storage.save_checkpoint(CHECKPOINT, {}, {"layout": LAYOUT})
    except ReleaseUnusable as error:
        log.warning("tuning.checkpoint_stays", why=str(error))
