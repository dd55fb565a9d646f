"""Compare: where two recordings part.

In: two recordings, in the order of the digest. Out: counts, and the first differences (`streams.replay.why` explains
them). Two records belong together if they have the same key and the same rec_id, which is derived from the event that
caused them. Of a user only the first difference is kept: what follows may follow from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal

import orjson

from streams.replay.recording import Line, Recording

Kind = Literal["differs", "only in A", "only in B", "order"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One record that is not the same in both. `place`: its number among all records of A and B, from 1, in the order
    of the digest. `a`, `b`: the records without `timing`; None where there is none."""

    kind: Kind
    place: int
    key: str
    rec_id: str
    a: dict[str, Any] | None
    b: dict[str, Any] | None

    @property
    def record(self) -> dict[str, Any]:
        """Whichever there is."""
        return self.a or self.b or {}


@dataclass(slots=True)
class Comparison:
    """`users`: how many have a difference. `first`: the first differences of users, in the order of the digest;
    `earliest`: the one whose event has the smallest time."""

    same: int = 0
    differs: int = 0
    only_a: int = 0
    only_b: int = 0
    moved: int = 0
    users: int = 0
    first: list[Difference] = field(default_factory=list)
    earliest: Difference | None = None

    @property
    def equal(self) -> bool:
        return not (self.differs or self.only_a or self.only_b or self.moved)


def compared(a: Recording, b: Recording, most: int = 3) -> Comparison:
    """Reads both once. `most`: users whose first difference is kept."""
    found = Comparison()
    place = 0
    for key, left, right in _by_key(a.lines(), b.lines()):
        first: Difference | None = None
        for kind, one, other in _aligned(left, right):
            place += 1
            if kind is None:
                found.same += 1
                continue
            found.differs += kind == "differs"
            found.only_a += kind == "only in A"
            found.only_b += kind == "only in B"
            found.moved += kind == "order"
            if first is None:
                line = one or other
                assert line is not None
                first = Difference(kind, place, key.decode(), line.rec_id, _parsed(one), _parsed(other))
        if first is not None:
            found.users += 1
            if len(found.first) < most:
                found.first.append(first)
            if found.earliest is None or _time(first) < _time(found.earliest):
                found.earliest = first
    return found


def _by_key(a: Iterator[Line], b: Iterator[Line]) -> Iterator[tuple[bytes, list[Line], list[Line]]]:
    left, right = groupby(a, attrgetter("key")), groupby(b, attrgetter("key"))
    nothing: tuple[None, list[Line]] = (None, [])
    one = _next(left)
    other = _next(right)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[0], one[1], nothing[1]
            one = _next(left)
        elif one is None or other[0] < one[0]:
            yield other[0], nothing[1], other[1]
            other = _next(right)
        else:
            yield one[0], one[1], other[1]
            one, other = _next(left), _next(right)


def _next(groups: Any) -> tuple[bytes, list[Line]] | None:
    for key, lines in groups:
        return key, list(lines)
    return None


def _aligned(left: list[Line], right: list[Line]) -> Iterator[tuple[Kind | None, Line | None, Line | None]]:
    """The records of one user, pair by pair, in the order of A; what only B has stands before what follows it there."""
    in_a = {line.rec_id for line in left}
    at_b = {line.rec_id: place for place, line in enumerate(right)}
    given = 0  # records of B before this place were given
    for line in left:
        place = at_b.get(line.rec_id)
        if place is None:
            yield "only in A", line, None
            continue
        while given < place:
            if right[given].rec_id not in in_a:
                yield "only in B", None, right[given]
            given += 1
        other = right[place]
        if line.digested != other.digested:
            yield "differs", line, other
        elif given > place:
            yield "order", line, other
        else:
            yield None, line, other
        given = max(given, place + 1)
    for line in right[given:]:
        if line.rec_id not in in_a:
            yield "only in B", None, line


def _parsed(line: Line | None) -> dict[str, Any] | None:
    if line is None:
        return None
    value: dict[str, Any] = orjson.loads(line.text)
    del value["timing"]
    return value


def _time(difference: Difference) -> int:
    return int(difference.record.get("trigger", {}).get("ts", 0))
