"""Learner: the ranker lane and the sequence lane over one log, as one value with a checkpoint.

In: a World, events and training examples in the order of their logs. Out: choices to judge a candidate by and then to
learn from, and `Learnt`, what the lanes have come to. It keeps a view of the users of its own, folded from the same
events by the same functions as the step, so that an interaction can be taken as a choice among what was known right
before it. Pure: whoever reads the log, keeps the clock and writes releases drives it (`streams.learner`).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.actions import code_weights, weigh
from recsys.keys import item_key
from recsys.learning.moments import Choices, Moment, choices_of, moments_of, user_hash
from recsys.learning.ranker import RankerLearner
from recsys.learning.sequence import Rates, SequenceLearner
from recsys.learning.slates import choices_of_slates
from recsys.learning.waiting import MOST, Visits, Waiting
from recsys.memory import memory_ended, told
from recsys.policy import Policy
from recsys.sequence import SequenceModel
from recsys.user import User, decode_user, encode_user
from recsys.world import World
from schemas.events import Event, Forget, Interaction
from schemas.training import TrainingExample

_LONG = (1 << 63) - 1
_TRUSTED = 0.5
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is kept, and when the sequence model is trained from the beginning."""

    users: int = 50_000  # whose evidence is kept to see their choices with
    first_fit: int = 2_000  # visits before the sequence model is trained at all
    refit: float = 4.0  # it is trained over all that is kept again when the visits are so many times as many
    items: int = 1_000_000  # beyond so many their tables and the releases of them get too large: no sequence model
    waiting: int = MOST  # visits that wait for vectors of their items


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the lanes have come to: ranker weights float32[G, F] and a sequence model."""

    ranker: Floats
    sequence: SequenceModel | None


class Learner:
    """`follow` and `slates` give choices, `learn` takes them in, `work` moves the sequence model on."""

    def __init__(
        self, policy: Policy, bounds: Bounds | None = None, rates: Rates | None = None, device: str = "cpu"
    ) -> None:
        """`device`: where the sequence model is trained, while its memory lasts."""
        self.policy, self.bounds = policy, bounds or Bounds()
        self._rates = rates or Rates()
        self.ranker = RankerLearner()
        self.device = device
        self.sequence: SequenceLearner | None = None
        self.without: str | None = None
        """Why there is no sequence lane any more: memory has ended."""
        self._relieved: list[str] = []
        self._waiting = Waiting(self.bounds.waiting)
        self.users: dict[str, User] = {}  # least recently active first
        self._model: SequenceModel | None = None
        self.model_version = self.items_version = 0
        """Grow when the sequence model, or its item side, moves on."""
        self._fitting: Iterator[None] | None = None
        self._fitted_at = 0
        self.encoder_id: str | None = None
        """Whose vectors of items the sequence model stands on."""
        self._stocked: npt.NDArray[np.bool_] = np.zeros(0, bool)
        self._weights = code_weights(policy)

    # taking in -------------------------------------------------------------------------------------------------
    def follow(self, world: World, events: Sequence[Event], weights: Sequence[float] | None = None) -> list[Moment]:
        """Folds events into the users and the sequence lane; the moments right before choices of the whole catalogue.
        `weights`: how much each event is trusted, 0 to 1; below a half it teaches nothing."""
        trusted = events
        if weights is not None:
            trusted = [event for event, weight in zip(events, weights, strict=True) if weight >= _TRUSTED]
        own: dict[str, User] = {}
        moments = moments_of(world, self.users, trusted, self.policy, own)
        for user_id, user in own.items():
            self.users.pop(user_id, None)
            self.users[user_id] = user
        for user_id in list(self.users)[: max(0, len(self.users) - self.bounds.users)]:
            del self.users[user_id]
        self._visit(world, trusted)
        return moments

    def choices(self, world: World, moments: Sequence[Moment], seed: int) -> list[Choices]:
        """Moments as arrays, with the features as this World gives them."""
        return choices_of(world, moments, self.policy, self._weights, seed) if world.shop.any() else []

    def slates(self, examples: Sequence[TrainingExample]) -> Choices | None:
        """Labelled examples as choices among what was offered."""
        return choices_of_slates(examples, self.policy)

    def learn(self, choices: Choices) -> None:
        self.ranker.learn(choices)

    def forget(self, user_id: str) -> int:
        """Lets go of all that is kept of a user; how many visits that were."""
        self.users.pop(user_id, None)
        number = _number(user_id)
        return self._waiting.forget(number) + (0 if self.sequence is None else self.sequence.forget(number))

    def encoded_by(self, encoder_id: str | None, world: World) -> bool:
        """From here on Worlds have this encoder's vectors; `world` is the first. Whether they had another's before:
        then the sequence model is trained over all that is kept again, and there is none until that is done."""
        before, self.encoder_id = self.encoder_id, encoder_id
        if before == encoder_id or self.sequence is None:
            return False
        keys = self.sequence.keys
        self._stocked = np.zeros(0, bool)
        with self._within_memory():
            # an item that this encoder has no vector of keeps none of the other's
            self.sequence.stock(keys, np.zeros((len(keys), world.dense.dim), np.float32))
            self._stock(world)
        self._model, self._fitting, self._fitted_at = None, None, 0
        return True

    def _visit(self, world: World, events: Sequence[Event]) -> None:
        with self._within_memory():
            self._stock(world)
        if self.without is not None:
            return
        found: list[tuple[int, int, int, float]] = []
        for event in events:
            if isinstance(event, Forget):
                self.forget(event.user_id)
                found = [one for one in found if one[0] != _number(event.user_id)]
            elif isinstance(event, Interaction):
                _, weight = weigh(event.action, event.value, self.policy)
                if weight > 0:
                    found.append((_number(event.user_id), item_key(event.item_id), event.ts // 1000, weight))
        if not found:
            return
        visits = Visits.listed(found)
        rows = np.full(len(found), -1) if self.sequence is None else self.sequence.rows_of(visits.keys)
        known = rows >= 0
        if self._takes_items_of(world):
            self._waiting.put(visits.of(~known))
        if self.sequence is not None:
            now = visits.of(known)
            self.sequence.take(now.users, rows[known], now.seconds, now.weights)

    def _takes_items_of(self, world: World) -> bool:
        return self.without is None and bool(world.dense.dim) and len(world.catalogue) <= self.bounds.items

    def _stock(self, world: World) -> None:
        """Items and vectors that the sequence lane has not seen yet, and the visits that have waited for them. Raises
        MemoryEnded."""
        rows = world.catalogue.rows
        if not rows or not self._takes_items_of(world):
            return
        if rows < len(self._stocked):  # the catalogue was put together anew
            self._stocked = np.zeros(0, bool)
        there = world.dense.has[:rows] & world.catalogue.alive
        new = there & ~np.pad(self._stocked, (0, rows - len(self._stocked)))
        if not new.any():
            return
        keys, texts = world.catalogue.keys[:rows][new], world.dense.vectors(np.flatnonzero(new))
        if self.sequence is None:
            self.sequence = SequenceLearner(keys, texts, self._rates, device=self.device)
        else:
            self.sequence.stock(keys, texts)
        self._stocked = np.pad(self._stocked, (0, rows - len(self._stocked))) | there
        come = self._waiting.come(keys)
        self.sequence.take_late(come.users, self.sequence.rows_of(come.keys), come.seconds, come.weights)

    # moving on -------------------------------------------------------------------------------------------------
    @property
    def training(self) -> bool:
        """Whether the sequence model is being trained over all that is kept."""
        return self._fitting is not None

    def work(self, more: Callable[[], bool], *, items: bool) -> bool:
        """Moves the sequence model on, in slices of a step, while `more()`. `items`: its item side too. Whether there
        is another model than before."""
        with self._within_memory():
            return self._work(more, items)
        return False

    def _work(self, more: Callable[[], bool], items: bool) -> bool:
        sequence = self.sequence
        if sequence is None:
            return False
        if self._fitting is None and sequence.visits >= max(self.bounds.first_fit, self.bounds.refit * self._fitted_at):
            self._fitting, self._fitted_at = sequence.fitting(), sequence.visits
        if self._fitting is not None:
            for _ in self._fitting:
                if not more():
                    return False
            self._fitting, items = None, True
        elif not sequence.fitted:
            return False
        elif items:
            sequence.update()
        else:
            sequence.update_users()
        self._model = sequence.snapshot(None if items else self._model)
        self.model_version += 1
        self.items_version += items
        return True

    @contextmanager
    def _within_memory(self) -> Iterator[None]:
        """Where memory ends within, the sequence lane ends, and nothing else. What was released of it serves on."""
        try:
            yield
        except Exception as error:
            if not memory_ended(error):
                raise
            traceback.clear_frames(error.__traceback__)
            self._relieved = self.relieved()
            self.without = told(error)
            self._relieved.append(f"leaving the lane off until the learner starts again ({self.without})")
            self.sequence = self._model = self._fitting = None
            self._waiting = Waiting(self.bounds.waiting)

    def relieved(self) -> list[str]:
        """What was done since the last time it was asked where memory had ended in the sequence lane."""
        done, self._relieved = self._relieved, []
        if self.sequence is not None:
            done += self.sequence.trainer.relieved
            self.sequence.trainer.relieved = []
        return done

    def learnt(self) -> Learnt:
        return Learnt(self.ranker.snapshot(), self._model)

    def adopt(self, learnt: Learnt) -> None:
        """Goes on from what is served, after it was rolled back."""
        self.ranker.adopt(learnt.ranker)
        if learnt.sequence is not None and self.sequence is not None:
            self.sequence.adopt(learnt.sequence)
            self._model = learnt.sequence
            self.model_version += 1
            self.items_version += 1

    # checkpoints -----------------------------------------------------------------------------------------------
    def dump(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """(arrays, the rest as JSON knows it). A training over all that is kept is begun again."""
        arrays, ranker = self.ranker.dump()
        arrays = {f"ranker.{name}": array for name, array in arrays.items()}
        meta: dict[str, Any] = {"ranker": ranker, "fitted_at": 0 if self.training else self._fitted_at}
        meta |= {"encoder_id": self.encoder_id, "modelled": self._model is not None}
        with self._within_memory():
            if self.sequence is not None:
                own, state = self.sequence.dump()
                if len(own["paths.user"]):  # else there is nothing to go on from, and it could not be restored
                    meta["sequence"] = state
                    arrays |= {f"sequence.{name}": array for name, array in own.items()}
        arrays |= {f"waiting.{name}": array for name, array in self._waiting.dump().items()}
        blobs = [encode_user(user) for user in self.users.values()]
        arrays |= _packed("users.id", [user_id.encode("utf-8", "surrogatepass") for user_id in self.users])
        arrays |= _packed("users.state", [fields["state"] for fields in blobs])
        return arrays, meta

    @classmethod
    def restore(
        cls,
        arrays: dict[str, npt.NDArray[Any]],
        meta: dict[str, Any],
        policy: Policy,
        bounds: Bounds | None = None,
        rates: Rates | None = None,
        device: str = "cpu",
    ) -> Learner:
        """The learner that `dump` wrote down. Raises KeyError, ValueError, RuntimeError where it is none."""
        made = cls(policy, bounds, rates, device)
        made.ranker = RankerLearner.restore(_below(arrays, "ranker."), meta["ranker"])
        made._fitted_at, made.encoder_id = meta["fitted_at"], meta.get("encoder_id")
        made._waiting = Waiting.restore(_below(arrays, "waiting."), made.bounds.waiting)
        with made._within_memory():
            if "sequence" in meta:
                made.sequence = SequenceLearner.restore(
                    _below(arrays, "sequence."), meta["sequence"], made._rates, device
                )
                # what is fitted on another encoder's vectors than it stands on now is no model
                there = made.sequence.fitted and meta.get("modelled", True)
                made._model = made.sequence.snapshot() if there else None
                made.model_version = made.items_version = 1
        ids = _unpacked(arrays, "users.id")
        for user_id, state in zip(ids, _unpacked(arrays, "users.state"), strict=True):
            name = user_id.decode("utf-8", "surrogatepass")
            made.users[name] = decode_user(name, {b"state": state})
        return made


def _number(user_id: str) -> int:
    return user_hash(user_id) & _LONG


def _below(arrays: dict[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _packed(name: str, parts: Sequence[bytes]) -> dict[str, npt.NDArray[Any]]:
    return {
        name: np.frombuffer(b"".join(parts), np.uint8),
        f"{name}.length": np.array([len(part) for part in parts], np.int64),
    }


def _unpacked(arrays: dict[str, npt.NDArray[Any]], name: str) -> list[bytes]:
    whole, ends = arrays[name].tobytes(), np.cumsum(arrays[f"{name}.length"]).tolist()
    return [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]
