"""Evidence as arrays: the packed rows of many Users, unpacked and decayed by a kernel.

In: Users (or their snapshots at a trigger) and the event time of each. Out: padded arrays, one row a user, newest
evidence last. Nothing here depends on who else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.compiled import REAL, WHOLE, fills, kernel, reads
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

    keys, codes = np.empty((b, SPAN), np.uint64), np.empty((b, SPAN), np.uint8)
    ts, weights = np.empty((b, SPAN), np.int64), np.empty((b, SPAN), np.float32)
    _unpack(
        past, recent["key"].copy(), recent["ts"].copy(), recent["weight"].astype(np.float32), table, now_s,
        policy.evidence_half_life_hours, HISTORY_STEP_S, EPOCH_2000_S, keys, codes, ts, weights,
    )  # fmt: skip
    return Evidence(keys, codes, ts, weights)


@kernel(
    reads("uint64", 2), reads("uint64", 2), reads("uint32", 2), reads("float32", 2), reads("float32"), reads("int64"),
    REAL, WHOLE, WHOLE, fills("uint64", 2), fills("uint8", 2), fills("int64", 2), fills("float32", 2),
)  # fmt: skip
def _unpack(
    past: npt.NDArray[np.uint64], newest: npt.NDArray[np.uint64], newest_s: npt.NDArray[np.uint32],
    newest_weights: npt.NDArray[np.float32], table: npt.NDArray[np.float32], now_s: npt.NDArray[np.int64],
    half_life_hours: float, step_s: int, epoch_s: int, keys: npt.NDArray[np.uint64], codes: npt.NDArray[np.uint8],
    ts: npt.NDArray[np.int64], weights: npt.NDArray[np.float32],
) -> None:  # fmt: skip
    """Fills the arrays of Evidence from rows of `history`, [B, PAST], whose times count steps since an
    epoch, and of `recent`, [B, RECENT] each."""
    many = past.shape[1]
    for b in range(len(past)):
        for s in range(keys.shape[1]):
            packed = past[b, s] if s < many else newest[b, s - many]
            key, code = packed & _ITEM, (packed >> np.uint64(48)) & np.uint64(0xF if s < many else 0xFF)
            if s < many:
                ts[b, s] = np.int64(packed >> np.uint64(52)) * step_s + epoch_s
                weight = table[code]
            else:
                ts[b, s] = newest_s[b, s - many]
                weight = newest_weights[b, s - many]
            keys[b, s], codes[b, s] = key, code
            hours = np.float32(max(now_s[b] - ts[b, s], 0)) / np.float32(3600)
            weights[b, s] = weight * np.exp2(-hours / np.float32(half_life_hours)) if key > 0 else np.float32(0)


def seen_keys(user: User) -> npt.NDArray[np.uint64]:
    """uint64[n]: keys of every interaction kept, with the action code in bits 48-51."""
    past = np.frombuffer(user.history, "<u8") & _ITEM_AND_CODE
    return np.concatenate([past, np.frombuffer(user.recent, _RECENT)["key"]])
