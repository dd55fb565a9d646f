"""Opened: a recommendation as it waits in its User for what becomes of it, packed.

In: a slate as arrays. Out: bytes that stand in the User, and back. What waits has its features as they were, so that a
label that comes days later meets the features the ranker saw, and no later ones. Sizes are the design here: ten items
take about 700 bytes. Features are float16 (a relative error of 0.0005), columns that are 0 for the whole slate are left
out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.compiled import fills, kernel, reads
from recsys.features import CONTEXT, FEATURES

Halves = npt.NDArray[np.float16]
Keys = npt.NDArray[np.uint64]
ASKED, CLOSED = 1, 2
_PACK, _UNPACK = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
_POSITIONS = bytes(range(1, 256))
_NOT_THE_SIGN = np.uint16(0x7FFF)
_LINES = 1 << np.arange(len(CONTEXT))
_COLUMNS = np.left_shift(np.uint64(1), np.arange(len(FEATURES), dtype=np.uint64))


@dataclass(slots=True)
class Opened:
    """One recommendation that waits; n items.

    keys          uint64[n], item keys
    positions     uint8[n], from 1
    propensities  float16[n]
    features      float16[n, F]
    moment        bits of `recsys.features.CONTEXT`, the first line lowest
    acted         uint16[n]: bit c is set if the item had an act of code c (`recsys.actions`)
    shown         bool[n], or None while no impression of it came
    asked         a request or a chat asked for it
    closed        its window is over; only items with an act are left
    """

    rec_id: str
    ts: int
    kind: str
    asked: bool
    closed: bool
    world: tuple[str, str, str]
    moment: int
    keys: Keys
    positions: npt.NDArray[np.uint8]
    propensities: Halves
    features: Halves
    acted: npt.NDArray[np.uint16]
    shown: npt.NDArray[np.bool_] | None = None

    def of(self, places: npt.NDArray[np.int64]) -> Opened:
        """The same with these items only."""
        return replace(
            self, keys=self.keys[places], positions=self.positions[places], propensities=self.propensities[places],
            features=self.features[places], acted=self.acted[places],
            shown=None if self.shown is None else self.shown[places],
        )  # fmt: skip


def pack_slates(
    slates: list[tuple[str, int, str, bool]],
    world: Mapping[str, str],
    rows_of: npt.NDArray[np.int64],
    keys: Keys,
    propensities: npt.NDArray[np.float64],
    features: npt.NDArray[np.float32],
    context: npt.NDArray[np.float32],
) -> list[bytes]:
    """Packs a block: `slates` are (rec_id, ts, kind, asked), `rows_of` int64[B] how many items each has; keys uint64[B,
    K], propensities float64[B, K], features float32[B, K, F] and the context float32[B, G] of `recsys.features`."""
    names = (world["release_id"], world["statistics_id"], world["catalogue_version"])
    b, k = keys.shape
    masks, sizes = np.empty(b, np.uint64), np.empty(b, np.int64)
    some = np.empty(features.shape, np.uint16).reshape(b, -1)
    _squeeze(features.astype(np.float16).view(np.uint16), rows_of, masks, sizes, some)
    moments = ((context > 0) @ _LINES).tolist()
    every = zip(slates, rows_of.tolist(), moments, masks.tolist(), sizes.tolist(), strict=True)
    all_keys, chances = keys.tobytes(), propensities.astype(np.float16).tobytes()
    packed: list[bytes] = []
    for at, ((rec_id, ts, kind, asked), n, moment, mask, size) in enumerate(every):
        start = at * k
        packed.append(
            _PACK((
                rec_id, ts, kind, ASKED if asked else 0, names, moment, all_keys[8 * start : 8 * (start + n)],
                _POSITIONS[:n], chances[2 * start : 2 * (start + n)], mask, some[at, :size].tobytes(), bytes(2 * n),
                None,
            ))
        )  # fmt: skip
    return packed


@kernel(reads("uint16", 3), reads("int64"), fills("uint64"), fills("int64"), fills("uint16", 2))
def _squeeze(
    halves: npt.NDArray[np.uint16], rows_of: npt.NDArray[np.int64], masks: Keys, sizes: npt.NDArray[np.int64],
    some: npt.NDArray[np.uint16],
) -> None:  # fmt: skip
    """Fills for the bits of float16[B, K, F], of which the first `rows_of` lines count: `masks` [B], bit f where one of
    column f is not 0; and `some` [B, K * F], whose first `sizes` are those columns, line by line."""
    used = np.empty(halves.shape[2], np.bool_)
    for b in range(len(halves)):
        used[:] = False
        for i in range(rows_of[b]):
            for f in range(len(used)):
                used[f] |= halves[b, i, f] & _NOT_THE_SIGN != 0
        masks[b] = 0
        for f in range(len(used)):
            if used[f]:
                masks[b] |= np.uint64(1) << np.uint64(f)
        size = 0
        for i in range(rows_of[b]):
            for f in range(len(used)):
                if used[f]:
                    some[b, size] = halves[b, i, f]
                    size += 1
        sizes[b] = size


def pack_opened(one: Opened) -> bytes:
    used = (one.features != 0).any(axis=0)
    mask = int(np.where(used, _COLUMNS, np.uint64(0)).sum(dtype=np.uint64))
    flags = (ASKED if one.asked else 0) | (CLOSED if one.closed else 0)
    packed: bytes = _PACK((
        one.rec_id, one.ts, one.kind, flags, one.world, one.moment, one.keys.tobytes(), one.positions.tobytes(),
        one.propensities.tobytes(), mask, one.features[:, used].tobytes(), one.acted.tobytes(),
        None if one.shown is None else one.shown.tobytes(),
    ))  # fmt: skip
    return packed


def unpack_opened(packed: bytes) -> Opened:
    fields: list[Any] = _UNPACK(packed)
    rec_id, ts, kind, flags, world, moment, keys, positions, propensities, mask, some, acted, shown = fields
    used = (_COLUMNS & np.uint64(mask)) > 0
    n = len(positions)
    features = np.zeros((n, len(FEATURES)), np.float16)
    features[:, used] = np.frombuffer(some, np.float16).reshape(n, -1)
    return Opened(
        rec_id, ts, kind, bool(flags & ASKED), bool(flags & CLOSED), tuple(world), moment,
        np.frombuffer(keys, np.uint64), np.frombuffer(positions, np.uint8), np.frombuffer(propensities, np.float16),
        features, np.frombuffer(acted, np.uint16).copy(),
        None if shown is None else np.frombuffer(shown, np.bool_).copy(),
    )  # fmt: skip


class Head(msgspec.Struct, array_like=True, gc=False):
    """How a recommendation that waits begins."""

    rec_id: str
    ts: int
    kind: str
    flags: int

    @property
    def asked(self) -> bool:
        return bool(self.flags & ASKED)

    @property
    def closed(self) -> bool:
        return bool(self.flags & CLOSED)


head = msgspec.msgpack.Decoder(Head).decode
"""The Head of what waits, packed. In a fiftieth of the time that unpacking all takes: every event of a user looks at
all that waits."""


def touched(packed: bytes) -> bool:
    """Whether what waits had an impression or an act."""
    *_, acted, shown = _UNPACK(packed)
    return shown is not None or any(acted)
