"""The contract of a store: users, a position and an outbox for each partition, changed together or not at all.

Flow: the worker loads the users of a batch, steps, and saves them with the position of the batch's last event and the
messages it caused, in one call. In: encoded fields of users, opaque messages. Out: the same, later, to whoever owns the
partition then.

The position does two things. It says which events are already in the users, so that none is applied twice; and since a
save names the position that it builds on, a worker that lost its partition without noticing is refused (`Fenced`)
before it can change anything.

    StoreError           the store answered, and the answer is no use
    |-- Fenced           the partition's position is not the one that the save builds on
    `-- StoreAway        no answer now; waiting may help (connection lost, loading, failing over, out of memory)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

Fields = Mapping[bytes, bytes]
Loaded = tuple["Position | None", dict[str, dict[bytes, bytes]]]
"""The position, and the fields of each user that exists."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a partition is applied. `offset`: of the last event in the users. `note`: what its writer wanted to
    remember (the worker: names of the World it served last). `token`: of the save that wrote it. `appended`: how many
    messages ever went into the outbox, which is also the sequence number of the newest one."""

    offset: int
    note: bytes
    token: bytes
    appended: int


class Save(NamedTuple):
    """The arguments of one `Store.save`."""

    partition: int
    expected: int | None
    new: int
    users: Mapping[str, Mapping[str, bytes] | None]
    outbox: Sequence[bytes]
    note: bytes
    token: bytes


class Entry(NamedTuple):
    """A message of the outbox that was not confirmed yet. Sequence numbers count from 1 and never repeat."""

    sequence: int
    payload: bytes


class StoreError(RuntimeError):
    """The store refused; the message says what to do."""


class StoreAway(StoreError):  # noqa: N818
    """The store doesn't answer, or can't write now. Nothing is known of the call's effect: repeat it."""


class Fenced(StoreError):  # noqa: N818
    """The save was built on another position than the store's. Nothing was changed. `found` is what is there."""

    def __init__(self, partition: int, expected: int | None, found: int | None) -> None:
        super().__init__(
            f"partition {partition} stands at {_told(found)} in the store, and this worker builds on "
            f"{_told(expected)}: another worker went on with it, or the store lost its newest writes"
        )
        self.partition, self.expected, self.found = partition, expected, found

    @property
    def went_back(self) -> bool:
        """Whether the store stands before what the save builds on: it lost its newest writes."""
        return self.expected is not None and (self.found is None or self.found < self.expected)


def _told(offset: int | None) -> str:
    return "nothing" if offset is None else f"offset {offset}"


class Asked(Protocol):
    """A load under way, to be answered or dropped by one thread at a time."""

    def ready(self) -> bool:
        """Whether the answer has come, or begun to; also if none will come, which `answer` then says."""
        ...

    def answer(self, within_s: float) -> Loaded:
        """What `Store.load` gives, as of one moment since it was asked for. To be called once. Raises what that raises;
        StoreAway also if nothing has come `within_s` seconds from now."""
        ...

    def drop(self) -> None:
        """Nobody wants the answer; of no effect once it was given."""
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """An Asked that was answered when it was asked for."""

    loaded: Loaded

    def ready(self) -> bool:
        return True

    def answer(self, within_s: float) -> Loaded:
        return self.loaded

    def drop(self) -> None: ...


class Store(Protocol):
    """What every store does. Each call is atomic. All raise StoreAway when the store can't be reached."""

    def position(self, partition: int) -> Position | None:
        """How far the partition is applied; None for one that was never written."""
        ...

    def load(self, partition: int, user_ids: Sequence[str]) -> Loaded:
        """The position, and the fields of each user that exists, as of one moment."""
        ...

    def ask(self, partition: int, user_ids: Sequence[str]) -> Asked:
        """Begins a `load` and does not wait for it."""
        ...

    def save(
        self,
        partition: int,
        expected: int | None,
        new: int,
        users: Mapping[str, Mapping[str, bytes] | None],
        outbox: Sequence[bytes] = (),
        *,
        note: bytes = b"",
        token: bytes = b"",
    ) -> int:
        """Sets the given fields of each user (None: erases the user), appends to the outbox and moves the position
        from `expected` to `new`, all at once. Returns the sequence number of the newest outbox entry.

        A `token` that differs from save to save makes a repeat after a lost reply harmless: the save that is already
        in the store counts as done. Raises Fenced where the position is not `expected`.
        """
        ...

    def save_all(self, saves: Sequence[Save]) -> list[int | StoreError]:
        """Saves of different partitions, each atomic by itself, in as few turns as the store allows. For each what
        `save` returns, or the error that it would raise; raises StoreAway if the store could not take them all: those
        that have a token may be repeated."""
        ...

    def pending(self, partition: int) -> list[Entry]:
        """The outbox, oldest first."""
        ...

    def confirm(self, partition: int, upto: int) -> None:
        """Takes the entries with sequence numbers up to `upto` out of the outbox; the ones already out don't matter."""
        ...

    def confirm_all(self, upto: Mapping[int, int]) -> None:
        """`confirm` for several partitions (partition -> sequence number), in as few turns as the store allows."""
        ...

    def read_user(self, user_id: str, partitions: int) -> dict[bytes, bytes]:
        """The fields of one user of a topic with `partitions` partitions; empty if there is none."""
        ...

    def users(self, partition: int) -> Iterable[str]:
        """The ids of all users of a partition, in no order. For tools and tests: it walks the whole store."""
        ...

    def close(self) -> None: ...
