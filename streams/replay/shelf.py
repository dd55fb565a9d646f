"""Shelf: the users of a replay. Those used lately are in memory as they are, the others in a temporary file.

In: ids of users, changed users. Out: users. A log can have more users than memory holds; what lies in the file is what
the store of a worker would hold, so a user who comes back is the same.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

import msgpack

from recsys.user import User, decode_user, encode_user

_ASK = 500  # ids in one question


class Shelf:
    """`most`: users kept in memory. Use it as a context manager."""

    def __init__(self, most: int = 50_000) -> None:
        self._most = max(most, 1)
        self._near: dict[str, User] = {}  # least recently used first
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._far: sqlite3.Connection | None = None

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        if self._far is not None:
            self._far.close()
        if self._folder is not None:
            self._folder.cleanup()

    def take(self, user_ids: Iterable[str]) -> dict[str, User]:
        """The users of these ids that exist."""
        near = self._near
        found: dict[str, User] = {}
        missing: list[str] = []
        for user_id in user_ids:
            user = near.get(user_id)
            if user is None:
                missing.append(user_id)
            else:
                found[user_id] = user
        if missing and self._far is not None:
            for at in range(0, len(missing), _ASK):
                part = missing[at : at + _ASK]
                marks = ",".join("?" * len(part))
                for user_id, packed in self._far.execute(f"SELECT id, fields FROM users WHERE id IN ({marks})", part):
                    found[user_id] = decode_user(user_id, msgpack.unpackb(packed))
        return found

    def put(self, changed: Mapping[str, User | None]) -> None:
        """Keeps changed users; None erases one."""
        near = self._near
        erased = []
        for user_id, user in changed.items():
            near.pop(user_id, None)
            if user is None:
                erased.append(user_id)
            else:
                near[user_id] = user
        if erased and self._far is not None:
            self._far.executemany("DELETE FROM users WHERE id = ?", [(one,) for one in erased])
        if len(near) > self._most + self._most // 4:
            self._put_away(len(near) - self._most)

    def get(self, user_id: str) -> User | None:
        return self.take([user_id]).get(user_id)

    def _put_away(self, n: int) -> None:
        if self._far is None:
            self._folder = tempfile.TemporaryDirectory(prefix="headwater-replay-")
            # other threads may serve it, one at a time; it is gone with the process, so nothing needs to be safe
            self._far = sqlite3.connect(Path(self._folder.name) / "users", isolation_level=None)
            self._far.execute("PRAGMA journal_mode = OFF")
            self._far.execute("PRAGMA synchronous = OFF")
            self._far.execute("PRAGMA cache_size = -65536")
            self._far.execute("CREATE TABLE users (id TEXT PRIMARY KEY, fields BLOB) WITHOUT ROWID")
        oldest = list(islice(self._near.items(), n))
        rows = sorted(
            (user_id, msgpack.packb({name.encode(): value for name, value in encode_user(user).items()}))
            for user_id, user in oldest
        )
        self._far.execute("BEGIN")
        self._far.executemany("INSERT OR REPLACE INTO users VALUES (?, ?)", rows)
        self._far.execute("COMMIT")
        for user_id, _ in oldest:
            del self._near[user_id]
