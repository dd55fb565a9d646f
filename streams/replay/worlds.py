"""Worlds: the Worlds that a journal names, made again from the topics they were made from.

In: Stretches, in about the order of their Worlds. Out: the World of each: items and vectors up to its positions, and
the releases it names, statistics and models (`streams.replay.released`). What comes out is compared with the names in
the journal, the catalogue's hash among them, so that a World is the one that served or there is an error.

The index of a large catalogue was built some time before, from less: the line of Worlds passes there too, and keeps
what it finds. A worker reads items and vectors side by side, so positions alone do not always say whether the vector
of a text that changed twice was there: in such a case the hash of the catalogue decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.encoder import content_hash, item_text, unpack
from recsys.index.dense import DenseIndex
from recsys.statistics import Statistics
from recsys.world import World
from schemas.decode import Malformed, decode_item
from schemas.items import ItemVector, Withdrawn
from streams.models import Models
from streams.replay.errors import WorldGone
from streams.replay.journal import Stretch
from streams.replay.released import Released
from streams.replay.tape import Tape, sum_of
from streams.served import Served
from streams.settings import Settings
from streams.worker.bootstrap import empty_world

_LINES = 2
_MAINS = 3
_DOUBTS = 12  # vectors that may or may not have been there, for which all combinations are tried
_MASK = (1 << 64) - 1
Floats = npt.NDArray[np.float32]
Positions = Mapping[str, Mapping[int, int]]
Key = tuple[tuple[str, int, int], ...]


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
        self._released = Released(settings, stretches, self._tell, tolerant=tolerant)
        self._indexes = {_key(one.index): one.index for one in stretches if one.index}
        self._lines: list[_Line] = []  # used last at the end
        self._told: set[str] = set()

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
        for key, places in sorted(self._indexes.items(), key=lambda one: sum_of(one[1])):
            if key not in line.mains and line.is_before(places) and _before(places, stretch.positions):
                line.advance(places, None, None)
                line.keep(key)
        statistics = self._released.statistics(stretch, line.world)
        line.advance(stretch.positions, statistics, int(stretch.names["catalogue_version"], 16))
        line.served, line.world = self._released.models(stretch, line.served, line.world)
        world = line.adopt(_key(stretch.index))
        if world.names != stretch.names:
            self._amiss(stretch, world)
        line.made = asked
        return world

    def _line(self, stretch: Stretch) -> _Line:
        """The line of Worlds that is nearest before a Stretch. Worlds of one line can only go forwards."""
        key = _key(stretch.index)
        before = [
            line
            for line in self._lines
            if line.is_before(stretch.positions) and (not key or key in line.mains or line.is_before(stretch.index))
        ]
        line = max(before, key=lambda one: one.read) if before else None
        if line is None:
            line = _Line(self._settings, self._models, self._released.served())
            if len(self._lines) >= _LINES:
                self._lines.pop(0).close()
        else:
            self._lines.remove(line)
        self._lines.append(line)
        return line

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

    def __init__(self, settings: Settings, models: Models, served: Served) -> None:
        self._most = settings.max_record_bytes
        self._encoder_id, self._dim = models.encoder_id, models.dim
        self._items, self._vectors = Tape(settings, "items"), Tape(settings, "item-vectors")
        self._at: dict[str, dict[int, int]] = {"items": {}, "item-vectors": {}}
        self.world = empty_world(models)
        self.served = served
        self.made: tuple[dict[str, str], Key] | None = None
        """What the World was asked for as: its names in the journal, and its index."""
        self.mains: dict[Key, DenseIndex] = {}
        """Indexes as they were built at some place, the oldest first."""
        self._missing: dict[str, str] = {}  # item_id -> hash of the text that has no vector yet
        self._came: dict[str, dict[str, bytes]] = {}  # item_id -> hash -> vector, the newest last
        self._newest: dict[str, str] = {}  # item_id -> hash of its newest vector

    def close(self) -> None:
        self._items.__exit__()
        self._vectors.__exit__()

    @property
    def read(self) -> int:
        return self._items.read + self._vectors.read

    def is_before(self, positions: Positions) -> bool:
        return _before(self._at, positions)

    def keep(self, key: Key) -> None:
        """Builds the index anew from the World as it is, and keeps it for Worlds to come."""
        self.mains[key] = self.world.dense.rebuilt(self.world.catalogue.alive, self.world.catalogue.id_rows)
        if len(self.mains) > _MAINS:
            del self.mains[next(iter(self.mains))]

    def adopt(self, key: Key) -> World:
        """The World with the index that was kept under `key`, or its own where none is named."""
        main = self.mains.get(key)
        if main is not None and self.world.dense.main is not main.main:  # else it has it, and keeps what it worked out
            self.world = self.world.with_main(main)
        return self.world

    def advance(self, positions: Positions, statistics: Statistics | None, version: int | None) -> World:
        """The World at `positions`; `version`: the hash that its catalogue should have, None if nobody knows."""
        changes = []
        for message in self._until(self._items, "items", positions):
            item = decode_item(message.key(), message.value(), self._most)
            if isinstance(item, Malformed):
                continue
            changes.append(item)
            if isinstance(item, Withdrawn) or self._encoder_id is None:
                self._missing.pop(item.item_id, None)
            else:
                self._missing[item.item_id] = content_hash(item_text(item), self._encoder_id)
        for message in self._until(self._vectors, "item-vectors", positions):
            self._take_vector(message)
        world = self.world
        if changes or statistics is not None:
            world = world.advanced(changes, (), statistics)
        sure, doubtful = self._ready(world)
        # a text that has its vector keeps it, whatever newer ones came: so most of these were there
        world = self._with(world, sure)
        for left_out in _subsets(doubtful):
            if version is None or _version_with(world, doubtful, left_out) == version:
                break
        else:
            left_out = ()
        self.world = self._with(world, {i: v for i, v in doubtful.items() if i not in left_out})
        return self.world

    def _until(self, tape: Tape, topic: str, positions: Positions) -> Any:
        for partition, offset in positions.get(topic, {}).items():
            yield from tape.upto(partition, offset)
            self._at[topic][partition] = max(offset, self._at[topic].get(partition, 0))

    def _take_vector(self, message: Any) -> None:
        item_id = (message.key() or b"").decode(errors="replace")
        if message.value() is None:
            self._newest.pop(item_id, None)
            return
        try:
            record = ItemVector.model_validate_json(message.value())
            vector = unpack(record.vector, record.dim)
        except ValueError:
            return
        self._newest[record.item_id] = record.content_hash
        if record.dim == self._dim:
            came = self._came.setdefault(record.item_id, {})
            came.pop(record.content_hash, None)
            came[record.content_hash] = vector.astype("<f2").tobytes()

    def _ready(self, world: World) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Vectors for rows that have none: those that were there, and those that may have been."""
        sure: dict[str, Floats] = {}
        doubtful: dict[str, Floats] = {}
        for item_id in list(self._missing.keys() & self._came.keys()):
            row, digest = world.catalogue.row_of.get(item_id), self._missing[item_id]
            packed = self._came[item_id].get(digest)
            if row is None or packed is None:
                continue
            if row < len(world.dense.has) and world.dense.has[row]:
                del self._missing[item_id]  # only its price changed, or the like
                continue
            vector = np.frombuffer(packed, "<f2").astype(np.float32)
            (sure if self._newest.get(item_id) == digest else doubtful)[item_id] = vector
        return sure, doubtful

    def _with(self, world: World, vectors: dict[str, Floats]) -> World:
        for item_id in vectors:
            del self._missing[item_id]
        return world.advanced((), list(vectors.items())) if vectors else world


def _key(places: Positions) -> Key:
    return tuple(sorted((topic, p, at) for topic, offsets in places.items() for p, at in offsets.items()))


def _before(places: Positions, others: Positions) -> bool:
    return all(at <= others.get(topic, {}).get(p, 0) for topic, offsets in places.items() for p, at in offsets.items())


def _subsets(doubtful: Mapping[str, Any]) -> Any:
    """Which of the doubtful ones are left out: none first."""
    if len(doubtful) > _DOUBTS:
        yield ()
        return
    for n in range(len(doubtful) + 1):
        yield from combinations(doubtful, n)


def _version_with(world: World, doubtful: Mapping[str, Any], left_out: tuple[str, ...]) -> int:
    rows = [world.catalogue.row_of[item_id] for item_id in doubtful if item_id not in left_out]
    return world.catalogue_version_with(rows)
