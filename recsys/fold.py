"""Fold: one event changes its User. The left end of the step; no ranking, no catalogue, no clock.

In: a private clone of the User and an event, in the order of the log. Out: the same clone, changed. What an event
means for the *offer* (is a ranking due, what constrains it) is decided in `recsys.step`.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from recsys.dialogue.conditions import MAX_IN_FORCE
from recsys.keys import item_key
from recsys.user import (
    EPOCH_2000_S,
    HISTORY,
    HISTORY_ROW,
    HISTORY_STEP_S,
    KEY_MASK,
    RECENT,
    RECENT_ROW,
    SHOWN,
    SHOWN_ROW,
    STATEMENTS,
    TRAITS,
    WORDS,
    WORDS_CHARS,
    Clock,
    Statement,
    User,
    Words,
    remember,
)
from schemas.events import Forget, Impression, Interaction, ProfileEdit, Traits

_LATEST_S = 2**32 - 1
_ROW = RECENT_ROW.size
_pack_row, _unpack_row = RECENT_ROW.pack, RECENT_ROW.unpack_from
_HISTORY_LATEST = (1 << 12) - 1
_HISTORY_BYTES = 8 * HISTORY


def event_seconds(ts_ms: int) -> int:
    """Event time in whole seconds, clamped to what a row can hold (1970 to 2106)."""
    seconds = ts_ms // 1000
    return seconds if 0 <= seconds <= _LATEST_S else (0 if seconds < 0 else _LATEST_S)


def touch_session(user: User, ts_s: int, session_id: str | None, gap_s: float) -> None:
    """Moves the user's clock to an event. A session ends with another session_id, or after a gap of more than `gap_s`
    seconds without events.

    A stamp far ahead may be a pause or a wrong clock, and only what comes next tells: it counts, and the clock that it
    left stays aside. If the next event is more than a gap behind, that one holds again, as if the stamp had not been.
    Where nothing is aside, a stamp more than a gap behind (a late event) moves nothing, unless a second one follows:
    so a clock that was wrong several times comes right with the second right stamp.
    """
    if ts_s > user.last_s:
        if ts_s - user.last_s > gap_s:
            user.other_clock = Clock(user.last_s, user.session_start_s)
            user.session_start_s = ts_s
        else:
            user.other_clock = None
        user.last_s = ts_s
        if user.constraints:
            _expire(user)
    elif user.last_s - ts_s <= gap_s:
        user.other_clock = None
    elif user.other_clock is None:
        user.other_clock = Clock(ts_s, ts_s)
    else:
        user.last_s, user.session_start_s, expired = user.other_clock
        user.other_clock = None
        user.constraints = (*expired, *user.constraints)[-MAX_IN_FORCE:]
        touch_session(user, ts_s, session_id, gap_s)
        return
    if session_id is not None:
        if user.session_id is not None and session_id != user.session_id:
            user.session_start_s = ts_s
        user.session_id = session_id[:64]


def _expire(user: User) -> None:
    """What has expired by the user's own clock binds nothing any more, and takes room."""
    now_ms, all_of_them = user.last_s * 1000, user.constraints
    user.constraints = tuple(c for c in all_of_them if c.expires is None or c.expires > now_ms)
    if user.other_clock is not None and len(user.constraints) < len(all_of_them):
        expired = tuple(c for c in all_of_them if c.expires is not None and c.expires <= now_ms)
        user.other_clock = user.other_clock._replace(constraints=expired)


def _session_start(user: User, ts_s: int, gap_s: float) -> int:
    """When the session began in which an event at `ts_s` falls."""
    back = user.other_clock is not None and user.last_s - ts_s > gap_s
    return user.other_clock.session_start_s if back and user.other_clock else user.session_start_s


def fold_interaction(user: User, event: Interaction, ts_s: int, code: int, weight: float) -> None:
    """Adds a row of evidence; the oldest recent row, if that overflows, moves into history. `code` and `weight` are
    `recsys.actions.weigh` of the event."""
    row = _pack_row(item_key(event.item_id) | code << 48, ts_s, weight)
    recent, ids = user.recent, user.recent_ids
    if len(ids) < RECENT:
        user.recent, user.recent_ids = recent + row, (*ids, event.event_id)
    else:
        packed, old_s, _ = _unpack_row(recent)
        user.history = _into_history(user.history, packed, old_s)
        remember(user, ids[0])
        user.recent, user.recent_ids = recent[_ROW:] + row, (*ids[1:], event.event_id)
    if event.text:
        add_words(user, event.event_id, ts_s, event.text)


def _into_history(history: bytes, packed: int, ts_s: int) -> bytes:
    """An item stands in history once, with its latest action; the oldest item falls off the end."""
    key = (packed & KEY_MASK).to_bytes(6, "little")
    at = history.find(key)
    while at > 0 and at % 8:  # it began inside of another row
        at = history.find(key, at + 1)
    if at >= 0:
        history = history[:at] + history[at + 8 :]
    steps = (ts_s - EPOCH_2000_S) // HISTORY_STEP_S
    if not 0 <= steps <= _HISTORY_LATEST:
        steps = 0 if steps < 0 else _HISTORY_LATEST
    history += HISTORY_ROW.pack(packed | steps << 52)
    return history if len(history) <= _HISTORY_BYTES else history[-_HISTORY_BYTES:]


def add_words(user: User, event_id: str, ts_s: int, text: str) -> None:
    """Keeps the beginning of a text of the user's own."""
    text = " ".join(text[: 4 * WORDS_CHARS].split())[:WORDS_CHARS]
    if text:
        user.words = (*user.words, Words(event_id, ts_s, text))[-WORDS:]


def fold_impression(user: User, event: Impression) -> None:
    """Counts how often an item was shown; least recently shown first."""
    rows = dict(SHOWN_ROW.iter_unpack(user.shown))
    for item_id in event.item_ids[:100]:
        key = item_key(item_id) & 0xFFFFFFFF
        rows[key] = min(rows.pop(key, 0) + 1, 255)
    user.shown = b"".join(SHOWN_ROW.pack(key, times) for key, times in list(rows.items())[-SHOWN:])


def fold_traits(user: User, event: Traits) -> None:
    """Merges; null removes; the newest `TRAITS` names stay."""
    traits = dict(user.traits)
    for name, value in event.attributes.items():
        traits.pop(name, None)
        if value is not None:
            traits[name[:64]] = value[:200] if isinstance(value, str) else value
    user.traits = dict(list(traits.items())[-TRAITS:])
    user.traits_event = event.event_id if user.traits else None


def statement_id_of(text: str) -> str:
    return "s" + blake2b(text.encode(), digest_size=5).hexdigest()


def fold_profile_edit(user: User, event: ProfileEdit) -> tuple[str, str]:
    """(statement id, outcome). `add` keeps the user's own sentence, `pin` and `mute` mark one, `remove` takes an added
    one away and mutes a derived one, so that it does not come back with the next event."""
    text = (event.statement or "").strip()[:WORDS_CHARS]
    sid = event.statement_id or statement_id_of(text)
    rest = tuple(s for s in user.statements if s.statement_id != sid)
    old = next((s for s in user.statements if s.statement_id == sid), None)
    outcome = {"add": "added", "pin": "pinned", "mute": "muted", "remove": "removed"}[event.op]
    if event.op == "remove" and old is not None and old.state == "added":
        user.statements = rest
    else:
        state = "muted" if event.op == "remove" else outcome
        kept = text or (old.text if old else "")
        user.statements = (*rest, Statement(sid, state, kept))[-STATEMENTS:]
    return sid, outcome


def fold_forget(user: User, event: Forget, gap_s: float) -> tuple[User, dict[str, int]]:
    """(what is left, what was removed by kind). Scope `all` leaves a new user; the caller erases the stored one.
    `gap_s`: of sessions."""
    before = _census(user)
    if event.scope == "all":
        return User.new(user.user_id), before
    if event.scope == "session":
        since, until = _session_start(user, event_seconds(event.ts), gap_s), _LATEST_S
    else:
        since = event_seconds(event.since) if event.since is not None else 0
        until = event_seconds(event.until) if event.until is not None else _LATEST_S
    left = user.clone()
    rows, ids = [], []
    for at, event_id in enumerate(user.recent_ids):
        row = user.recent[at * _ROW : (at + 1) * _ROW]
        if not since <= RECENT_ROW.unpack(row)[1] <= until:
            rows.append(row)
            ids.append(event_id)
        else:
            remember(left, event_id)  # what was forgotten must not come back when its producer repeats it
    left.recent, left.recent_ids = b"".join(rows), tuple(ids)
    past = np.frombuffer(user.history, "<u8")
    start = (past >> np.uint64(52)).astype(np.int64) * HISTORY_STEP_S + EPOCH_2000_S
    # a history row knows its time to four days: whatever may lie inside the window goes
    left.history = past[(start + HISTORY_STEP_S <= since) | (start > until)].tobytes()
    left.words = tuple(w for w in user.words if not since <= w.ts_s <= until)
    left.constraints = ()
    if left.other_clock is not None:
        left.other_clock = left.other_clock._replace(constraints=())
    left.shown = b""
    left.open = ()
    after = _census(left)
    return left, {kind: n - after[kind] for kind, n in before.items()}


def _census(user: User) -> dict[str, int]:
    return {
        "interactions": len(user.recent_ids) + len(user.history) // 8,
        "texts": len(user.words),
        "traits": len(user.traits),
        "statements": len(user.statements),
        "constraints": len(user.constraints),
        "open_recommendations": len(user.open),
    }
