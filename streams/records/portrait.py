"""What is kept of one user, for a person or a program to read: the text profile and the state beside it.

In: the fields of the user's hash in Redis. Out: plain values. The state is as compact as `recsys.user` makes it; items
are known there by a hash of their id, so evidence is shown by the ids of its events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys.actions import ACTIONS
from recsys.opened import unpack_opened
from recsys.user import HISTORY_ROW, RECENT_ROW, decode_user
from schemas.wire import format_rfc3339


def portrait(user_id: str, fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """All that the fields hold, in words. `bytes` is what each field takes in Redis."""
    user = decode_user(user_id, fields)
    rows = [RECENT_ROW.unpack_from(user.recent, at) for at in range(0, len(user.recent), RECENT_ROW.size)]
    return {
        "user_id": user_id,
        "profile": [line for line in user.profile.splitlines() if line.strip()],
        "language": user.language,
        "session": {"id": user.session_id, "since": _time(user.session_start_s)},
        "last_event": _time(user.last_s),
        "traits": user.traits,
        "conditions": [one.shown() for one in user.constraints],
        "statements": [one._asdict() for one in user.statements],
        "recent": [
            {"event_id": event_id, "action": _action(packed), "at": _time(seconds), "weight": round(weight, 3)}
            for event_id, (packed, seconds, weight) in zip(user.recent_ids, rows, strict=False)
        ],
        "older_interactions": len(user.history) // HISTORY_ROW.size,
        "words": [{"event_id": one.event_id, "at": _time(one.ts_s), "text": one.text} for one in user.words],
        "open_recommendations": [
            {
                "rec_id": one.rec_id,
                "at": format_rfc3339(one.ts),
                "kind": one.kind,
                "items": len(one.keys),
                "shown": one.shown is not None,
                "acted_on": int((one.acted > 0).sum()),
                "closed": one.closed,
            }
            for one in map(unpack_opened, user.open)
        ],
        "bytes": {name.decode(): len(value) for name, value in fields.items()},
    }


def _time(seconds: int) -> str | None:
    return format_rfc3339(seconds * 1000) if seconds else None


def _action(packed: int) -> str:
    code = packed >> 48 & 0xF
    return ACTIONS[code] if code < len(ACTIONS) else "other"
