"""Log: all events of a backtest as columns in the order of time, read in blocks.

In: columns that the edge has filled and sorted (`streams.backtest.reading`; they may lie on disk), and a function that
reads events back by their place. Out: `Block`s, each with its interactions as arrays. A user's interactions also stand
together (`chain`), so that what a user did before any event is a slice, exact, wherever a block was cut; decoding the
events themselves is left to the policies that need them.

A user that erases everything begins a new life: `Columns.user` has another number from there on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from schemas.events import Event

HISTORY = 50
"""Latest items of a user that stand beside an interaction."""
Ints = NDArray[np.int64]
ReadEvents = Callable[[int, int], Sequence[Event]]
"""(from, to) places of the sorted log -> the events there."""


@dataclass(frozen=True, slots=True)
class Columns:
    """One row an event, in the order of time. n events, c interactions of known users.

    ts          int64[n], ms
    user        int32[n]: number of the user; another one after an erasure
    row         int32[n]: row of the item table; UNKNOWN for an item that it lacks, OTHER for what is no interaction
    weight      float32[n]: evidence weight of the action (`recsys.actions.weigh`); 0 for what is no interaction
    before      int64[n]: the user's interactions before this event; where its slice of the chain ends
    item_before int32[n]: interactions with the item, by anybody, before this event
    start       int64[users]: where a user's slice of the chain begins
    chain       int32[c]: item rows of interactions, user by user, each in the order of time
    again       bool[c]: the user had touched that item before
    """

    ts: NDArray[np.int64]
    user: NDArray[np.int32]
    row: NDArray[np.int32]
    weight: NDArray[np.float32]
    before: NDArray[np.int64]
    item_before: NDArray[np.int32]
    start: NDArray[np.int64]
    chain: NDArray[np.int32]
    again: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ts)


UNKNOWN = -1
OTHER = -2


@dataclass(frozen=True, eq=False)
class Interactions:
    """The m interactions of a block, in order. What takes room is worked out when it is first asked for.

    user     int64[m]
    row      int64[m]: row of the item table, UNKNOWN for an item that it lacks
    ts       int64[m], ms
    weight   float32[m]
    place    int64[m]: index in the block's events
    repeat   bool[m]: the user had touched the item before
    user_before, item_before  int64[m]: interactions of the user, and with the item, before the event
    chain, first  `Columns.chain`, and int64[m]: where the user's slice of it begins
    """

    user: Ints
    row: Ints
    ts: Ints
    weight: NDArray[np.float32]
    place: Ints
    repeat: NDArray[np.bool_]
    user_before: Ints
    item_before: Ints
    chain: NDArray[np.int32]
    first: Ints

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """bool[m]: the item is in the table."""
        return self.row >= 0

    @cached_property
    def history(self) -> Ints:
        """int64[m, HISTORY]: rows of the user's latest items before the event, newest last, -1 padded in front."""
        back = np.arange(HISTORY, 0, -1)
        there = self.user_before[:, None] >= back
        history = np.full((len(self), HISTORY), -1, np.int64)
        history[there] = self.chain[((self.first + self.user_before)[:, None] - back)[there]]
        return history

    @cached_property
    def seen_start(self) -> Ints:
        """int64[m + 1]: where each interaction's part of `seen` begins."""
        return np.r_[0, np.cumsum(self.user_before)]

    @cached_property
    def seen(self) -> Ints:
        """int64[s]: all rows the user touched before each interaction, one after the other, repeats included."""
        at = np.arange(self.seen_start[-1]) - np.repeat(self.seen_start[:-1] - self.first, self.user_before)
        return np.asarray(self.chain[at]).astype(np.int64)

    @cached_property
    def line(self) -> Ints:
        """int64[s]: which interaction each entry of `seen` belongs to."""
        return np.repeat(np.arange(len(self)), self.user_before)


class LazyEvents(Sequence[Event]):
    """The events of a block, decoded when they are first looked at."""

    def __init__(self, read: ReadEvents, start: int, stop: int) -> None:
        self._read, self._start, self._stop = read, start, stop
        self._events: Sequence[Event] | None = None

    def __len__(self) -> int:
        return self._stop - self._start

    @overload
    def __getitem__(self, at: int) -> Event: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Event]: ...
    def __getitem__(self, at: int | slice) -> Event | Sequence[Event]:
        if self._events is None:
            self._events = self._read(self._start, self._stop)
        return self._events[at]

    def __iter__(self) -> Iterator[Event]:
        return iter(self[:])


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Events of one stretch of the log; `at` is the place of the first one in the sorted log."""

    events: Sequence[Event]
    at: int
    interactions: Interactions


@dataclass(frozen=True)
class Log:
    """The sorted log. `read` gives the events of a stretch back."""

    columns: Columns
    read: ReadEvents
    items: int
    """Rows of the item table."""
    passed: Callable[[int], None] = lambda place: None
    """Told how far a policy has gone through the log; for whoever shows progress."""

    def __len__(self) -> int:
        return len(self.columns)

    def block(self, start: int, stop: int) -> Block:
        return Block(LazyEvents(self.read, start, stop), start, interactions_of(self.columns, start, stop))

    def blocks(self, start: int, stop: int, size: int) -> Blocks:
        return Blocks(self, start, stop, size)


@dataclass(frozen=True)
class Blocks:
    """A stretch of the log in blocks of `size` events; may be gone through any number of times."""

    log: Log
    start: int
    stop: int
    size: int

    def __iter__(self) -> Iterator[Block]:
        for at in range(self.start, self.stop, self.size):
            yield self.log.block(at, min(at + self.size, self.stop))
            self.log.passed(min(at + self.size, self.stop))

    def __len__(self) -> int:
        return max(0, -(-(self.stop - self.start) // self.size))

    def of(self, size: int) -> Blocks:
        """The same stretch in blocks of another size."""
        return Blocks(self.log, self.start, self.stop, size)

    def between(self, start: int, stop: int) -> Blocks:
        """The part of the stretch from place `start` to before `stop`."""
        return Blocks(self.log, max(start, self.start), min(stop, self.stop), self.size)

    @cached_property
    def interactions(self) -> int:
        """Interactions with known items in the stretch."""
        return int((self.log.columns.row[self.start : self.stop] >= 0).sum())


def interactions_of(columns: Columns, start: int, stop: int) -> Interactions:
    """The interactions among the events from place `start` to before `stop`."""
    row = np.asarray(columns.row[start:stop])
    place = np.flatnonzero(row != OTHER)
    touched = row[place].astype(np.int64)
    user = np.asarray(columns.user[start:stop])[place].astype(np.int64)
    before = np.asarray(columns.before[start:stop])[place]
    first = np.asarray(columns.start[user]) if len(user) else np.zeros(0, np.int64)
    return Interactions(
        user=user, row=touched, ts=np.asarray(columns.ts[start:stop])[place],
        weight=np.asarray(columns.weight[start:stop])[place], place=place,
        repeat=np.asarray(columns.again[first + before]) if len(user) else np.zeros(0, bool), user_before=before,
        item_before=np.asarray(columns.item_before[start:stop])[place].astype(np.int64),
        chain=columns.chain, first=first,
    )  # fmt: skip
