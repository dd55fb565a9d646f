"""Merge: what every retriever found, as one list a query.

In: a World, a Block, and rows by retriever. Out: the first rows of each query that may be offered and are not kept out,
each with the first retriever that named it. One compiled pass a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain

import numba
import numpy as np
import numpy.typing as npt

from recsys.actions import kept_out_codes
from recsys.compiled import YES, fills, kernel, reads
from recsys.keys import item_keys
from recsys.policy import Policy
from recsys.query import Block
from recsys.user import KEY_MASK, RECENT
from recsys.world import World

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.uint64]
_CODE, _CODE_MASK, _KEY_MASK = np.uint64(48), np.uint64(15), np.uint64(KEY_MASK)


def merged(
    world: World, block: Block, policy: Policy, parts: Sequence[tuple[int, Ints]], rows: Ints, sources: Codes
) -> list[int]:
    """Fills `rows` and `sources`, [B, policy.candidates or more]. `parts` are (source, rows [B, n] or [n], -1 for
    none), what counts most first. Gives how many there are for each query; none for those that name their candidates
    or carry conditions. Of items that share a key, the first is taken."""
    queries, evidence = block.queries, block.evidence
    width = sum(found.shape[-1] for _, found in parts)
    named, by, end = np.empty((len(queries), width), np.int32), np.empty(width, np.uint8), 0
    for source, found in parts:
        place = slice(end, end := end + found.shape[-1])
        named[:, place], by[place] = found, source
    most = np.array([0 if q.candidates is not None or q.constraints else policy.candidates for q in queries])
    asked = np.array([q.asked for q in queries])
    history = [q.user.history for q in queries]
    excluded = [[*q.exclude, *q.like_items] for q in queries]
    many = np.zeros(len(queries), np.int64)
    _merge(
        named, by, most, world.catalogue.keys, world.shop, world.offered, world.catalogue.expires, asked, block.now,
        np.frombuffer(b"".join(history), "<u8"), _ends(len(h) // 8 for h in history),
        evidence.keys, evidence.codes, kept_out_codes(policy),
        item_keys(chain.from_iterable(excluded)), _ends(map(len, excluded)), rows, sources, many,
    )  # fmt: skip
    counts: list[int] = many.tolist()
    return counts


def _ends(lengths: Iterable[int]) -> Longs:
    return np.array(list(accumulate(lengths)), np.int64)


@kernel(fills("uint64"), numba.types.uint64, gives=YES)
def _added(keys: Keys, key: np.uint64) -> bool:
    """Adds a key to a set: a table of open addressing, with room left, whose size is a power of two. Says whether it is
    new. Keys are hashes already."""
    last_bits = np.int64(len(keys) - 1)
    at = np.int64(key) & last_bits
    while keys[at] != 0:
        if keys[at] == key:
            return False
        at = (at + 1) & last_bits
    keys[at] = key
    return True


@kernel(
    reads("int32", 2), reads("uint8"), reads("int64"), reads("uint64"), reads("bool"), reads("bool"), reads("int64"),
    reads("bool"), reads("int64"), reads("uint64"), reads("int64"), reads("uint64", 2), reads("uint8", 2),
    reads("bool"), reads("uint64"), reads("int64"), fills("int32", 2), fills("uint8", 2), fills("int64"),
)  # fmt: skip
def _merge(
    named: Ints, by: Codes, most: Longs, keys: Keys, shop: Bools, offered: Bools, expires: Longs, asked: Bools,
    now: Longs, history: Keys, history_ends: Longs, latest: Keys, codes: Codes, kept_out: Bools, excluded: Keys,
    excluded_ends: Longs, rows: Ints, sources: Codes, many: Longs,
) -> None:  # fmt: skip
    """Fills `rows` with the first `most` of the rows `named`, in their order and each once, that may be offered; with
    `sources`, `by` which retriever; and `many`, how many they are.

    By row: keys, shop, offered, expires. Kept out are what `history` (packed rows of all users, each one's up to its
    place in `history_ends`) and the RECENT last of `latest` tell of, if its action's code is `kept_out`; and the keys
    `excluded`."""
    seen, before = 0, 0
    for b in range(len(named)):
        size = 16
        while size < 2 * (history_ends[b] - seen + RECENT + excluded_ends[b] - before + most[b]):
            size *= 2
        out = np.zeros(size, np.uint64)  # what was kept out, and what has its place already
        for i in range(seen, history_ends[b]):
            if kept_out[np.int64((history[i] >> _CODE) & _CODE_MASK)]:
                _added(out, history[i] & _KEY_MASK)
        for i in range(latest.shape[1] - RECENT, latest.shape[1]):
            if latest[b, i] != 0 and kept_out[np.int64(codes[b, i] & 15)]:
                _added(out, latest[b, i])
        for i in range(before, excluded_ends[b]):
            _added(out, excluded[i])
        seen, before, n = history_ends[b], excluded_ends[b], 0
        for i in range(len(by)):
            if n == most[b]:
                break
            row = named[b, i]
            if row < 0 or not (shop[row] or (asked[b] and offered[row])) or expires[row] <= now[b]:
                continue
            if _added(out, keys[row]):
                rows[b, n], sources[b, n] = row, by[i]
                n += 1
        many[b] = n
