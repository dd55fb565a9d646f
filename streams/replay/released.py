"""Released: statistics and models that a World of the journal names, read again from their files.

In: ids of releases, their records on `<ns>.releases.v1`, the files these name. Out: Statistics, and a World with its
models, loaded and put on by the same code as in a worker (`streams.served`), so that they have the same bits. What is
gone is an error that names it; a tolerant replay keeps what served before it, and tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson
from pydantic import ValidationError

from recsys.statistics import Statistics
from recsys.world import World
from schemas.releases import Release
from streams.releases import ReleaseGone, ReleaseStorage, ReleaseUnusable
from streams.replay.errors import WorldGone
from streams.replay.journal import Stretch
from streams.replay.tape import Tape
from streams.served import ROLES, Served, named
from streams.settings import Settings

NONE = "none"
_KEYS = frozenset(role.encode() for role in ("statistics", *ROLES))


class Released:
    """`tell` hears of what a tolerant replay goes on without."""

    def __init__(
        self, settings: Settings, stretches: Sequence[Stretch], tell: Callable[[str], None], *, tolerant: bool
    ) -> None:
        """`stretches`: all whose releases may be asked for. Reads the releases topic, if they name any."""
        self._tell, self._tolerant = tell, tolerant
        self._storage = ReleaseStorage.of(settings)
        wanted = {one.names["statistics_id"] for one in stretches}
        for one in stretches:
            serving, _, tried = named(one.names["release_id"])
            wanted |= {*serving, *tried}
        self._records = _records(settings, wanted - {NONE})

    def served(self) -> Served:
        """An empty one, for a line of Worlds."""
        return Served(self._storage)

    def statistics(self, stretch: Stretch, world: World) -> Statistics | None:
        """Those that a Stretch names; None where the World has them, or where they are gone. Raises WorldGone."""
        wanted, held = stretch.names["statistics_id"], world.statistics.statistics_id
        if wanted == held:
            return None
        if wanted == NONE:
            return Statistics.empty()
        try:
            return self._storage.load_statistics(self._record(wanted))
        except ReleaseUnusable as error:
            self._gone(stretch, wanted, held, error)
            return None

    def models(self, stretch: Stretch, served: Served, world: World) -> tuple[Served, World]:
        """The World with the models that a Stretch names, and what is loaded now. `served`: what the World has, of
        which it keeps what it can. Raises WorldGone."""
        wanted = stretch.names["release_id"]
        if wanted == world.release_id:
            return served, world
        names, share, tried = named(wanted)
        serving = {role_of(name): name for name in names}
        if served.loaded.keys() - serving.keys():
            served = self.served()  # a worker that lagged behind had not taken a model of that role yet
        for role, name in serving.items():
            if role not in ROLES:
                self._gone(stretch, name, NONE, ReleaseUnusable("a replay does not follow releases of this role"))
                continue
            held = served.loaded.get(role)
            if held is not None and held.release_id == name:
                continue
            try:
                served.load(self._record(name), world.dense.dim)
            except ReleaseUnusable as error:
                self._gone(stretch, name, NONE if held is None else held.release_id, error)
        served.on_trial = None
        if tried:
            try:
                served.try_on(share, {role_of(name): self._record(name) for name in tried}, world.dense.dim)
            except ReleaseUnusable as error:
                self._gone(stretch, tried[0], NONE, error)
        return served, served.put_on(world)

    def _record(self, name: str) -> Release:
        """Raises ReleaseGone."""
        found = self._records.get(name)
        if found is None:
            raise ReleaseGone("its record is no longer on the releases topic, which keeps 30 days")
        return found

    def _gone(self, stretch: Stretch, wanted: str, held: str, error: ReleaseUnusable) -> None:
        what = role_of(wanted)
        if not self._tolerant:
            raise WorldGone(
                f"{stretch}: its World has the {what} release {wanted}, and it cannot be had: "
                f"{str(error).rstrip('.')}. Replay where the releases can be read, or go on with --tolerant (what "
                "served before it stays)."
            ) from error
        instead = f"{held}" if held != NONE else f"no {what} release"
        self._tell(f"{stretch}: {wanted} cannot be had ({str(error).rstrip('.')}); going on with {instead}")


def role_of(name: str) -> str:
    """The role that stands in a release's id."""
    return name.partition("-")[0]


def _records(settings: Settings, wanted: set[str]) -> dict[str, Release]:
    """The records of these releases that the topic still has."""
    found: dict[str, Release] = {}
    if not wanted:
        return found
    with Tape(settings, "releases") as tape:
        for message in tape.all():
            value = message.value()
            if value is None or message.key() not in _KEYS:
                continue
            try:
                if orjson.loads(value)["release_id"] in wanted:  # most are not: one a second for a month
                    record = Release.model_validate_json(value)
                    found[record.release_id] = record
            except (ValueError, TypeError, KeyError, ValidationError):
                continue
    return found
