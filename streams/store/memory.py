"""A store in a dictionary: for tests of the worker's rules, and as the shortest statement of the contract."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from streams.kafka.partition import partition_of
from streams.store.contract import Answered, Entry, Fenced, Loaded, Position, Save, StoreError


@dataclass
class _Partition:
    position: Position | None = None
    users: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    outbox: list[Entry] = field(default_factory=list)


class MemoryStore:
    """Keeps everything as long as the object lives; safe between threads."""

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}
        self._lock = threading.Lock()

    def position(self, partition: int) -> Position | None:
        with self._lock:
            return self._of(partition).position

    def load(self, partition: int, user_ids: Sequence[str]) -> Loaded:
        with self._lock:
            held = self._of(partition)
            return held.position, {one: dict(held.users[one]) for one in user_ids if one in held.users}

    def ask(self, partition: int, user_ids: Sequence[str]) -> Answered:
        return Answered(self.load(partition, user_ids))

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
        with self._lock:
            held = self._of(partition)
            appended = held.position.appended if held.position else 0
            if token and held.position and held.position.token == token:
                return appended
            found = held.position.offset if held.position else None
            if found != expected:
                raise Fenced(partition, expected, found)
            for user_id, fields in users.items():
                if fields is None:
                    held.users.pop(user_id, None)
                else:
                    encoded = {name.encode(): value for name, value in fields.items()}
                    held.users.setdefault(user_id, {}).update(encoded)
            held.outbox += [Entry(appended + at, payload) for at, payload in enumerate(outbox, 1)]
            appended += len(outbox)
            held.position = Position(new, note, token, appended)
            return appended

    def save_all(self, saves: Sequence[Save]) -> list[int | StoreError]:
        found: list[int | StoreError] = []
        for one in saves:
            try:
                found.append(self.save(*one[:5], note=one.note, token=one.token))
            except StoreError as error:
                found.append(error)
        return found

    def pending(self, partition: int) -> list[Entry]:
        with self._lock:
            return list(self._of(partition).outbox)

    def confirm(self, partition: int, upto: int) -> None:
        with self._lock:
            held = self._of(partition)
            held.outbox = [entry for entry in held.outbox if entry.sequence > upto]

    def confirm_all(self, upto: Mapping[int, int]) -> None:
        for partition, sequence in upto.items():
            self.confirm(partition, sequence)

    def read_user(self, user_id: str, partitions: int) -> dict[bytes, bytes]:
        return self.load(partition_of(user_id, partitions), [user_id])[1].get(user_id, {})

    def users(self, partition: int) -> Iterable[str]:
        with self._lock:
            return list(self._of(partition).users)

    def close(self) -> None:
        pass

    def _of(self, partition: int) -> _Partition:
        return self._partitions.setdefault(partition, _Partition())
