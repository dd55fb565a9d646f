"""The model lanes: a ranker and a sequence model, learnt from what users choose, judged, and released.

In: `events` and `training-examples` from where the checkpoint stands, and the World as the workers see it (a Feed of
its own). Out: releases of roles `ranker`, `sequence` and `adapter`, alerts, receipts of erasures, a checkpoint. It
works on a thread of its own, so that the statistics of the last second never wait for it; whatever needs the election
is handed to the thread that holds it (`poll`). Between its turns the text encoder is tuned (`tuning_desk`), where the
settings say so.

A turn, in this order, and what a death after each step means:
 1. read        records of both topics. Nothing has happened yet.
 2. judge       choices are ranked by what serves and by the candidate, before anything is learnt from them, with the
                statistics of before they were counted (`point_in_time`).
 3. learn       weights move in memory. Lost with what was read, and learnt again from the checkpoint's offsets.
 4. file        a candidate that passed the gate is written. A file that nobody names; pruned one day.
 5. record      the release is announced, if this process still leads: to serve, or as a canary (`releasing`). The next
                leader finds it on the topic, goes on with the next sequence, and from the checkpoint's weights. Before
                the first release of all there is a checkpoint: else the next leader would begin at the weights
                released, and learn the same log twice.
 6. checkpoint  weights, optimisers, windows for replay, gate and offsets in one file, moved into place. What comes
                after it is read again by whoever leads next, and by nobody twice. Receipts of erasures that it has
                followed are in it until they are told.
A storage that takes nothing stops 4 to 6 and nothing else (`streams.learner.refusals`).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import structlog
from confluent_kafka import KafkaException

from recsys.learning.guarded import GuardedLearner
from recsys.learning.learner import Bounds, Learner
from recsys.learning.screen import Screen
from recsys.world import World
from schemas.events import Event
from schemas.releases import TrainedThrough
from schemas.training import TrainingExample
from streams import faults
from streams.feed import Feed
from streams.learner import drifts
from streams.learner.announce import Announcer
from streams.learner.erasures import Erasures
from streams.learner.intake import Intake
from streams.learner.point_in_time import PointInTime
from streams.learner.reading import Reader, read_through
from streams.learner.refusals import AGAIN_S, Refusals
from streams.learner.releasing import Releasing
from streams.learner.relief import relieve
from streams.learner.tuning import TuningLane
from streams.learner.tuning_desk import TuningDesk, blank
from streams.models import Models, load_models
from streams.observe import metrics
from streams.releases import ReleaseStorage, ReleaseUnusable, StorageAway
from streams.settings import Settings

CHECKPOINT = "models"
LAYOUT = 1
TOPICS_READ = ("events", "training-examples")
_BATCH = 2000
_WAIT_S = 0.1
_SLICE_S = 0.5  # of training over all that is kept, before the log is looked at again
log = structlog.get_logger(__name__)


class ModelLane:
    """One term of leadership. `start` it, call `poll` often from the thread of the election, `close` it."""

    def __init__(self, settings: Settings, announcer: Announcer, tuning: TuningLane | None = None) -> None:
        """Takes up the last checkpoints. `tuning`: another tuning lane than the one that the settings ask for. Raises
        KafkaException when the brokers do not answer."""
        from streams.worker.bootstrap import empty_world

        self._settings, self._announcer = settings, announcer
        self._storage = ReleaseStorage.of(settings)
        models = load_models(settings, ahead=False)
        self._past = PointInTime()
        self._feed = Feed(
            settings, empty_world(models), self._storage, models.encoder_id, self._past.see, tuned=models.tuned
        )
        self._stop = threading.Event()
        self._asked: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        learner = Learner(settings.policy, Bounds(users=settings.learning.users), device=models.device)
        self.guarded = GuardedLearner(learner, Screen() if settings.learning.screen else None)
        self.refusals, self._intake = Refusals(), Intake(settings.max_record_bytes)
        self._read_ts = 0  # the log's time, ms
        self._erasures = Erasures()
        self._kept = False
        """Whether there is a checkpoint of what is learnt here."""
        self.releasing = Releasing(
            settings,
            self._storage,
            self._feed.served,
            lambda records: bool(self._ask(lambda: announcer.announce(records))),
            self._keep_first,
            self.refusals,
        )
        self.reader = self._resume()
        if self.guarded.learner.encoder_id is None:  # anew, or from before checkpoints said so
            self.guarded.learner.encoder_id = models.encoder_id
        self.tuning = self._tuning_desk(models, tuning)
        self._choices = float(settings.learning.choices_per_s)  # room for choices of the catalogue
        self._turned = self._saved = self._items_moved = self._users_moved = time.monotonic()
        self._release_at = self._save_at = 0.0  # not before then: a write was refused
        self._unsaved = False
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)

    # the thread of the election --------------------------------------------------------------------------------
    def start(self) -> None:
        self._feed.start()
        self._thread.start()

    def poll(self) -> None:
        """Does what the lane may not do itself."""
        while True:
            try:
                call, answer = self._asked.get_nowait()
            except queue.Empty:
                return
            try:
                answer.set_result(call())
            except BaseException as error:
                answer.set_exception(error)

    def close(self, *, save: bool) -> None:
        """Ends the thread; `save`: writes the checkpoint before."""
        if save:
            self._last_word = True
        self._stop.set()
        until = time.monotonic() + 8
        while self._thread.is_alive() and time.monotonic() < until:
            self.poll()
            self._thread.join(0.05)
        self._feed.stop()
        self.releasing.close(announce=False)
        self.reader.__exit__()
        if self.tuning is not None:
            self.tuning.close()

    _last_word = False

    def _ask(self, call: Callable[[], Any]) -> Any:
        """Has the election's thread do something; its answer, or None where the term is over."""
        answer: Future[Any] = Future()
        self._asked.put((call, answer))
        try:
            return answer.result(timeout=15)
        except TimeoutError:
            return None

    # the lane's thread -----------------------------------------------------------------------------------------
    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if not self._feed.wait(0.2):
                    continue
                self._turn()
                if self.tuning is not None:
                    self.tuning.turn()
            except KafkaException as error:
                log.warning("learner.models_kafka_away", error=str(error.args[0]))
                self._stop.wait(1)
            except ReleaseUnusable:  # a rollback that could not be written; `refusals` has told
                self._stop.wait(AGAIN_S)
            except Exception:
                log.exception("learner.models_failed", doing="going on with what comes next")
                self._stop.wait(1)
        if self._last_word:
            try:
                self.releasing.close(announce=True)
                self._save()
                if self.tuning is not None:
                    self.tuning.save()
            except Exception as error:
                log.warning("learner.models_not_saved", error=type(error).__name__, why=str(error))

    def _turn(self) -> None:
        before = dict(self.reader.positions["events"])
        records = self.reader.take(_BATCH, _WAIT_S)
        if records:
            faults.passed("models.read")
        snapshot = self._feed.current()
        world = snapshot.world
        if self.guarded.learner.encoded_by(snapshot.encoder_id, world):
            log.info("learner.encoder_changed", encoder_id=snapshot.encoder_id, doing="fitting the sequence model anew")
            self.guarded.begin_anew()
            self._unsaved = True
        if not self._crossing:
            self.releasing.follow(self.guarded)
        events, received, examples = self._intake.decoded(records)
        if records:
            self._unsaved = True
        if events or examples:
            started = time.perf_counter()
            self._take(self._past.world(world, before), events, received, examples)
            metrics.LEARNER_SECONDS.labels("learn").observe(time.perf_counter() - started)
            relieve(self.guarded.learner)
            faults.passed("models.learn")
        self.releasing.saw(events, examples, caught_up=len(records) < _BATCH)
        self._train()
        self._tell()
        self._write()

    def _write(self) -> None:
        """Releases and checkpoints, when they are due. What the storage refuses is told by `refusals`."""
        now = time.monotonic()
        if not self._crossing and now >= self._release_at:
            behind = self.releasing.desk.overtaken(self.reader.positions["events"], self.reader.ends["events"])
            try:
                self.releasing.turn(self.guarded, self._through, behind=behind)
            except ReleaseUnusable:
                self.guarded.withdraw()  # it will be out of date when there is room again
                self._release_at = now + AGAIN_S
        due = now - self._saved >= self._settings.learning.checkpoint_s or self._receipts_due()
        if due and now >= self._save_at:
            try:
                self._save()
            except ReleaseUnusable:
                self._save_at = now + AGAIN_S

    def _keep_first(self) -> None:
        """Before a release: there has to be a checkpoint."""
        if not self._kept:
            self._save()

    @property
    def _crossing(self) -> bool:
        """Whether the feed is just going over to another encoder than the one whose vectors are learnt on here."""
        return self._feed.served.encoder_id != self.guarded.learner.encoder_id

    def _take(self, world: World, events: list[Event], received: list[int], examples: list[TrainingExample]) -> None:
        if events:
            self._read_ts = read_through(self._read_ts, received, int(time.time() * 1000))
        taken = self.guarded.take(world, events, received, examples, self._room())
        self._choices -= taken.choices
        self._intake.count(taken)
        metrics.LEARNER_LOSS.set(self.guarded.learner.ranker.loss)
        metrics.LEARNER_NDCG.set(self.guarded.gate.level.mean)
        self.releasing.alerts += [drifts.drifted(one, self._read_ts) for one in taken.drifts]
        for event, visits in taken.forgotten:
            self._erasures.take(event, visits, self.reader.positions["events"])

    def _room(self) -> int:
        """Choices of the whole catalogue that the setting still allows: each costs as much as a ranking."""
        now, most = time.monotonic(), self._settings.learning.choices_per_s
        self._choices = min(self._choices + most * (now - self._turned), 2.0 * most)
        self._turned = now
        return max(0, int(self._choices))

    def _train(self) -> None:
        """Moves the sequence model on when it is due."""
        now, learning = time.monotonic(), self._settings.learning
        items = now - self._items_moved >= learning.adapter_interval_s
        users = now - self._users_moved >= learning.sequence_interval_s
        if not (items or users or self.guarded.learner.training):
            return
        until = now + _SLICE_S
        started = time.perf_counter()
        self.guarded.learner.work(lambda: time.monotonic() < until, items=items)
        metrics.LEARNER_SECONDS.labels("sequence").observe(time.perf_counter() - started)
        relieve(self.guarded.learner)
        if not self.guarded.learner.training:
            self._users_moved = time.monotonic()
            if items:
                self._items_moved = self._users_moved

    def _through(self) -> TrainedThrough:
        return TrainedThrough(ts=self._read_ts, offsets=self._offsets("events"))

    # erasures, alerts, checkpoints -----------------------------------------------------------------------------
    def _receipts_due(self) -> bool:
        erased = self._erasures
        return bool(erased.receipts) and (self.tuning is None or self.tuning.passed(erased.read_to))

    def _tell(self) -> None:
        """Alerts, and receipts of erasures that the checkpoint has followed."""
        if not self.releasing.alerts:
            return
        alerts = list(self.releasing.alerts)
        if self._ask(lambda: self._announcer.announce(alerts)):
            del self.releasing.alerts[: len(alerts)]

    def _save(self) -> None:
        """Writes the checkpoint, if there is anything new and this process still leads. Not before the alerts are told:
        who goes on from it would not find them again. Raises ReleaseUnusable."""
        self._tell()
        if not self._unsaved or self.releasing.alerts or not self._ask(self._announcer.leads):
            self._saved = time.monotonic()
            return
        began = time.monotonic()
        arrays, state = self.guarded.dump()
        meta = {
            "layout": LAYOUT, "cluster_id": self.reader.cluster_id, "state": state, "read_ts": self._read_ts,
            "offsets": {topic: self._offsets(topic) for topic in TOPICS_READ}, "announced": self.releasing.desk.read_to,
            "erasures": self._erasures.dump(), "statistics": self._past.dump(),
        }  # fmt: skip
        with self.refusals.of("checkpoints of models"):
            self._storage.save_checkpoint(CHECKPOINT, arrays, meta)
        self._saved, self._unsaved, self._kept = time.monotonic(), False, True
        metrics.LEARNER_SECONDS.labels("checkpoint").observe(self._saved - began)
        receipts = list(self._erasures.receipts)
        if self._receipts_due() and self._ask(lambda: self._announcer.announce(receipts)):
            del self._erasures.receipts[: len(receipts)]
            self._unsaved = True  # the next checkpoint is without them

    def _tuning_desk(self, models: Models, lane: TuningLane | None) -> TuningDesk | None:
        """The tuning lane with its edges, where it is on."""
        settings = self._settings
        if models.path is None or models.encoder_id is None:
            return None
        if lane is None:
            lane = TuningLane(models.path, models.device, settings.learning.encoder, settings.policy)
        if not lane.active:
            blank(self._storage, self._announcer.leads)
            return None
        return TuningDesk(settings, self._storage, self._announcer, self._ask, lane, models.encoder_id)

    def _resume(self) -> Reader:
        """Takes up the checkpoint, and a reader that stands where it ends; or begins anew."""
        fresh: dict[str, dict[int, int]] = {topic: {} for topic in TOPICS_READ}
        try:
            saved = self._storage.load_checkpoint(CHECKPOINT)
            if saved is None:
                return Reader(self._settings, fresh)
            arrays, meta = saved
            if meta["layout"] != LAYOUT:
                raise ReleaseUnusable(f"it has layout {meta['layout']}, and this version reads {LAYOUT}")
            starts = {topic: {int(p): at for p, at in meta["offsets"][topic].items()} for topic in TOPICS_READ}
            guarded = GuardedLearner.restore(arrays, meta["state"], self.guarded)
            erasures = Erasures.restore(meta["erasures"]) if "erasures" in meta else Erasures()
        except StorageAway:
            raise  # a new beginning would throw away what is only out of reach
        except (ReleaseUnusable, KeyError, ValueError, RuntimeError, TypeError) as error:
            log.warning("learner.models_checkpoint_unusable", why=str(error), doing="learning from the log's beginning")
            return Reader(self._settings, fresh)
        reader = Reader(self._settings, starts)
        ends = reader.ends
        if reader.cluster_id != meta["cluster_id"] or any(
            at > ends[topic].get(p, 0) for topic, places in starts.items() for p, at in places.items()
        ):
            log.warning("learner.models_checkpoint_of_another_log", doing="learning from the log's beginning")
            reader.__exit__()
            return Reader(self._settings, fresh)
        self.guarded, self._read_ts, self.releasing.desk.read_to = guarded, meta["read_ts"], meta.get("announced", {})
        self._erasures, self._kept = erasures, True
        self._past.go_on(meta.get("statistics"), self._storage.load_statistics)
        log.info("learner.models_resumed", choices=guarded.learner.ranker.choices)
        return reader

    def _offsets(self, topic: str) -> dict[str, int]:
        return {str(p): at for p, at in sorted(self.reader.positions[topic].items())}
