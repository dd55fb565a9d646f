"""Releasing: from what the model lanes have learnt to what serves, and back.

In: a guarded learner and what serves by the lane's own Feed. Out: records of releases, alerts. A candidate is put up;
once the gate lets it pass, and it is not slower than what serves, it serves: at once, or where `canary_share` is set a
share of the users first, until what becomes of their recommendations has told (`streams.learner.canary`). What serves
goes back to what served before it if choices say that it is worse, or if it turns out slower.

A canary is a candidate to everybody but the workers: nothing else is put up beside it, and whatever changes what
serves, an operator, a rollback, another encoder, ends it without a judgement. So does the end of its term: nobody would
watch it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from recsys.learning.gate import Verdict
from recsys.learning.guarded import Candidate, GuardedLearner
from recsys.learning.learner import Learnt
from recsys.learning.pace import slower
from schemas.alerts import Alert
from schemas.events import Event
from schemas.receipts import Receipt
from schemas.releases import Release, TrainedThrough
from schemas.training import TrainingExample
from streams.learner.canary import CanaryTrial
from streams.learner.candidate import Desk
from streams.learner.refusals import Refusals
from streams.observe import metrics
from streams.releases import ReleaseStorage
from streams.served import Served
from streams.settings import Settings

Announce = Callable[[Sequence[Release | Alert | Receipt]], bool]
log = structlog.get_logger(__name__)


class Releasing:
    """One term's, on the lane's thread. `announce`: whether all of it is known to have arrived; `prepare` is called
    before anything is written for a release. What the storage does not take is raised, and told by `refusals`."""

    def __init__(
        self, settings: Settings, storage: ReleaseStorage, served: Served, announce: Announce,
        prepare: Callable[[], None] = lambda: None, refusals: Refusals | None = None,
    ) -> None:  # fmt: skip
        """Raises KafkaException when the brokers do not answer."""
        self._learning, self._settings = settings.learning, settings
        self._served, self._announce, self._prepare = served, announce, prepare
        self._refusals = refusals or Refusals()
        self.desk = Desk(settings, storage)
        self.alerts: list[Alert] = []
        """To be told."""
        self.trial: CanaryTrial | None = None
        self._tried: Candidate | None = None
        self._over: set[str] = set()  # canaries that have ended, whatever the feed still says
        self._live: tuple[list[str], Learnt] | None = None  # what served when last looked at
        self._slow = False  # the last candidate that could have served was
        self._put_up = time.monotonic()
        self._through = TrainedThrough(ts=0, offsets={})

    def follow(self, guarded: GuardedLearner) -> None:
        """Notices what serves now: the lanes go on from what others released, and not from what is slower."""
        served = self._served
        foreign = self.desk.noticed(served, guarded.learner.ranker.choices)
        slowed = self._slowed()
        if slowed is not None and not served.pinned:
            self._roll_back(guarded, *slowed)
        elif foreign:
            log.info("learner.follows", releases=foreign)
            guarded.adopt(served.learnt)

    def saw(self, events: Sequence[Event], examples: Sequence[TrainingExample], *, caught_up: bool) -> None:
        """What the lane has read."""
        if self.trial is not None:
            self.trial.follow(events, examples, caught_up=caught_up)

    def turn(self, guarded: GuardedLearner, through: Callable[[], TrainedThrough], *, behind: bool = False) -> None:
        """Puts up a candidate, or releases the one that has passed. `through`: how far the log was read; `behind`: less
        far than for what serves, so that nothing is put up."""
        served, now = self._served, time.monotonic()
        if self.trial is not None and (served.pinned or guarded.candidate is not self._tried):
            self._end_trial(guarded, "candidate", "what serves has changed meanwhile")
        elif self.trial is None:
            self._end_strays()
        if served.pinned or guarded.learner.ranker.choices == 0:
            return
        if (regressed := guarded.regressed()) is not None:
            why, before = regressed
            self._roll_back(guarded, f"what served before is better, {why} (NDCG@10)", before)
        elif self.trial is not None:
            self._judge(guarded, self.trial)
        else:
            # after one that was held at once: what serves is what served. What was just released the feed has to read
            none = guarded.candidate is None or self._decide(guarded, guarded.candidate, guarded.verdict())
            if none and not behind and now - self._put_up >= self._learning.interval_ms / 1000:
                self._put_up, self._through = now, through()
                if (wrong := guarded.put_up(served.learnt)) is not None:
                    self._diverged(guarded, wrong)

    def close(self, *, announce: bool) -> None:
        """Nobody will watch a canary any more: it ends, if this process may still `announce` anything."""
        if self.trial is not None:
            if announce:
                self._announce(self._ended(self.trial, "candidate"))
            self.trial.close()
            self.trial = None

    # candidates ------------------------------------------------------------------------------------------------
    def _decide(self, guarded: GuardedLearner, candidate: Candidate, verdict: Verdict) -> bool:
        """Releases the candidate, holds it, or waits; says whether it was held."""
        if verdict.decision == "wait":
            return False
        if verdict.decision == "hold":
            metrics.LEARNER_GATE.labels("hold").inc()
            log.info("learner.held", why=verdict.why)
            guarded.withdraw()
            return True
        why = slower(self._served.learnt, candidate.learnt, time.perf_counter, self._learning.slower_at_most)
        if why is not None:
            metrics.LEARNER_GATE.labels("slower").inc()
            log.warning("learner.held", why=why)
            if not self._slow:  # each candidate after it will be, too
                self._alert("slower", f"A candidate was held: {why}. {self._served.release_id} serves on.")
            self._slow = True
            guarded.withdraw()
            return True
        self._slow = False
        if self._learning.canary_share:
            self._try(guarded, candidate, verdict)
        elif self._publish(guarded, self._written(candidate, guarded, verdict.figures)):
            metrics.LEARNER_GATE.labels("promote").inc()
            log.debug("learner.released", candidate=candidate.name, why=verdict.why)
        return False

    def _written(
        self, candidate: Candidate, guarded: GuardedLearner, figures: Mapping[str, float], share: float | None = None
    ) -> list[Release]:
        self._prepare()
        with self._refusals.of("models"):
            return self.desk.written(candidate, self._served, self._through, figures, guarded.learner.encoder_id, share)

    def _publish(self, guarded: GuardedLearner, records: list[Release], first: Sequence[Release] = ()) -> bool:
        """Announces the candidate by its records, behind the records `first`; whether it serves now."""
        before = self._served.learnt
        if not self._announce([*first, *records]):
            self.desk.look_again()
            guarded.withdraw()
            return False
        self.desk.announced(records, self._served)
        guarded.promoted(before)
        for record in records:
            metrics.LEARNER_RELEASES.labels(record.role).inc()
        metrics.LEARNER_MODEL_STALENESS_SECONDS.set(max(0.0, time.time() - self._through.ts / 1000))
        return True

    # canaries --------------------------------------------------------------------------------------------------
    def _try(self, guarded: GuardedLearner, candidate: Candidate, verdict: Verdict) -> None:
        """The candidate serves its share of the users."""
        served = self._served
        records = self._written(candidate, guarded, verdict.figures, self._learning.canary_share)
        trial = CanaryTrial(self._settings, records, served.loaded.get("ranker"))
        if not self._announce(self.desk.with_serving(records)):
            trial.close()
            self.desk.look_again()
            guarded.withdraw()
            return
        self.desk.announced(records, served)
        self.trial, self._tried = trial, candidate
        metrics.LEARNER_GATE.labels("canary").inc()
        log.info("learner.canary", releases=[one.release_id for one in records], share=trial.share, why=verdict.why)

    def _judge(self, guarded: GuardedLearner, trial: CanaryTrial) -> None:
        found = trial.verdict()
        if found is None:
            return
        chosen = guarded.verdict()  # the same two go on ranking what users choose
        if found.decision != "hold" and chosen.figures.get("upper", 0.0) < 0:
            found = Verdict("hold", f"it ranks what users choose {chosen.why} (NDCG@10)", found.figures)
        if found.decision == "hold":
            if self._end_trial(guarded, "quarantined", found.why, found.figures):
                metrics.LEARNER_GATE.labels("withdrawn").inc()
                said = f"The canary {trial.ranker.release_id} was withdrawn: {found.why}."
                self._alert("canary", said, details=found.figures)
        elif found.decision == "promote":
            records = [
                one.model_copy(update={"status": "serving", "share": None, "metrics": one.metrics | found.figures})
                for one in trial.records
            ]
            published = self._publish(guarded, records)
            self._leave(trial, over=published)  # else what is still a canary by the topic is ended as a stray
            if published:
                metrics.LEARNER_GATE.labels("promote").inc()
                log.info("learner.canary_serves_all", release_id=trial.ranker.release_id, why=found.why)

    def _end_trial(
        self, guarded: GuardedLearner, status: str, why: str, figures: Mapping[str, float] | None = None
    ) -> bool:
        """Ends the trial; whether that is known to be announced, else it is tried again at the next turn."""
        trial = self.trial
        assert trial is not None
        if not self._announce(self._ended(trial, status, figures)):
            self.desk.look_again()
            return False
        log.info("learner.canary_ended", release_id=trial.ranker.release_id, status=status, why=why)
        if guarded.candidate is self._tried:
            guarded.withdraw()
        self._leave(trial)
        return True

    def _ended(self, trial: CanaryTrial, status: str, figures: Mapping[str, float] | None = None) -> Sequence[Release]:
        """The records that end a trial, the ranker's first: it carries the others."""
        ended = [
            one.model_copy(update={"status": status, "share": None, "metrics": {**one.metrics, **(figures or {})}})
            for one in reversed(trial.records)
        ]
        self.desk.announced(ended, self._served)
        return self.desk.with_serving(ended)

    def _leave(self, trial: CanaryTrial, *, over: bool = True) -> None:
        trial.close()
        if over:
            self._over |= {one.release_id for one in trial.records}
        self.trial = self._tried = None

    def _end_strays(self) -> None:
        """Ends a canary of a learner that is gone: nobody has watched it since, and what it was judged by is lost."""
        strays = [one for one in list(self._served.candidates.values()) if one.release_id not in self._over]
        if not strays:
            return
        strays.sort(key=lambda one: one.role)  # the ranker first
        ended = [one.model_copy(update={"share": None}) for one in strays]
        if self._announce(self.desk.with_serving(ended)):
            self._over |= {one.release_id for one in ended}
            log.warning("learner.canary_ended", release_id=ended[0].release_id, why="the learner that tried it is gone")

    # back ------------------------------------------------------------------------------------------------------
    def _slowed(self) -> tuple[str, Learnt] | None:
        """Why what serves now takes longer than what served when this last looked, and the latter; once a swap."""
        served = self._served
        names = [one.release_id for one in served.loaded.values()]
        before, learnt = self._live, served.learnt
        if before is not None and before[0] == names:
            return None
        self._live = names, learnt
        if (
            before is None
            or (why := slower(before[1], learnt, time.perf_counter, self._learning.slower_at_most)) is None
        ):
            return None
        return f"it is slower than what served before, {why}", before[1]

    def _roll_back(self, guarded: GuardedLearner, why: str, before: Learnt) -> None:
        """What served before serves again."""
        served = self._served
        bad = [release.model_copy(update={"status": "rolled_back"}) for release in served.loaded.values()]
        guarded.adopt(before)
        if guarded.put_up(served.learnt) is not None or guarded.candidate is None:
            return
        if not self._publish(guarded, self._written(guarded.candidate, guarded, {}), bad):
            return
        metrics.LEARNER_GATE.labels("rolled_back").inc()
        log.warning("learner.rolled_back", releases=[one.release_id for one in bad], why=why)
        self._alert("rolled-back", f"{served.release_id} was rolled back: {why}.", "critical")

    def _diverged(self, guarded: GuardedLearner, wrong: str) -> None:
        """What was learnt cannot serve: the lanes go back to what does."""
        log.error("learner.diverged", why=wrong)
        guarded.adopt(self._served.learnt)
        guarded.learner.ranker.reset()
        self._alert(
            "diverged", f"The learner's models were set back to {self._served.release_id}: {wrong}.", "critical"
        )

    def _alert(
        self, what: str, text: str, severity: str = "warning", details: Mapping[str, float] | None = None
    ) -> None:
        now = int(time.time() * 1000)
        self.alerts.append(
            Alert.model_validate({
                "alert_id": f"{what}-{now}", "kind": "quarantine", "subject": "ranker", "severity": severity,
                "ts": now, "text": text, "details": dict(details or {}),
            })
        )  # fmt: skip
