"""Ahead: a batch that waits while another is stepped has the store look its users up meanwhile.

In: the keys of a partition's waiting records, and what it holds in memory. Out: the users that it held, and the fields
of those that it lacked, as the store had them at some moment after they were asked for. Nothing is promised: what has
not come in time, the batch asks for itself when its turn comes.

Only asking is done beside the step. The answer is read by the step thread, between two steps: a second thread that
wants Python's lock while a step runs costs more than it saves (an event of anybody among many users took 120 us where
it had taken 105).

What was looked up early may be used because of three things. A user of a batch that is not saved yet is in memory, so
that the store is never asked for one (`Partition._remember`). A user that a batch steps after the asking is marked here
as outdated. And what another worker wrote meanwhile the save finds out, which is refused at another position.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from streams.store.contract import Asked, Fields, Store, StoreError

LATE_S = 1.0
"""Waited for the answer: a store that takes longer is asked again by the batch itself, which says so."""


class Ahead:
    """Users of one waiting batch: `wants` on the event loop, `ask` on the thread that asks, the rest on the step
    thread."""

    def __init__(self) -> None:
        self._user_ids: list[str] = []
        self._kept: dict[str, Any] = {}
        self._outdated: set[str] = set()
        self._asked: Asked | None = None
        self._found: Mapping[str, Fields] | None = None
        self._over = threading.Event()
        self._dropped = False

    def wants(self, keys: Iterable[bytes | None], held: Mapping[str, Any]) -> bool:
        """Notes the users of these keys that are not held in memory, and keeps the others, which may have to make room
        before they are needed; whether there are any to be asked for. From before this call on it has to be told what
        is stepped."""
        wanted: dict[str, None] = {}
        for key in keys:
            if key:
                user_id = key.decode("utf-8", "replace")
                user = held.get(user_id)
                if user is None:
                    wanted[user_id] = None
                else:
                    self._kept[user_id] = user
        self._user_ids = list(wanted)
        return bool(wanted)

    def ask(self, store: Store, partition: int) -> None:
        """Asks the store. A failure is left to the batch, which will meet it again."""
        try:
            if not self._dropped:
                self._asked = store.ask(partition, self._user_ids)
        except StoreError:
            pass
        finally:
            self._over.set()
        if self._dropped:
            self.drop()

    def outdate(self, user_ids: Iterable[str]) -> None:
        """These users were stepped since."""
        self._outdated.update(user_ids)

    def receive(self) -> None:
        """Reads the answer if it is there. Before a save is sent: most of a large answer waits in the store until it is
        read, and then would wait for the save."""
        if self._found is None and self._over.is_set() and self._asked is not None and self._asked.ready():
            self._read(self._asked)

    def kept(self) -> dict[str, Any]:
        """Of the users that were in memory, those that are as they were."""
        return {user_id: user for user_id, user in self._kept.items() if user_id not in self._outdated}

    def fields(self) -> Mapping[str, Fields]:
        """Of the users asked for, those that are as they were; none of one that the store doesn't know."""
        if self._found is None:
            if not self._over.wait(LATE_S) or self._asked is None:
                return {}
            self._read(self._asked)
        found = self._found or {}
        return {user_id: found.get(user_id, {}) for user_id in self._user_ids if user_id not in self._outdated}

    def _read(self, asked: Asked) -> None:
        try:
            _, self._found = asked.answer(LATE_S)
        except StoreError:
            self._user_ids, self._found = [], {}

    def drop(self) -> None:
        """Nobody wants the answer, or nobody any more."""
        self._dropped = True
        if self._asked is not None:
            self._asked.drop()
