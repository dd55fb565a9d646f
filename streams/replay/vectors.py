"""Vectors: what the topic of vectors had brought up to a place, by encoder.

In: records of `item-vectors` in order. Out: which of the items whose text waits for its vector had it there. A worker
keeps an item's newest vector of each encoder, and a row that has its vector keeps it; so where another text's vector
has come since, whether the row had its own is in doubt. A worker also lets go of an encoder's vectors some time after
the World went over to another one: so what came before that, and not again, may all be gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from recsys.encoder import unpack
from schemas.items import ItemVector

_SETS = 4
"""Encoders whose vectors are kept at once: one more than a worker does."""


class Found(NamedTuple):
    """item_id -> float16[dim], little-endian, as bytes: those that were `sure`ly there, the `doubtful` ones, any of
    which may have been, and the `old` ones, which were there all or none."""

    sure: dict[str, bytes]
    doubtful: dict[str, bytes]
    old: dict[str, bytes]


@dataclass(slots=True)
class _Set:
    came: dict[str, dict[str, bytes]] = field(default_factory=dict)  # item_id -> hash of the text -> vector
    newest: dict[str, str] = field(default_factory=dict)  # item_id -> hash of what its newest vector is of
    old: set[str] = field(default_factory=set)  # items of which nothing came since the encoder was left


class Vectors:
    """Use it for records in the order of their topic."""

    def __init__(self, dim: int, encoder_id: str | None, wanted: Set[str]) -> None:
        """`encoder_id`: whose vectors the World has; only those of the `wanted` encoders, and of length `dim`, are
        kept."""
        self.encoder_id, self._dim, self._wanted = encoder_id, dim, wanted
        self._sets: dict[str, _Set] = {}  # whose record came last, at the end

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """A record. What cannot be made out is passed over, as a worker does."""
        item_id = (key or b"").decode(errors="replace")
        if value is None:
            for one in self._sets.values():
                one.newest.pop(item_id, None)
            return
        try:
            record = ItemVector.model_validate_json(value)
            vector = unpack(record.vector, record.dim)
        except ValueError:
            return
        if record.dim != self._dim or record.encoder_id not in self._wanted:
            return
        one = self._sets.pop(record.encoder_id) if record.encoder_id in self._sets else _Set()
        self._sets[record.encoder_id] = one
        if len(self._sets) > _SETS:
            del self._sets[next(i for i in self._sets if i != self.encoder_id)]
        one.newest[record.item_id] = record.content_hash
        one.old.discard(record.item_id)
        one.came.setdefault(record.item_id, {})[record.content_hash] = vector.astype("<f2").tobytes()

    def of(self, encoder_id: str, missing: Mapping[str, str]) -> Found:
        """Those of the items that are `missing` their vector, each with the hash of its text."""
        found, one = Found({}, {}, {}), self._sets.get(encoder_id)
        if one is None:
            return found
        for item_id in missing.keys() & one.came.keys():
            vector = one.came[item_id].get(missing[item_id])
            if vector is None:
                continue
            if one.newest.get(item_id) != missing[item_id]:
                found.doubtful[item_id] = vector
            elif item_id in one.old:
                found.old[item_id] = vector
            else:
                found.sure[item_id] = vector
        return found

    def go_over(self, encoder_id: str | None) -> None:
        """From now on the World has the vectors of this encoder."""
        left = self._sets.get(self.encoder_id or "")
        if left is not None:
            left.old = set(left.came)
        self.encoder_id = encoder_id

    def forget(self, encoder_id: str, items: Mapping[str, Any]) -> None:
        """A worker no longer had what came of these items."""
        one = self._sets[encoder_id]
        for item_id in items:
            one.old.discard(item_id)
            one.newest.pop(item_id, None)
            one.came.pop(item_id, None)
