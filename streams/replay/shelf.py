"""Shelf: the users of a replay. Those used lately are in memory as they are, the others in a temporary file.

In: ids of users with the partition of each, changed users. Out: users. A partition is part of a user's name, as it is
in the store of a worker: whoever is produced to two partitions is two users. A log can have more users than memory
holds; what lies in the file is what the store of a worker would hold, so a user who comes back is the same.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import msgpack

from recsys.user import User, decode_user, encode_user

_ASK = 500  # ids in one question
_Name = tuple[int, str]


class Shelf:
    """`most`: users kept in memory. Use it as a context manager."""

    def __init__(self, most: int = 50_000) -> None:
        self._most = max(most, 1)
        self._near: dict[_Name, User] = {}  # least recently used first
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._far: sqlite3.Connection | None = None

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        if self._far is not None:
            self._far.close()
        if self._folder is not None:
            self._folder.cleanup()

    def take(self, homes: Mapping[str, int]) -> dict[str, User]:
        """The users of these ids, each with its partition, that exist."""
        near = self._near
        found: dict[str, User] = {}
        missing: list[_Name] = []
        for user_id, home in homes.items():
            user = near.get((home, user_id))
            if user is None:
                missing.append((home, user_id))
            else:
                found[user_id] = user
        if missing and self._far is not None:
            for at in range(0, len(missing), _ASK):
                part = {_text(name): name[1] for name in missing[at : at + _ASK]}
                asked = f"SELECT id, fields FROM users WHERE id IN ({','.join('?' * len(part))})"
                for text, packed in self._far.execute(asked, list(part)):
                    found[part[text]] = decode_user(part[text], msgpack.unpackb(packed))
        return found

    def fields(self, user_id: str, home: int) -> dict[bytes, bytes] | None:
        """A user as a store would hold it; None if there is none."""
        user = self.take({user_id: home}).get(user_id)
        return None if user is None else {name.encode(): value for name, value in encode_user(user).items()}

    def put(self, changed: Mapping[str, User | None], homes: Mapping[str, int]) -> None:
        """Keeps changed users; None erases one."""
        near = self._near
        erased = []
        for user_id, user in changed.items():
            name = (homes[user_id], user_id)
            near.pop(name, None)
            if user is None:
                erased.append((_text(name),))
            else:
                near[name] = user
        if erased and self._far is not None:
            self._far.executemany("DELETE FROM users WHERE id = ?", erased)
        if len(near) > self._most + self._most // 4:
            self._put_away(len(near) - self._most)

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
            (_text(name), msgpack.packb({field.encode(): value for field, value in encode_user(user).items()}))
            for name, user in oldest
        )
        self._far.execute("BEGIN")
        self._far.executemany("INSERT OR REPLACE INTO users VALUES (?, ?)", rows)
        self._far.execute("COMMIT")
        for name, _ in oldest:
            del self._near[name]


def _text(name: _Name) -> str:
    return f"{name[0]}:{name[1]}"
