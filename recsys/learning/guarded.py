"""Guarded learner: the lanes behind their gate. Predict, then learn; and nothing serves that has not been judged.

In: a World, events and training examples in the order of their logs, and what serves. Out: a candidate, and a verdict
on it. Pure: `streams.learner.models` drives it from topics, a rehearsal (`streams.bench`) from simulated shoppers.

A candidate is what its release's files will hold, rounding included: what is judged is what would serve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.learning.drift import Drift, Drifted
from recsys.learning.gate import Gate, Verdict
from recsys.learning.learner import Learner, Learnt
from recsys.learning.moments import Choices, Moment
from recsys.learning.ranker import ranks_of
from recsys.learning.screen import Screen
from recsys.learning.slates import sound
from recsys.policy import Policy
from recsys.rank import AdditiveRanker, Ranker
from recsys.sequence import SequenceModel
from recsys.world import World
from schemas.events import Event, Forget, moved
from schemas.training import TrainingExample

Arrays = dict[str, npt.NDArray[Any]]
Doubles = npt.NDArray[np.float64]
TOP = 10
_EXPLODED = 10.0


@dataclass(slots=True)
class Candidate:
    """`files`: the arrays of each role's file; `versions` of the learner's sequence model that it holds."""

    name: str
    learnt: Learnt
    files: dict[str, Arrays]
    versions: tuple[int, int]


@dataclass(slots=True)
class Taken:
    """What a batch came to: choices learnt from, choices and examples left out by why, erasures with the visits they
    took, drifts."""

    choices: int = 0
    not_finite: int = 0
    too_many: int = 0
    other_schema: int = 0
    forgotten: list[tuple[Forget, int]] = field(default_factory=list)
    drifts: list[Drifted] = field(default_factory=list)


class GuardedLearner:
    """`take` batches, `put_up` a candidate now and then, ask `verdict`, say `promoted` or `withdraw`."""

    def __init__(self, learner: Learner, screen: Screen | None = None) -> None:
        self.learner, self.screen = learner, screen
        self.gate, self.drift = Gate(), Drift()
        self.candidate: Candidate | None = None
        self._watch = Gate()  # what serves against what served before it
        self._before: Learnt | None = None  # the latter, while it is watched
        self._released = (-1, -1)  # versions of the sequence model and of its item side that serve
        self._number = 0
        self._other: World | None = None
        self._other_of: tuple[int, int] = (0, 0)

    def take(
        self, world: World, events: Sequence[Event], received: Sequence[int], examples: Sequence[TrainingExample],
        room: int,
    ) -> Taken:  # fmt: skip
        """Judges by the choices of a batch, then learns from them. `received`: when the log got each event, ms;
        `room`: most choices of the whole catalogue; `world`: what serves."""
        taken = Taken()
        weights: list[float] | None = None
        if self.screen is not None and events:
            weights = self.screen.weigh(events, received).tolist()
            self.screen.bursts()  # the statistics lane, which sees the same, tells of them
        for event in events:
            if isinstance(event, Forget):
                taken.forgotten.append((event, self.learner.forget(event.user_id)))
                if self.screen is not None:
                    self.screen.forget(event.user_id)
        moments = self.learner.follow(world, _believed(events, received, self.learner.policy), weights)
        if len(moments) > room:
            taken.too_many = len(moments) - room
            moments = [moments[at * len(moments) // room] for at in range(room)]
        seed = self.learner.ranker.choices
        blocks = self.learner.choices(world, moments, seed)
        examples, left = sound(examples)
        taken.other_schema, taken.not_finite = left
        slates = self.learner.slates(examples)
        serving = world.ranker.weights
        others = self._as_candidate(world, moments, seed, blocks)
        for at, (mine, theirs) in enumerate(zip(blocks, others, strict=True)):
            if not (fit := mine.finite).all():
                # what the candidate alone makes no number of stays: that is what it is judged by
                theirs = theirs.of(fit) if len(theirs) == len(mine) else theirs
                taken.not_finite += int((~fit).sum())
                mine = blocks[at] = mine.of(fit)
            taken.drifts += self._judge(mine, theirs, serving)
        if slates is not None:
            taken.drifts += self._judge(slates, slates, serving)
            blocks = [*blocks, slates]
        for block in blocks:
            self.learner.learn(block)
            taken.choices += len(block)
        return taken

    # judging ---------------------------------------------------------------------------------------------------
    def put_up(self, served: Learnt) -> str | None:
        """Takes what was learnt as the candidate, beside what is `served`. Returns what is wrong with it, if it cannot
        serve; then there is none."""
        learner = self.learner
        learnt, files = learner.learnt(), {}
        versions = (learner.model_version, learner.items_version)
        sequence = served.sequence
        if learnt.sequence is not None and versions != self._released:
            files["sequence"] = _halves(learnt.sequence.user_side())
            if versions[1] != self._released[1] or served.sequence is None:
                files["adapter"] = _halves(learnt.sequence.item_side())
                sequence = SequenceModel.of_sides(files["adapter"], files["sequence"])
            else:
                sequence = served.sequence.with_users(files["sequence"])
        files["ranker"] = {"weights": learnt.ranker}
        wrong = unhealthy(files, served.ranker)
        if wrong is not None:
            return wrong
        self._number += 1
        self.candidate = Candidate(f"candidate-{self._number}", Learnt(learnt.ranker, sequence), files, versions)
        self._other = None
        self.gate.begin(self.candidate.name)
        return None

    def verdict(self) -> Verdict:
        return self.gate.verdict()

    def promoted(self, before: Learnt) -> None:
        """The candidate serves now, and `before` no more; for a while the two go on being compared."""
        assert self.candidate is not None
        if self._before is None or self._watch.tired:
            self._before = before
            self._watch.begin("what served before")
        self._released = self.candidate.versions
        self.gate.promoted()
        self.candidate = self._other = None

    def regressed(self) -> tuple[str, Learnt] | None:
        """Why what serves is provably worse than what served before, and the latter: the choices that came since say
        so. None while that is not known."""
        if self._before is None or (why := self._watch.better()) is None:
            return None
        return why, self._before

    def begin_anew(self) -> None:
        """Another encoder serves: neither what was put up nor what served before fits its vectors."""
        self._before = None
        self.withdraw()

    def withdraw(self) -> None:
        """There is no candidate any more."""
        self.candidate = self._other = None

    def adopt(self, served: Learnt) -> None:
        """Goes on from what serves now by another's decision, or again."""
        self.learner.adopt(served)
        self._before = None
        self.withdraw()

    def _as_candidate(self, world: World, moments: Sequence[Moment], seed: int, blocks: list[Choices]) -> list[Choices]:
        """The same choices with the features as the candidate's sequence model gives them."""
        if self.candidate is None or self.candidate.learnt.sequence is world.sequence or not moments:
            return blocks
        of = (id(world.catalogue), id(world.dense.has))
        if self._other is None or self._other.statistics is not world.statistics or self._other_of != of:
            before, self._other_of = (self._other if self._other_of == of else None), of
            ranker = Ranker("cpu", AdditiveRanker(self.candidate.learnt.ranker))
            self._other = world.with_models(ranker, self.candidate.learnt.sequence, self.candidate.name)
            if before is not None and "sequence_items" in before.__dict__:
                self._other.__dict__["sequence_items"] = before.sequence_items
        return self.learner.choices(self._other, moments, seed)

    def _judge(self, mine: Choices, theirs: Choices, serving: npt.NDArray[np.float32]) -> list[Drifted]:
        if not len(mine) or mine.users is None:
            return []
        fair = self._fairness(mine)
        own = ndcg(ranks_of(mine, serving)) * fair
        other = skill = None
        if self.candidate is not None and len(theirs) == len(mine):
            other = ndcg(ranks_of(theirs, self.candidate.learnt.ranker)) * fair
            skill = skill_of(theirs, self.candidate.learnt.ranker)
        self.gate.observe(own, other, mine.users, skill)
        if self._before is not None:
            self._watch.observe(own, ndcg(ranks_of(mine, self._before.ranker)) * fair, mine.users)
        return self.drift.observe(own, mine.users)

    def _fairness(self, choices: Choices) -> Doubles | float:
        """float64[B] in 0..1: what was shown further down was looked at less often, so a choice of it counts more
        (inverse propensity, Joachims, Swaminathan & Schnabel 2017). Else the order that serves would be in the right
        for no other reason than that it served."""
        if choices.position is None:
            return 1.0
        places = self.learner.ranker.places
        used = places[1 : int(choices.position.max()) + 1]
        at = choices.position[np.arange(len(choices)), choices.target]
        odds: Doubles = np.exp(used.min() - places[at])
        return np.minimum(odds, 1.0)

    # checkpoints -----------------------------------------------------------------------------------------------
    def dump(self) -> tuple[Arrays, dict[str, Any]]:
        """(arrays, the rest as JSON knows it). A candidate that waits is not among them."""
        arrays: Arrays = {}
        meta: dict[str, Any] = {}
        parts = {"learner": self.learner.dump(), "gate": self.gate.dump(), "drift": (self.drift.dump(), {})}
        if self.screen is not None:
            parts["screen"] = self.screen.dump()
        for name, (own, meta[name]) in parts.items():
            arrays |= {f"{name}.{key}": array for key, array in own.items()}
        return arrays, meta

    @classmethod
    def restore(cls, arrays: Arrays, meta: Mapping[str, Any], fresh: GuardedLearner) -> GuardedLearner:
        """What `dump` wrote down; policy and bounds are those of `fresh`. Raises KeyError, ValueError, RuntimeError."""

        def below(name: str) -> Arrays:
            return {k.removeprefix(f"{name}."): array for k, array in arrays.items() if k.startswith(f"{name}.")}

        like = fresh.learner
        learner = Learner.restore(below("learner"), meta["learner"], like.policy, like.bounds, device=like.device)
        made = cls(learner, fresh.screen)
        made.gate, made.drift = Gate.restore(below("gate"), meta["gate"]), Drift.restore(below("drift"))
        made.gate.begin("")  # whatever was put up is gone with the process that put it up
        if fresh.screen is not None and "screen" in meta:
            made.screen = Screen.restore(below("screen"), meta["screen"])
        return made


def _believed(events: Sequence[Event], received: Sequence[int], policy: Policy) -> list[Event]:
    """The events, none further ahead of when the log got it than a clock may be: one wrong stamp would move the time by
    which popularity fades, for all."""
    leeway = int(policy.max_future_seconds * 1000)
    return [
        event if event.ts <= at + leeway else moved(event, at + leeway)
        for event, at in zip(events, received, strict=True)
    ]


def ndcg(ranks: Doubles) -> Doubles:
    """float64[n]: NDCG@10 of one relevant item at these ranks, from 1."""
    scores: Doubles = np.where(ranks <= TOP, 1 / np.log2(1 + np.minimum(ranks, TOP)), 0.0)
    return scores


def skill_of(choices: Choices, weights: npt.NDArray[np.float32]) -> Doubles | None:
    """float64[B] in -1..1: how much better these weights rank what was chosen, among what a choice at random would have
    named as likely, than chance does (NDCG@10). Of choices at random the mean is 0 whatever the weights, or less where
    scores are equal. None where nobody knows what is as likely: of a slate, whose places were looked at unequally."""
    if choices.alike is None:
        return None
    ranks = ranks_of(replace(choices, there=choices.alike, many=np.zeros_like(choices.many)), weights)
    many = choices.alike.sum(axis=1)
    chance = np.concatenate([[0.0], np.cumsum(ndcg(np.arange(1.0, TOP + 1)))])[np.minimum(many, TOP)] / many
    skill: Doubles = ndcg(ranks) - chance
    return skill


def unhealthy(files: Mapping[str, Arrays], before: npt.NDArray[np.float32]) -> str | None:
    """Why these weights cannot serve: numbers that are none, or a ranker that has exploded beside `before`."""
    for role, arrays in files.items():
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                return f"{role}.{name} holds numbers that are none"
    norm = float(np.abs(files["ranker"]["weights"]).max())
    usual = float(np.abs(before).max())
    if norm > _EXPLODED * max(usual, 10.0):
        return f"a weight of the ranker has grown to {norm:.0f}, beside {usual:.1f} in what serves"
    return None


def _halves(arrays: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    """Weights as float16: half the size, and less than a thousandth off."""
    return {name: array.astype(np.float16) if array.dtype.kind == "f" else array for name, array in arrays.items()}
