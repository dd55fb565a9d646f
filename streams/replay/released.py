"""Released: statistics and models that a World of the journal names, read again from their files.

In: ids of releases, their records on `<ns>.releases.v1`, the files these name. Out: Statistics, text encoders, and a
World with its models, loaded and put on by the same code as in a worker (`streams.encoders`, `streams.served`), so that
they have the same bits. What is gone is an error that names it; a tolerant replay keeps what served before it, and
tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import orjson
from pydantic import ValidationError

from recsys.statistics import Statistics
from recsys.world import World
from schemas.releases import Release
from streams.encoders import ROLE as ENCODER
from streams.encoders import Encoder, encoder_of, loader
from streams.releases import ReleaseGone, ReleaseStorage, ReleaseUnusable
from streams.replay.errors import WorldGone
from streams.replay.journal import Stretch
from streams.replay.tape import Tape
from streams.served import ROLES, Served, named
from streams.settings import Settings

NONE = "none"
_KEYS = frozenset(role.encode() for role in ("statistics", ENCODER, *ROLES))


class Released:
    """`tell` hears of what a tolerant replay goes on without."""

    def __init__(
        self,
        settings: Settings,
        stretches: Sequence[Stretch],
        tell: Callable[[str], None],
        frozen_id: str | None,
        *,
        tolerant: bool,
    ) -> None:
        """`stretches`: all whose releases may be asked for; `frozen_id`: of the text encoder here. Reads the releases
        topic, if they name any."""
        self._tell, self._frozen, self._tolerant = tell, frozen_id, tolerant
        self._storage = ReleaseStorage.of(settings)
        wanted = {one.names["statistics_id"] for one in stretches}
        for one in stretches:
            serving, _, tried = named(one.names["release_id"])
            wanted |= {*serving, *tried}
        self._records = _records(settings, wanted - {NONE})
        self._encoders: dict[str, Encoder | ReleaseUnusable] = {}

    def served(self, encoder: Encoder | None) -> Served:
        """An empty one, for a line of Worlds of this encoder."""
        if encoder is None:
            return Served(self._storage)
        return Served(
            self._storage, encoder=encoder.release, encoder_id=encoder.encoder_id, frozen_id=self._frozen
        )  # fmt: skip

    @property
    def frozen(self) -> Encoder | None:
        """The encoder that Worlds have whose names say nothing of one; None without any."""
        return None if self._frozen is None else Encoder(self._frozen)

    def encoder_ids(self, stretches: Iterable[Stretch]) -> set[str]:
        """Those of the encoders whose vectors these Stretches may need."""
        found = (self._encoder(name) for name in {encoder_name(one) for one in stretches})
        return {self._frozen or "", *(one.encoder_id for one in found if isinstance(one, Encoder))}

    def encoder(self, stretch: Stretch, held: Encoder | None) -> Encoder | None:
        """The encoder whose vectors a Stretch's World has; `held` where it cannot be had. Raises WorldGone."""
        name = encoder_name(stretch)
        found = self._encoder(name)
        if not isinstance(found, ReleaseUnusable):
            return found
        before = NONE
        if held is not None:
            before = "the frozen encoder" if held.release is None else held.release.release_id
        self._gone(stretch, name, before, found)
        return held

    def known(self, stretch: Stretch) -> Encoder | None:
        """The encoder whose vectors a Stretch's World has; the frozen one where it cannot be had."""
        found = self._encoder(encoder_name(stretch))
        return self.frozen if isinstance(found, ReleaseUnusable) else found

    def _encoder(self, name: str) -> Encoder | ReleaseUnusable | None:
        if name == NONE:
            return self.frozen
        if name not in self._encoders:
            try:
                self._encoders[name] = encoder_of(self._record(name), self._frozen, loader(self._storage))
            except ReleaseUnusable as error:
                self._encoders[name] = error
        return self._encoders[name]

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

    def models(self, stretch: Stretch, served: Served, world: World, encoder: Encoder | None) -> tuple[Served, World]:
        """The World, which has the vectors of `encoder`, with the models that a Stretch names, and what is loaded now.
        `served`: what the World had, of which it keeps what it can. Raises WorldGone."""
        wanted = stretch.names["release_id"]
        if wanted == world.release_id:
            return served, world
        names, share, tried = named(wanted)
        serving = {role_of(name): name for name in names}
        if served.loaded.keys() - serving.keys():
            served = self.served(encoder)  # a worker that lagged behind had not taken a model of that role yet
        elif encoder is not None:
            served.encoded_by(encoder.encoder_id, encoder.release)
        for role, name in serving.items():
            if role == ENCODER:
                continue
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
        instead = held if held != NONE else f"no {what} release"
        self._tell(f"{stretch}: {wanted} cannot be had ({str(error).rstrip('.')}); going on with {instead}")


def encoder_name(stretch: Stretch) -> str:
    """The release of the encoder that a Stretch's World names; `none` for the frozen one."""
    return next((name for name in named(stretch.names["release_id"])[0] if role_of(name) == ENCODER), NONE)


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
