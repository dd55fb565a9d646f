"""Canary: the trial of a candidate on a share of the users, as the learner follows it.

In: recommendations, read from where the topic ended when the trial began; training examples and impressions, which the
lane reads anyway. Out: a verdict. What the canary's users earn is compared with what four times as many others do, by
the World that each recommendation names; the rest is not even parsed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import orjson
import structlog
from confluent_kafka import Message

from recsys.actions import weigh
from recsys.experiments.canary import is_dealt
from recsys.learning.gate import Verdict
from recsys.learning.moments import user_hash
from recsys.learning.trial import Terms, Trial
from schemas.events import Event, Impression
from schemas.releases import Release
from schemas.training import TrainingExample
from streams.learner.reading import Reader
from streams.observe import metrics
from streams.served import named
from streams.settings import Settings

_TOPIC = "recommendations"
_BESIDE = 4
_BATCH = 5000
_LOOK_S = 1.0
log = structlog.get_logger(__name__)


class CanaryTrial:
    """One canary, from its announcement on. `records`: as announced, a ranker among them."""

    def __init__(self, settings: Settings, records: Sequence[Release], serving: Release | None) -> None:
        """`serving`: the ranker that serves the others. Raises KafkaException when the brokers do not answer."""
        learning = settings.learning
        self.records = list(records)
        self.ranker = next(one for one in records if one.role == "ranker")
        self.share = self.ranker.share or 0.0
        self._serving = None if serving is None else serving.release_id
        self._policy = settings.policy
        self._beside = min(_BESIDE * self.share, 1 - self.share)
        terms = Terms(
            outcomes=learning.canary_outcomes, settled_ms=int(1000 * learning.canary_settled_s),
            limit_ms=int(1000 * learning.canary_limit_s), beside=self._beside / self.share,
        )  # fmt: skip
        self.trial = Trial(terms, _now())
        with Reader(settings, {_TOPIC: {}}) as whole:
            ends = dict(whole.ends[_TOPIC])
        self._reader = Reader(settings, {_TOPIC: ends})
        self._looked = 0.0
        metrics.LEARNER_CANARY_SHARE.set(self.share)

    def close(self) -> None:
        self._reader.__exit__()
        metrics.LEARNER_CANARY_SHARE.set(0)

    def follow(self, events: Sequence[Event], examples: Sequence[TrainingExample], *, caught_up: bool) -> None:
        """What came since. `caught_up`: nothing of it waits to be read, so that what has not come did not happen."""
        took = self._reader.take(_BATCH, 0)
        for _, message in took:
            self._take(message)
        for event in events:
            if isinstance(event, Impression):
                self.trial.shown(event.rec_id)
        for example in examples:
            if example.label is not None:
                self.trial.acted(example.rec_id, weigh(example.label.action, example.label.value, self._policy)[1])
        if caught_up and len(took) < _BATCH:
            self.trial.until(_now())

    def _take(self, message: Message) -> None:
        user_id = (message.key() or b"").decode("utf-8", "surrogatepass")
        canary = is_dealt(user_id, self.ranker.release_id, self.share)
        if message.value() is None or not (
            canary or is_dealt(user_id, self.ranker.release_id, self._beside, self.share)
        ):
            return
        try:
            made = orjson.loads(message.value() or b"")
            serving, _, _ = named(made["world"]["release_id"])
            rec_id, asked, items = made["rec_id"], made["trigger"]["type"] in ("request", "chat"), made["items"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # somebody else's record
        by = next((name for name in serving if name.startswith("ranker-")), None)
        if items and by == (self.ranker.release_id if canary else self._serving):
            self.trial.made(rec_id, user_hash(user_id), canary, message.timestamp()[1], asked)

    def verdict(self) -> Verdict | None:
        """None between two looks."""
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return None
        self._looked = now
        found = self.trial.verdict(_now())
        for kind, canary in (("canary", True), ("others", False)):
            metrics.LEARNER_CANARY_OUTCOMES.labels(kind).set(self.trial.settled[canary])
        metrics.LEARNER_CANARY_DIFFERENCE.set(found.figures.get("live_difference", 0.0))
        return found


def _now() -> int:
    return int(time.time() * 1000)
