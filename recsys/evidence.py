"""Evidence as arrays: the packed rows of many Users, unpacked and decayed in a few numpy calls.

In: Users (or their snapshots at a trigger) and the event time of each. Out: padded arrays, one row a user, newest
evidence last. Nothing here depends on who else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.policy import Policy
from recsys.user import EPOCH_2000_S, HISTORY_STEP_S, KEY_MASK, RECENT, User

PAST = 24
"""How many rows of history count as evidence (all of them count as seen)."""
SPAN = PAST + RECENT

_RECENT = np.dtype([("key", "<u8"), ("ts", "<u4"), ("weight", "<f2")])
_ITEM, _ITEM_AND_CODE = np.uint64(KEY_MASK), np.uint64((1 << 52) - 1)
_PAST, _NEWEST = 8 * PAST, _RECENT.itemsize * RECENT  # bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """Shapes [B, SPAN], oldest first and padded in front with key 0; the last RECENT columns have event ids."""

    keys: npt.NDArray[np.uint64]
    codes: npt.NDArray[np.uint8]
    ts: npt.NDArray[np.int64]  # seconds
    weights: npt.NDArray[np.float32]  # signed, decayed to the user's `now`; 0 for padding


def evidence_of(
    users: Sequence[User], now_s: npt.NDArray[np.int64], policy: Policy, table: npt.NDArray[np.float32]
) -> Evidence:
    """`table` is `code_weights(policy)`. Decay is by half-life in event time; what lies ahead of it is not decayed."""
    b = len(users)
    past = np.frombuffer(b"".join([u.history[-_PAST:].rjust(_PAST, b"\0") for u in users]), "<u8").reshape(b, PAST)
    recent = np.frombuffer(b"".join([u.recent.rjust(_NEWEST, b"\0") for u in users]), _RECENT).reshape(b, RECENT)

    packed = np.concatenate([past & _ITEM_AND_CODE, recent["key"]], axis=1)
    keys = packed & _ITEM
    codes = (packed >> np.uint64(48)).astype(np.uint8)
    ts, raw = np.empty((b, SPAN), np.int64), np.empty((b, SPAN), np.float32)
    ts[:, :PAST] = (past >> np.uint64(52)) * np.uint64(HISTORY_STEP_S) + np.uint64(EPOCH_2000_S)
    ts[:, PAST:], raw[:, PAST:] = recent["ts"], recent["weight"]
    raw[:, :PAST] = table[codes[:, :PAST]]
    age_h = np.maximum(now_s[:, None] - ts, 0).astype(np.float32) / np.float32(3600)
    weights = raw * np.exp2(-age_h / np.float32(policy.evidence_half_life_hours))
    return Evidence(keys, codes, ts, np.where(keys > 0, weights, np.float32(0)))


def seen_keys(user: User) -> npt.NDArray[np.uint64]:
    """uint64[n]: keys of every interaction kept, with the action code in bits 48-51."""
    past = np.frombuffer(user.history, "<u8") & _ITEM_AND_CODE
    return np.concatenate([past, np.frombuffer(user.recent, _RECENT)["key"]])
