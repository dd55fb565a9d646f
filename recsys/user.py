"""User: all that is known of one user, as one value.

Stands between the log and everything that ranks: `recsys.fold` makes the next User of an event, `recsys.evidence`
reads many Users as arrays. A User is never changed once a step has returned it; inside a step its clone is.

Sizes are the design here (a million users should cost about a gigabyte). Evidence has two tiers:

* `recent`: the newest `RECENT` interactions, 14 bytes each, with their event ids so that a reason can cite them;
* `history`: older ones, 8 bytes each (item, action, and a date in steps of four days), up to `HISTORY`.

An item is known by its 48-bit key (`recsys.keys`), so a row costs the same whatever the shop's ids look like, and an
event on an item that is not in the catalogue yet counts once the item appears.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from schemas.constraints import Operator

RECENT = 8
"""Interactions kept with their event ids."""
HISTORY = 512
"""Older interactions kept, without ids."""
DEDUPE = 24
"""Event ids remembered beside the recent ones, as 32-bit hashes: a repeated event_id among them changes nothing."""
WORDS = 3
"""The user's own texts kept."""
WORDS_CHARS = 160
OPEN = 4
"""Open recommendations kept."""
LATE = 4
"""Recommendations kept beyond their window, for late acts on items that had one."""
SHOWN = 24
"""Items remembered as shown and not acted on."""
TRAITS = 24
STATEMENTS = 16

RECENT_ROW = struct.Struct("<QIe")
"""key | action code << 48; event time in seconds; evidence weight."""
HISTORY_ROW = struct.Struct("<Q")
"""key | action code << 48 | four-day steps since 2000 << 52."""
SHOWN_ROW = struct.Struct("<IB")
"""the lower 32 bits of the key; how often it was shown."""
KEY_MASK = (1 << 48) - 1
EPOCH_2000_S = 946_684_800
HISTORY_STEP_S = 4 * 86_400
CODEC_VERSION = 3
_MARKS = 4 * DEDUPE  # bytes
_MADE: Any = tuple.__new__  # a named tuple's own constructor takes twice as long
_PACK, _UNPACK = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
# what most users lack, by number
_SHOWN, _WORDS, _TRAITS, _STATEMENTS, _CONSTRAINTS, _SESSION, _LANGUAGE, _RANKED, _OTHER = range(9)


class Words(NamedTuple):
    """A text of the user's own: a chat message, a comment, a review, a query, or a statement they added."""

    event_id: str
    ts_s: int
    text: str


class Statement(NamedTuple):
    """What the user decided about a sentence of their profile: `added` text, or `pinned` / `muted` by id."""

    statement_id: str
    state: str
    text: str


class Condition(NamedTuple):
    """`name op value`: a condition on what may be offered, as `schemas.constraints.Constraint` has it. What comes from
    outside was checked as one of those; a User is read back a million times and need not be checked again."""

    name: str
    op: Operator
    value: float | str | list[str]
    unit: str | None = None
    event_id: str | None = None
    expires: int | None = None

    def shown(self) -> dict[str, Any]:
        """As a record shows it: what there is of it."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class Clock(NamedTuple):
    """A user's time, in seconds, that a next event may prove right; see `recsys.fold.touch_session`. `constraints`:
    what the present time has expired and this one has not."""

    last_s: int
    session_start_s: int
    constraints: tuple[Condition, ...] = ()


@dataclass(slots=True)
class User:
    """One user's state. `profile` is plain text, everything else is compact; see the module's docstring."""

    user_id: str
    recent: bytes = b""
    recent_ids: tuple[str, ...] = ()
    history: bytes = b""
    dedupe: bytes = b""
    shown: bytes = b""
    words: tuple[Words, ...] = ()
    traits: dict[str, Any] = field(default_factory=dict)
    traits_event: str | None = None
    statements: tuple[Statement, ...] = ()
    constraints: tuple[Condition, ...] = ()
    language: str = "en"
    session_id: str | None = None
    session_start_s: int = 0
    last_s: int = 0
    other_clock: Clock | None = None
    last_ranked_ms: int = 0
    open: tuple[bytes, ...] = ()
    profile: str = ""

    @classmethod
    def new(cls, user_id: str) -> User:
        return cls(user_id)

    def clone(self) -> User:
        """A User to change privately: its fields are immutable but for `traits`, which writers replace."""
        # every user of every batch is cloned: set one by one the fields cost a third of what `__init__` takes
        made = User.__new__(User)
        made.user_id, made.recent, made.recent_ids = self.user_id, self.recent, self.recent_ids
        made.history, made.dedupe, made.shown = self.history, self.dedupe, self.shown
        made.words, made.traits, made.traits_event = self.words, self.traits, self.traits_event
        made.statements, made.constraints, made.language = self.statements, self.constraints, self.language
        made.session_id, made.session_start_s, made.last_s = self.session_id, self.session_start_s, self.last_s
        made.other_clock, made.last_ranked_ms = self.other_clock, self.last_ranked_ms
        made.open, made.profile = self.open, self.profile
        return made


def is_repeat(user: User, event_id: str) -> bool:
    """Whether an event of this id was applied to the user, as far back as ids are kept."""
    if event_id in user.recent_ids:
        return True
    older = user.dedupe
    if not older:
        return False
    mark = crc32(event_id.encode()).to_bytes(4, "little")
    at = older.find(mark)
    while at > 0 and at % 4:  # it began inside of another's
        at = older.find(mark, at + 1)
    return at >= 0


def remember(user: User, event_id: str) -> None:
    """Keeps an id that no recent row holds (any longer)."""
    marks = user.dedupe + crc32(event_id.encode()).to_bytes(4, "little")
    user.dedupe = marks if len(marks) <= _MARKS else marks[-_MARKS:]


def _pack_ids(ids: tuple[str, ...]) -> bytes:
    """Ids that are all hexadecimal of one length take half their characters, UUIDs 16 bytes, others their UTF-8.
    The first byte says which: 0 text by lines, 1 UUID, 3 MessagePack (ids with newlines), else the length, which is
    even."""
    if not ids:
        return b""
    length = len(ids[0])
    lines = "\n".join(ids)
    if length % 2 == 0 and length < 128:
        uuids = length == 36 and lines.count("-") == 4 * len(ids)
        try:
            digits = bytes.fromhex(lines.replace("-", "") if uuids else lines)
        except ValueError:
            digits = b""
        if uuids:
            packed = b"\1" + digits
            if digits and _unpack_ids(packed) == ids:
                return packed
        # capitals, ids of several lengths and ids with newlines would not come back as they were
        elif 2 * len(digits) == length * len(ids) > 0 and digits.hex("\n", length // 2) == lines:
            return length.to_bytes(1, "little") + digits
    if lines.count("\n") >= len(ids):
        return b"\3" + _PACK(ids)
    return b"\0" + lines.encode()


def _unpack_ids(packed: bytes) -> tuple[str, ...]:
    if not packed:
        return ()
    kind, rest = packed[0], packed[1:]
    if kind == 0:
        return tuple(rest.decode().split("\n"))
    if kind == 3:
        return tuple(_UNPACK(rest))
    digits = rest.hex()
    width = 32 if kind == 1 else kind
    ids = [digits[at : at + width] for at in range(0, len(digits), width)]
    if kind == 1:
        ids = [f"{i[:8]}-{i[8:12]}-{i[12:16]}-{i[16:20]}-{i[20:]}" for i in ids]
    return tuple(ids)


def _unpack_conditions(packed: Sequence[Sequence[Any]]) -> tuple[Condition, ...]:
    return tuple([_MADE(Condition, one) for one in packed])


def encode_user(user: User, stored: User | None = None) -> dict[str, bytes]:
    """The fields of the user's hash in the store. `stored`: what the store holds of the user, or will once what was
    sent before has arrived. What is there already as it is, open recommendations above all, is left out; what is empty
    never is, so that nothing outlives an erasure."""
    rare: dict[int, Any] = {}
    if user.shown:
        rare[_SHOWN] = user.shown
    if user.words:
        rare[_WORDS] = user.words
    if user.traits:
        rare[_TRAITS] = (user.traits, user.traits_event)
    if user.statements:
        rare[_STATEMENTS] = user.statements
    if user.constraints:
        rare[_CONSTRAINTS] = user.constraints
    if user.session_id is not None:
        rare[_SESSION] = user.session_id
    if user.language != "en":
        rare[_LANGUAGE] = user.language
    if user.last_ranked_ms:
        rare[_RANKED] = user.last_ranked_ms
    if (other := user.other_clock) is not None:
        times = (other.last_s, other.session_start_s)
        rare[_OTHER] = (*times, other.constraints) if other.constraints else times
    state = (
        CODEC_VERSION, user.recent, _pack_ids(user.recent_ids), user.history, user.dedupe,
        user.session_start_s, user.last_s, rare,
    )  # fmt: skip
    fields = {"state": _PACK(state)}
    if stored is None or not user.profile or user.profile != stored.profile:
        fields["profile"] = user.profile.encode()
    if stored is None or not user.open or user.open != stored.open:
        fields["open"] = _PACK(user.open) if user.open else b""
    return fields


class UnknownUserVersion(ValueError):  # noqa: N818
    """The stored state was written by another version of Headwater."""


def decode_user(user_id: str, fields: Mapping[bytes, bytes]) -> User:
    """The reverse of `encode_user`; a user without a state is a new one."""
    state = fields.get(b"state")
    if not state:
        return User(user_id)
    version, recent, ids, history, dedupe, session_start_s, last_s, rare = _UNPACK(state)
    if version != CODEC_VERSION:
        raise UnknownUserVersion(
            f"the state of a user was written in codec version {version}, this Headwater reads {CODEC_VERSION}: "
            "run the version that wrote it, or replay the events into an empty namespace"
        )
    user = User(user_id, recent, _unpack_ids(ids), history, dedupe)
    user.session_start_s, user.last_s = session_start_s, last_s
    if opened := fields.get(b"open"):
        user.open = tuple(_UNPACK(opened))
    if profile := fields.get(b"profile"):
        user.profile = profile.decode()
    for what, held in rare.items():  # most users lack most of it
        if what == _SHOWN:
            user.shown = held
        elif what == _WORDS:
            user.words = tuple([_MADE(Words, one) for one in held])
        elif what == _TRAITS:
            user.traits, user.traits_event = held
        elif what == _STATEMENTS:
            user.statements = tuple([Statement(*one) for one in held])
        elif what == _CONSTRAINTS:
            user.constraints = _unpack_conditions(held)
        elif what == _SESSION:
            user.session_id = held
        elif what == _LANGUAGE:
            user.language = held
        elif what == _RANKED:
            user.last_ranked_ms = held
        elif what == _OTHER:
            user.other_clock = Clock(held[0], held[1], _unpack_conditions(held[2]) if len(held) > 2 else ())
    return user
