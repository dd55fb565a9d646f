"""Worlds: the Worlds that a journal names, made again from the topics they were made from.

In: Stretches, in about the order of their Worlds. Out: the World of each: items and vectors up to its positions, and
the releases it names, statistics, text encoder and models (`streams.replay.released`). What comes out is compared with
the names in the journal, the catalogue's hash among them, so that a World is the one that served or there is an error.

The index of a large catalogue was built some time before, from less: the line of Worlds passes there too, and keeps
what it finds; an index on the next encoder's vectors was built while Worlds on the former one's still served. A worker
reads items and vectors side by side, so positions alone do not always say whether the vector of a text that changed
twice was there (`streams.replay.vectors`): in such a case the hash of the catalogue decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import combinations, product
from typing import Any

import numpy as np

from recsys.encoder import content_hash, item_text
from recsys.index.dense import DenseIndex
from recsys.statistics import Statistics
from recsys.world import World
from schemas.decode import Malformed, decode_item
from schemas.items import Item, Withdrawn
from streams.encoders import Encode, Encoder, NextSet, complete, reencoded
from streams.models import Models
from streams.replay.errors import WorldGone
from streams.replay.journal import Stretch
from streams.replay.released import Released
from streams.replay.tape import Tape, sum_of
from streams.replay.vectors import Found, Vectors
from streams.served import Served
from streams.settings import Settings
from streams.worker.bootstrap import empty_world

_LINES = 2
_MAINS = 3
_DOUBTS = 12  # vectors that may or may not have been there, for which all combinations are tried
_QUERIES = 3  # query encoders that stay loaded
Positions = Mapping[str, Mapping[int, int]]
Key = tuple[tuple[str, int, int], ...]
IndexKey = tuple[str, Key]
"""The encoder's id and the place where an index was built."""


class Worlds:
    """Use it as a context manager: it reads topics. `tolerant`: the nearest World will do, and `say` tells of it."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        stretches: Sequence[Stretch],
        say: Callable[[str], None],
        *,
        tolerant: bool,
    ) -> None:
        """`stretches`: all whose Worlds may be asked for."""
        self._settings, self._models, self._say, self._tolerant = settings, models, say, tolerant
        self._told: set[str] = set()
        self._released = Released(settings, stretches, self._tell, models.encoder_id, tolerant=tolerant)
        self._stretches = stretches
        self._indexes: dict[IndexKey, tuple[Positions, Encoder | None]] = {}
        for one in stretches:
            if one.index:
                encoder = self._released.known(one)
                self._indexes[_index_key(encoder, one)] = one.index, encoder
        self._lines: list[_Line] = []  # used last at the end
        self._queries: dict[str, Encode] = {}  # used last at the end

    def __enter__(self) -> Worlds:
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._lines:
            line.close()

    def of(self, stretch: Stretch) -> World:
        """The World that served a Stretch. Raises WorldGone."""
        asked = (stretch.names, _key(stretch.index))
        for line in self._lines:
            if line.made == asked:
                return line.world
        line = self._line(stretch)
        encoder = self._released.encoder(stretch, line.encoder)
        for key, (places, of) in sorted(self._indexes.items(), key=lambda one: sum_of(one[1][0])):
            if key not in line.mains and line.is_before(places) and _before(places, stretch.positions):
                line.advance(places, None, None, line.encoder)
                line.keep(key, of)
        statistics = self._released.statistics(stretch, line.world)
        line.advance(stretch.positions, statistics, int(stretch.names["catalogue_version"], 16), encoder)
        line.served, line.world = self._released.models(stretch, line.served, line.world, encoder)
        world = line.adopt(_index_key(encoder, stretch))
        if world.names != stretch.names:
            self._amiss(stretch, world)
        line.made = asked
        return world

    def _line(self, stretch: Stretch) -> _Line:
        """The line of Worlds that is nearest before a Stretch, one on its encoder if there is any. Worlds of one line
        can only go forwards."""
        encoder = self._released.known(stretch)
        key = _index_key(encoder, stretch)
        before = [
            line
            for line in self._lines
            if line.is_before(stretch.positions)
            and (not stretch.index or key in line.mains or line.is_before(stretch.index))
        ]
        line = max(before, key=lambda one: (one.is_on(encoder), one.read)) if before else None
        if line is None:
            frozen = self._released.frozen
            wanted = self._released.encoder_ids(self._stretches)
            line = _Line(self._settings, self._models, self._released.served(frozen), frozen, wanted, self._query)
            if len(self._lines) >= _LINES:
                self._lines.pop(0).close()
        else:
            self._lines.remove(line)
        self._lines.append(line)
        return line

    def _query(self, encoder: Encoder) -> Encode | None:
        """What encodes the texts of users beside this encoder's vectors."""
        if not encoder.adapter:
            return self._models.encode_query
        load = self._models.tuned
        assert load is not None, "there is an encoder"
        known = self._queries.pop(encoder.encoder_id, None)
        self._queries[encoder.encoder_id] = found = known or load(encoder.adapter)
        if len(self._queries) > _QUERIES:
            del self._queries[next(iter(self._queries))]
        return found

    def _amiss(self, stretch: Stretch, world: World) -> None:
        wrong = [
            f"{name} is {world.names.get(name)}, not {wanted}"
            for name, wanted in stretch.names.items()
            if world.names.get(name) != wanted
        ]
        said = f"{stretch}: the World cannot be made again ({'; '.join(wrong)})"
        if not self._tolerant:
            raise WorldGone(
                f"{said}. Older records of items or item-vectors are compacted away, or another encoder is set "
                f"(HEADWATER_ENCODER={self._settings.encoder}), or another version of Headwater served. Go on with "
                "--tolerant to replay in the nearest World."
            )
        self._tell(f"{said}; going on with the nearest")

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._say(line)


class _Line:
    """Worlds that follow from each other, and how far the topics were read for the newest."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        served: Served,
        encoder: Encoder | None,
        wanted: Set[str],
        query: Callable[[Encoder], Encode | None],
    ) -> None:
        """`encoder`: the frozen one; `wanted`: ids of all encoders that a World of the line may be on."""
        self._most = settings.max_record_bytes
        self._dim, self._query = models.dim, query
        self._items, self._vectors = Tape(settings, "items"), Tape(settings, "item-vectors")
        self._at: dict[str, dict[int, int]] = {"items": {}, "item-vectors": {}}
        self.world = empty_world(models)
        self.served, self.encoder = served, encoder
        self.made: tuple[dict[str, str], Key] | None = None
        """What the World was asked for as: its names in the journal, and its index."""
        self.mains: dict[IndexKey, DenseIndex] = {}
        """Indexes as they were built at some place, the oldest first."""
        self._missing: dict[str, str] = {}  # item_id -> hash of the text that has no vector yet
        self._came = Vectors(models.dim, encoder.encoder_id if encoder is not None else None, wanted)

    def close(self) -> None:
        self._items.__exit__()
        self._vectors.__exit__()

    @property
    def read(self) -> int:
        return self._items.read + self._vectors.read

    def is_on(self, encoder: Encoder | None) -> bool:
        """Whether the World has the vectors of this encoder."""
        return _id(self.encoder) == _id(encoder)

    def is_before(self, positions: Positions) -> bool:
        return _before(self._at, positions)

    def keep(self, key: IndexKey, encoder: Encoder | None) -> None:
        """Builds the index anew from the World as it is, on the vectors of `encoder`, and keeps it for Worlds to
        come."""
        catalogue = self.world.catalogue
        if encoder is None or self.is_on(encoder):
            self.mains[key] = self.world.dense.rebuilt(catalogue.alive, catalogue.id_rows)
        else:  # made beside the World that went on; of a text that was overtaken, it had no vector
            sure, _, old = self._came.of(encoder.encoder_id, _texts(self.world, encoder))
            # had the old ones been there, it would not have waited for new ones
            vectors = sure if complete(len(catalogue) - len(sure), len(catalogue)) else sure | old
            self.mains[key] = self._over(encoder, self.world, vectors).dense
        if len(self.mains) > _MAINS:
            del self.mains[next(iter(self.mains))]

    def adopt(self, key: IndexKey) -> World:
        """The World with the index that was kept under `key`, or its own where none was."""
        main = self.mains.get(key)
        if main is not None and self.world.dense.main is not main.main:  # else it has it, and keeps what it worked out
            self.world = self.world.with_main(main)
        return self.world

    def advance(
        self, positions: Positions, statistics: Statistics | None, version: int | None, encoder: Encoder | None
    ) -> World:
        """The World at `positions`, on the vectors of `encoder`; `version`: the hash that its catalogue should have,
        None if nobody knows."""
        changes: list[Item | Withdrawn] = []
        for message in self._until(self._items, "items", positions):
            item = decode_item(message.key(), message.value(), self._most)
            if isinstance(item, Malformed):
                continue
            changes.append(item)
            if isinstance(item, Withdrawn) or self.encoder is None:
                self._missing.pop(item.item_id, None)
            else:
                self._missing[item.item_id] = content_hash(item_text(item), self.encoder.encoder_id)
        for message in self._until(self._vectors, "item-vectors", positions):
            self._came.take(message.key(), message.value())
        world = self.world
        if self.encoder is not None and (reverted := _reverted(world, changes)):
            # whether they kept their vectors depends on whether a World was built in between
            world = world.advanced([Withdrawn(item_id) for item_id in reverted])
        if changes or statistics is not None:
            world = world.advanced(changes, (), statistics)
        crosses = not self.is_on(encoder)
        self.encoder = encoder
        if encoder is not None and crosses:
            self._came.go_over(encoder.encoder_id)
            self._missing = _texts(world, encoder)
            world = self._over(encoder, world, self._chosen(encoder, self._over(encoder, world, {}), version))
        elif encoder is not None and (vectors := self._chosen(encoder, world, version)):
            unpacked = [(i, np.frombuffer(v, "<f2").astype(np.float32)) for i, v in vectors.items()]
            world = world.advanced((), unpacked)
        self.world = world
        return self.world

    def _over(self, encoder: Encoder, world: World, vectors: Mapping[str, bytes]) -> World:
        """The World on these vectors of another encoder."""
        return reencoded(world, NextSet(encoder, self._dim, vectors), lambda: self._query(encoder))

    def _until(self, tape: Tape, topic: str, positions: Positions) -> Any:
        for partition, offset in positions.get(topic, {}).items():
            yield from tape.upto(partition, offset)
            self._at[topic][partition] = max(offset, self._at[topic].get(partition, 0))

    def _chosen(self, encoder: Encoder, world: World, version: int | None) -> dict[str, bytes]:
        """Vectors for rows that have none; they are missing no more."""
        rows, has = world.catalogue.row_of, world.dense.has
        for item_id in [i for i in self._missing if has[rows[i]]]:
            del self._missing[item_id]  # only its price changed, or the like
        sure, doubtful, old = found = self._came.of(encoder.encoder_id, self._missing)
        for chosen in _choices(found):
            if version is None or world.catalogue_version_with([rows[i] for i in chosen]) == version:
                break
        else:
            chosen = sure | old | doubtful
        if old and not chosen.keys() >= old.keys():
            self._came.forget(encoder.encoder_id, old)
        for item_id in chosen:
            del self._missing[item_id]
        return chosen


def _texts(world: World, encoder: Encoder) -> dict[str, str]:
    """item_id -> the hash of its text, of all items."""
    catalogue = world.catalogue
    return {
        item_id: content_hash(item_text(catalogue.items[row]), encoder.encoder_id)
        for item_id, row in catalogue.row_of.items()
    }


def _reverted(world: World, changes: Sequence[Item | Withdrawn]) -> list[str]:
    """Items that became another text, or none, and then again the one that they have in this World."""
    by_id: dict[str, list[Item | Withdrawn]] = {}
    for change in changes:
        by_id.setdefault(change.item_id, []).append(change)
    found, catalogue = [], world.catalogue
    for item_id, line in by_id.items():
        row = catalogue.row_of.get(item_id)
        if len(line) > 1 and row is not None:
            here = item_text(catalogue.items[row])
            same = [not isinstance(one, Withdrawn) and item_text(one) == here for one in line]
            if same[-1] and not all(same):
                found.append(item_id)
    return found


def _index_key(encoder: Encoder | None, stretch: Stretch) -> IndexKey:
    return _id(encoder), _key(stretch.index)


def _id(encoder: Encoder | None) -> str:
    return "" if encoder is None else encoder.encoder_id


def _key(places: Positions) -> Key:
    return tuple(sorted((topic, p, at) for topic, offsets in places.items() for p, at in offsets.items()))


def _before(places: Positions, others: Positions) -> bool:
    return all(at <= others.get(topic, {}).get(p, 0) for topic, offsets in places.items() for p, at in offsets.items())


def _choices(found: Found) -> Iterator[dict[str, bytes]]:
    """What may have been there, the likeliest first: all of it; less some of the doubtful ones; less the old ones."""
    numbers = range(len(found.doubtful) + 1) if len(found.doubtful) <= _DOUBTS else (0, len(found.doubtful))
    for old, n in product((found.old, {}) if found.old else ({},), numbers):
        for left_out in combinations(found.doubtful, n):
            yield found.sure | old | {i: v for i, v in found.doubtful.items() if i not in left_out}
