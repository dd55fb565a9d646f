"""Neighbours: what goes together with what a user took to lately.

In: a World and a Block. Out: the co-visitation of each query's anchors (its latest liked items), summed by item, and
the rows that it weighs most. One compiled pass a query.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from recsys.compiled import WHOLE, fills, kernel, reads
from recsys.query import Block
from recsys.world import World

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Keys = npt.NDArray[np.uint64]

ANCHORS = 10
"""Latest liked items whose neighbours are candidates."""
_DOUBT = np.float32(5)  # so much weight an item needs before its shares are believed
_ONE = np.float32(1)
_KEY = np.uint64(48)
_BUCKETS, _LEADING = 256, np.uint64(40)  # keys are hashes of 48 bits: their first eight spread them evenly
_HIGHEST, _PLACE = (1 << 28) - 1, (1 << 32) - 1


@dataclass(slots=True)
class Neighbours:
    """Co-visitation of a block, flat and sorted by (query << 48 | item key): summed weights over the anchors."""

    codes: Keys
    weights: Floats  # over the ANCHORS latest liked items, each by its own evidence
    last: Floats  # of the very last liked item alone
    shares: Floats  # of all that goes together with an anchor, summed over the anchors
    lifts: Floats  # weight by the root of the anchor's popularity, summed over the anchors
    anchors: Ints  # the evidence column of the liked item that speaks most for it
    rows: Ints  # catalogue rows, -1 for unknown items

    def places(self, keys: Keys) -> npt.NDArray[np.int64]:
        """int64[B, C] for item keys [B, C]: where each stands in `codes`, -1 where it does not."""
        if not len(self.codes):
            return np.full(keys.shape, -1)
        wanted = (np.arange(len(keys), dtype=np.uint64) << _KEY)[:, None] | keys
        at = self.codes.searchsorted(wanted)
        at[self.codes.take(at, mode="clip") != wanted] = -1
        return at


def neighbours_of(world: World, block: Block, session: int, together: int) -> tuple[Neighbours, Ints, Ints]:
    """(neighbours, anchors, closest). `anchors` [B, ANCHORS] are the rows of the items that they are neighbours of,
    newest first, -1 padded (and for unknown items). `closest` [B, session + together] are the heaviest neighbours of
    the very last anchor, then those of all of them, each -1 padded, ties by item_id."""
    stats, catalogue, evidence = world.statistics, world.catalogue, block.evidence
    b, room = len(block.rows), block.rows.shape[0] * ANCHORS * stats.neighbours.shape[1]
    codes, sums, about = np.empty(room, np.uint64), np.empty((4, room), np.float32), np.empty((2, room), np.int32)
    anchors, closest = np.full((b, ANCHORS), -1, np.int32), np.full((b, session + together), -1, np.int32)
    n = _summed(
        evidence.keys, evidence.weights, block.rows, stats.keys, stats.popularity, stats.neighbours,
        stats.neighbour_weights, catalogue.keys, catalogue.slots, catalogue.sorted_keys, catalogue.sorted_rows,
        catalogue.order, catalogue.id_rows, session, codes, sums, about, anchors, closest,
    )  # fmt: skip
    weights, last, shares, lifts = sums[:, :n]
    return Neighbours(codes[:n], weights, last, shares, lifts, about[0, :n], about[1, :n]), anchors, closest


@kernel(reads("uint64"), numba.types.uint64, gives=WHOLE)
def _place(ordered: Keys, key: np.uint64) -> int:
    """Where a key stands, -1 if it does not."""
    low, high = 0, len(ordered)
    while low < high:
        middle = (low + high) >> 1
        if ordered[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < len(ordered) and ordered[low] == key else -1


@kernel(reads("uint64"), fills("uint64"), fills("int64"))
def _sort(keys: Keys, ordered: Keys, came: npt.NDArray[np.int64]) -> None:
    """Fills `ordered` with the keys by rising value, and `came` with their places before; those of a key stay in
    order."""
    start, held = np.zeros(_BUCKETS + 1, np.int64), np.zeros(_BUCKETS, np.int64)
    for key in keys:
        start[np.int64(key >> _LEADING) + 1] += 1
    for before in range(_BUCKETS):
        start[before + 1] += start[before]
    for i, key in enumerate(keys):
        bucket = np.int64(key >> _LEADING)
        at = start[bucket] + held[bucket]
        held[bucket] += 1
        while at > start[bucket] and ordered[at - 1] > key:
            ordered[at], came[at] = ordered[at - 1], came[at - 1]
            at -= 1
        ordered[at], came[at] = key, i


@kernel(fills("int64"), WHOLE, numba.types.float32, numba.types.int32, gives=WHOLE)
def _with(ranks: npt.NDArray[np.int64], n: int, weight: np.float32, place: np.int32) -> int:
    """Puts what has this weight among the best `n` so far, by falling weight (in steps of 1e-4), then `place`; gives
    the new n. The worst leaves where there is no more room."""
    steps = np.int64(min(np.rint(np.float64(weight) * 1e4), _HIGHEST))
    rank = ((_HIGHEST - steps) << 32) | np.int64(place)
    if n == len(ranks):
        if ranks[n - 1] <= rank:
            return n
        n -= 1
    at = n
    while at > 0 and ranks[at - 1] > rank:
        ranks[at] = ranks[at - 1]
        at -= 1
    ranks[at] = rank
    return n + 1


@kernel(
    reads("uint64", 2), reads("float32", 2), reads("int32", 2), reads("uint64"), reads("float32", 2),
    reads("uint64", 2), reads("float32", 2), reads("uint64"), reads("int32"), reads("uint64"), reads("int32"),
    reads("int32"), reads("int32"), WHOLE, fills("uint64"), fills("float32", 2), fills("int32", 2), fills("int32", 2),
    fills("int32", 2), gives=WHOLE,
)  # fmt: skip
def _summed(
    keys: Keys, weights: Floats, rows: Ints, counted: Keys, popularity: Floats, near: Keys, near_weights: Floats,
    row_keys: Keys, slots: Ints, live_keys: Keys, live_rows: Ints, place_of: Ints, row_at: Ints,
    session: int,
    codes: Keys, sums: Floats, about: Ints, anchors: Ints, closest: Ints,
) -> int:  # fmt: skip
    """Fills `codes`, `sums` (weights, last, shares, lifts) and `about` (anchors, rows) as far as there are neighbours,
    and gives how many. Keys, weights and rows are the evidence's; what follows, the statistics' and the catalogue's.

    An anchor counts by log1p of its weight and by its age in steps (newest 1, then 1/2, 1/3 ...)."""
    most, room = near.shape[1], ANCHORS * near.shape[1]
    found, ordered, came = np.empty(room, np.uint64), np.empty(room, np.uint64), np.empty(room, np.int64)
    heavy, whose = np.empty(room), np.empty(room, np.int64)
    by_age, by_mass, by_fame = np.empty(ANCHORS), np.empty(ANCHORS), np.empty(ANCHORS)
    column = np.empty(ANCHORS, np.int32)
    last_ranks, all_ranks = np.empty(session, np.int64), np.empty(closest.shape[1] - session, np.int64)
    last_bits = np.uint64(len(slots) - 1)
    n = 0
    for b in range(len(keys)):
        m, step = 0, 0
        for s in range(keys.shape[1] - 1, -1, -1):
            if step == ANCHORS:
                break
            if not weights[b, s] > 0:
                continue
            anchors[b, step] = rows[b, s]
            at = _place(counted, keys[b, s])
            if at >= 0:
                mass = 0.0
                for i in range(most):
                    mass += near_weights[at, i]
                    if near[at, i] != 0:
                        found[m], heavy[m], whose[m] = near[at, i], near_weights[at, i], step
                        m += 1
                by_age[step] = np.float64(np.log1p(weights[b, s])) / (1 + step)
                by_mass[step] = _ONE / (np.float32(mass) + _DOUBT)
                by_fame[step] = _ONE / np.sqrt(popularity[at, popularity.shape[1] - 1] + _DOUBT)
                column[step] = s
            step += 1
        _sort(found[:m], ordered, came)
        i, by_last, by_all = 0, 0, 0
        while i < m:
            key = ordered[i]
            weight, last, share, lift, loudest = 0.0, 0.0, 0.0, 0.0, np.float32(-1)
            while i < m and ordered[i] == key:
                one, anchor = heavy[came[i]], whose[came[i]]
                part = one * by_age[anchor]
                weight += part
                share += one * by_mass[anchor]
                lift += one * by_fame[anchor]
                if anchor == 0:
                    last += one
                if np.float32(part) > loudest:
                    loudest, about[0, n] = np.float32(part), column[anchor]
                i += 1
            row = slots[np.int64(key & last_bits)]
            if row < 0 or row_keys[row] != key:
                at = _place(live_keys, key)
                row = live_rows[at] if at >= 0 else np.int32(-1)
            codes[n], about[1, n] = (np.uint64(b) << _KEY) | key, row
            sums[0, n], sums[1, n], sums[2, n], sums[3, n] = weight, last, share, lift
            if row >= 0:
                if sums[1, n] > 0:
                    by_last = _with(last_ranks, by_last, sums[1, n], place_of[row])
                if sums[0, n] > 0:
                    by_all = _with(all_ranks, by_all, sums[0, n], place_of[row])
            n += 1
        for i in range(by_last):
            closest[b, i] = row_at[last_ranks[i] & _PLACE]
        for i in range(by_all):
            closest[b, session + i] = row_at[all_ranks[i] & _PLACE]
    return n
