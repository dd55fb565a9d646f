"""Ahead: a batch that waits while another is stepped has the store look its users up meanwhile.

In: the keys of a partition's waiting records, and what it holds in memory. Out: the fields of the users that it lacks,
as the store had them at some moment after they were asked for. Nothing is promised: what has not come in time, the
batch asks for itself when its turn comes.

Only asking is done beside the step. The answer is read by the step thread once it wants it: a second thread that wants
Python's lock while a step runs costs more than it saves (an event of anybody among many users took 120 us where it had
taken 105).

What was looked up early may be used because of three things. A user of a batch that is not saved yet is in memory, so
that the store is never asked for one (`Partition._remember`). A user that a batch steps after the asking is marked here
as outdated. And what another worker wrote meanwhile the save finds out, which is refused at another position.
"""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable, Mapping

from streams.store.contract import Asked, Fields, Store, StoreError

LATE_S = 1.0
"""Waited for the answer: a store that takes longer is asked again by the batch itself, which says so."""


class Ahead:
    """Users of one waiting batch: `wants` on the event loop, `ask` on the thread that asks, the rest on the step
    thread."""

    def __init__(self) -> None:
        self._user_ids: list[str] = []
        self._outdated: set[str] = set()
        self._asked: Asked | None = None
        self._over = threading.Event()
        self._dropped = False

    def wants(self, keys: Iterable[bytes | None], held: Container[str]) -> bool:
        """Notes the users of these keys that are not held in memory; whether there are any. From before this call on it
        has to be told what is stepped."""
        user_ids = dict.fromkeys(key.decode("utf-8", "replace") for key in keys if key)
        self._user_ids = [user_id for user_id in user_ids if user_id not in held]
        return bool(self._user_ids)

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

    def fields(self) -> Mapping[str, Fields]:
        """Of the users asked for, those that are as they were; none of one that the store doesn't know."""
        if not self._over.wait(LATE_S) or self._asked is None:
            self.drop()
            return {}
        try:
            _, found = self._asked.answer(LATE_S)
        except StoreError:
            return {}
        return {user_id: found.get(user_id, {}) for user_id in self._user_ids if user_id not in self._outdated}

    def drop(self) -> None:
        """Nobody wants the answer."""
        self._dropped = True
        if self._asked is not None:
            self._asked.drop()
