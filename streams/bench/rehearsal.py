"""Rehearsal: simulated shoppers, the step and the learning lanes in one process, in simulated time; no Kafka, no Redis.

In: the demo's shoppers and catalogue, and which lanes learn. Out: how often shoppers would click on what they are
shown, window by window, and what the gate decided. The same step, counts and guarded learner that run live, at the
same cadence of the log's time, so that what is found here holds there; only waiting is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recsys.counting import Counts
from recsys.learning.guarded import GuardedLearner
from recsys.learning.learner import Bounds, Learner, Learnt
from recsys.learning.screen import Screen
from recsys.policy import Policy
from recsys.priors import Shelf
from recsys.rank import AdditiveRanker, Ranker, prior_weights
from recsys.statistics import Statistics
from recsys.step import Incoming, step
from recsys.user import User
from recsys.world import World
from schemas.events import EVENT, Event
from schemas.items import Item
from schemas.training import TrainingExample
from streams.demo.market import Market

TICK_MS = 100
EVENTS_A_TICK = 16
STATISTICS_MS = 1000
MODELS_MS = 2000
ITEMS_MS = 60_000
START_MS = 1_763_900_000_000
Intruder = Callable[[int, int], list[dict[str, Any]]]
"""Makes further events for a tick: (tick, ms since the epoch) -> records."""


@dataclass
class Window:
    """Trials and hits of a stretch; `share`: of the watched item among the places shown to honest shoppers."""

    trials: int = 0
    hits: int = 0
    places: int = 0
    watched: int = 0

    @property
    def rate(self) -> float:
        return self.hits / max(self.trials, 1)

    @property
    def share(self) -> float:
        return self.watched / max(self.places, 1)


@dataclass
class Lanes:
    """Which lanes learn, and whether the screen and the gate stand before them."""

    statistics: bool = True
    models: bool = True
    screen: bool = True


@dataclass
class Rehearsal:
    """`world`: catalogue and vectors, nothing counted."""

    world: World
    market: Market
    lanes: Lanes = field(default_factory=Lanes)
    policy: Policy = field(default_factory=Policy)
    intruder: Intruder | None = None
    spoil: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] | None = None
    watched: str | None = None

    def __post_init__(self) -> None:
        self.users: dict[str, User] = {}
        self.counts, self.shelf = Counts(self.policy), Shelf()
        for item in self.world.catalogue.items:
            if isinstance(item, Item):
                self.shelf.place(item)
        self.screen = Screen() if self.lanes.screen else None
        learner = Learner(self.policy, Bounds(first_fit=1000))
        self.guarded = GuardedLearner(learner, Screen() if self.lanes.screen else None)
        self.served = Learnt(prior_weights(), None)
        self.now, self.tick, self.offset = START_MS, 0, 0
        self.decisions: Counter[str] = Counter()
        self.promoted: list[tuple[int, str]] = []
        self.released = 0
        self._items_moved = self.now
        self._dice = torch.Generator().manual_seed(0).get_state()

    def run(self, events: int) -> Window:
        """Until so many events more have been folded. What torch draws (dropout) depends on nothing that ran before."""
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._dice)
            try:
                return self._run(events)
            finally:
                self._dice = torch.get_rng_state()

    def _run(self, events: int) -> Window:
        window = Window()
        before = (self.market.tally.all.trials, self.market.tally.all.ours)
        until = self.offset + events
        while self.offset < until:
            self._tick(window)
        tally = self.market.tally.all
        window.trials, window.hits = tally.trials - before[0], tally.ours - before[1]
        return window

    def _tick(self, window: Window) -> None:
        self.tick += 1
        self.now += TICK_MS
        records: list[dict[str, Any]] = []
        while len(records) < EVENTS_A_TICK:
            some = self.market.act(self.now)
            if not some:
                break
            records += some
        if self.spoil is not None:
            records = self.spoil(records)
        honest = {record["user_id"] for record in records}
        if self.intruder is not None:
            records += self.intruder(self.tick, self.now)
        events = [EVENT.validate_python(record) for record in records]
        incoming = [Incoming(event, 0, self.offset + at) for at, event in enumerate(events)]
        self.offset += len(events)
        result = step(self.world, self.users, incoming, self.policy)
        self.users.update({user_id: user for user_id, user in result.users.items() if user is not None})
        examples = []
        for message in result.messages:
            if message.topic == "recommendations":
                self.market.deliver(message.value)
                if message.key in honest:
                    window.places += len(message.value["items"])
                    window.watched += sum(item["item_id"] == self.watched for item in message.value["items"])
            elif message.topic == "training-examples":
                examples.append(TrainingExample.model_validate(message.value))
        self._learn(events, examples)

    def _learn(self, events: Sequence[Event], examples: Sequence[TrainingExample]) -> None:
        received = [self.now] * len(events)
        world = self.world  # of before these events: statistics that count a choice would give it away
        if self.lanes.statistics:
            weights = None if self.screen is None else self.screen.weigh(events, received).tolist()
            self.counts.learn(events, received, weights)
            if self.now % STATISTICS_MS < TICK_MS:
                tallies = self.counts.tallies(self.shelf)
                self.world = self.world.advanced(statistics=Statistics.of(tallies, f"{self.tick}"))
        if not self.lanes.models:
            return
        self.guarded.take(world, events, received, examples, 1000)
        if self.now % MODELS_MS < TICK_MS:
            items = self.now - self._items_moved >= ITEMS_MS
            if items:
                self._items_moved = self.now
            self.guarded.learner.work(lambda: True, items=items)
            self._decide()

    def _decide(self) -> None:
        guarded = self.guarded
        if guarded.learner.ranker.choices == 0:
            return
        if guarded.candidate is not None:
            verdict = guarded.verdict()
            self.decisions[verdict.decision] += 1
            if verdict.decision == "wait":
                return
            if verdict.decision == "promote":
                before, self.served, self.released = self.served, guarded.candidate.learnt, self.released + 1
                self.promoted.append((self.offset, verdict.why))
                ranker = Ranker("cpu", AdditiveRanker(self.served.ranker))
                self.world = self.world.with_models(ranker, self.served.sequence, f"release-{self.released}")
                guarded.promoted(before)
            else:
                guarded.withdraw()
        guarded.put_up(self.served)


def shop_world(
    items: Sequence[dict[str, Any]], vectors: Sequence[tuple[str, npt.NDArray[np.float32]]], encode: Any
) -> World:
    """The demo's catalogue with its vectors."""
    dim = len(vectors[0][1]) if vectors else 0
    stock = [Item.model_validate(item) for item in items]
    return World.empty(dim, encode).advanced(stock, vectors).settled()
