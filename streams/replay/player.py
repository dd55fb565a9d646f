"""Player: batches of events through the step, with users on a shelf and recommendations into a recording.

In: a World and events in the order of their log, cut anywhere. Out: what the run comes to, as a Tally. Only
recommendations are recorded; whoever wants the other messages too, training examples and receipts, has them `told`. An
event that the step cannot apply is left out and counted, as the worker does: the batch is then tried event by event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recsys.policy import Policy
from recsys.recommend import Timer, untimed
from recsys.step import Incoming, Message, StepResult, step
from recsys.world import World
from streams.replay.recording import Recording
from streams.replay.shelf import Shelf

STEP_FAILED = "step_failed"
MOST = 32768
"""Events of one step, at most: a step writes each user's profile once, so long ones are cheap."""
RANKED = 1024
"""Recommendations of one step, about: those of a batch are in memory together, some 30 KB each, and what became of
others is about as much. Neither number changes the result."""


@dataclass(slots=True)
class Tally:
    """What a replay has done so far. `refused`: dead letters by reason; `unsorted`: events earlier than one before
    them; `unknown_items`: interactions with items that the catalogue lacks when they come."""

    events: int = 0
    recommendations: int = 0
    receipts: int = 0
    examples: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unsorted: int = 0
    unknown_items: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "recommendations": self.recommendations,
            "receipts": self.receipts,
            "training_examples": self.examples,
            "dead_letters": dict(sorted(self.refused.items())),
            "unsorted": self.unsorted,
            "unknown_items": self.unknown_items,
            "seconds": round(self.seconds, 3),
            "events_per_second": round(self.events / self.seconds, 1) if self.seconds else None,
        }


@dataclass(slots=True)
class Player:
    """Plays any number of batches into one shelf and one recording."""

    policy: Policy
    shelf: Shelf
    recording: Recording
    tally: Tally = field(default_factory=Tally)
    timer: Timer = untimed
    told: Callable[[Message], None] | None = None
    """Hears of every message of the events whose messages are written, in the order of the log."""
    room: int = RANKED
    """How many events the next batch should have."""

    def play(self, world: World, events: Sequence[Incoming], recorded: Sequence[bool] | None = None) -> None:
        """Applies `events`. `recorded`: for each event whether what it causes is written; None: all."""
        homes: dict[str, int] = {}
        for one in events:
            if homes.setdefault(one.event.user_id, one.partition) != one.partition:
                self._apart(world, events, recorded)
                return
        try:
            made = step(world, self.shelf.take(homes), events, self.policy, self.timer)
        except Exception:
            self._one_by_one(world, events, recorded)
        else:
            self._keep(made, homes, recorded)
            ranked = sum(message.topic == "recommendations" for message in made.messages)
            self.room = min(MOST, max(RANKED, len(events) * RANKED // max(1, ranked)))
        self.tally.events += len(events)
        rows = world.catalogue.row_of
        self.tally.unknown_items += sum(
            1 for one in events if one.event.type == "interaction" and one.event.item_id not in rows
        )

    def _apart(self, world: World, events: Sequence[Incoming], recorded: Sequence[bool] | None) -> None:
        """A user on two partitions is two users, which one step cannot tell apart."""
        for number in sorted({one.partition for one in events}):
            places = [at for at, one in enumerate(events) if one.partition == number]
            self.play(
                world, [events[at] for at in places], None if recorded is None else [recorded[at] for at in places]
            )

    def _one_by_one(self, world: World, events: Sequence[Incoming], recorded: Sequence[bool] | None) -> None:
        for at, one in enumerate(events):
            home = {one.event.user_id: one.partition}
            try:
                result = step(world, self.shelf.take(home), [one], self.policy)
            except Exception as error:
                self.tally.refused[STEP_FAILED] += 1
                place = f"partition {one.partition}, offset {one.offset}"
                self.tally.failures.append(f"{place}: the step raised {type(error).__name__} on it")
            else:
                self._keep(result, home, None if recorded is None else recorded[at : at + 1])

    def _keep(self, result: StepResult, homes: Mapping[str, int], recorded: Sequence[bool] | None) -> None:
        for message in result.messages:
            if recorded is not None and not recorded[message.source]:
                continue
            if self.told is not None:
                self.told(message)
            if message.topic == "recommendations":
                self.recording.add(message.value)
                self.tally.recommendations += 1
            elif message.topic == "receipts":
                self.tally.receipts += 1
            elif message.topic == "training-examples":
                self.tally.examples += 1
        self.shelf.put(result.users, homes)
