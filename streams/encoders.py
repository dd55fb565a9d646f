"""Encoders: which text encoder's vectors make up the World, and how it passes from one encoder to the next.

In: releases of the role "encoder", records of `item-vectors` as they come, changes of the catalogue. Out: the vectors
of the encoder in use as they arrive, and, once those of a newer encoder are complete, that whole set: vectors, index
and query encoder are then swapped together, by pointer, so that no World ever holds vectors of two encoders.

The topic holds one line of records for each item, of whatever encoder; each names its encoder and, by a hash of both,
the text. While the catalogue is encoded again, items that are new or changed get a vector under the encoder in use
and one under the next. So a worker that starts in the middle finds the old set whole, since the topic's compaction
lag keeps it, and serves from that; one that starts afterwards finds the new one whole. Nothing here talks to Kafka, and
only `Encoders` opens files, through the function it is given.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from recsys.encoder import Adapter, adapted_id, content_hash, item_text
from recsys.index.dense import DenseIndex
from recsys.index.lexical import item_terms
from recsys.index.sketch import MEANING, SKETCH, joined, sketch
from recsys.world import World
from schemas.items import Item, ItemVector, Withdrawn
from schemas.releases import Release
from streams.releases import ReleaseDamaged, ReleaseStorage, ReleaseUnusable

ROLE = "encoder"
LAYOUT = 1
"""Newest layout of an encoder release that is understood here."""
RETRY_S = 30.0
"""After which a release that could not be loaded is tried again."""
_REMEMBERED = 16  # releases; one that is rolled back makes way for those before it
_LOADED = 3  # adapters held: the newest, and those that workers may still be on
_SETS = 3  # of vectors: in use, next, and one whose release has not been read yet
_SHARE = 0.995
log = structlog.get_logger("encoders")

Floats = npt.NDArray[np.float32]
Encode = Callable[[str], Floats]
"""Turns a text into a unit vector float32[dim]."""
Load = Callable[[Release], tuple[Mapping[str, npt.NDArray[Any]], Mapping[str, Any]]]


def complete(missing: int, live: int) -> bool:
    """Whether an encoder's vectors are enough to serve from: those of 99.5% of the live items, and at least one."""
    return live > 0 and live - missing >= _SHARE * live


@dataclass(frozen=True, slots=True)
class Encoder:
    """`adapter` on top of the frozen encoder, from `release`; empty, and None, for the frozen one itself."""

    encoder_id: str
    release: Release | None = None
    adapter: Adapter = field(default_factory=dict)


def loader(storage: ReleaseStorage) -> Load:
    """Reads encoder releases from release storage."""
    return lambda release: storage.load_arrays(release.release_id, release)


def encoder_of(release: Release, base: str | None, load: Load) -> Encoder:
    """The encoder that a release makes of the frozen one, whose id is `base`; None: there is none here. Raises
    ReleaseUnusable."""
    name = release.release_id
    if release.schema_version > LAYOUT:
        raise ReleaseUnusable(f"Release {name} has a newer layout: update Headwater here.")
    arrays, meta = load(release)
    if base is None or meta.get("base") != base:
        raise ReleaseUnusable(
            f"Release {name} tunes the encoder {meta.get('base')}, and the one here is {base or 'none'}: set "
            "HEADWATER_ENCODER to the same model everywhere."
        )
    try:
        adapter = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    except (ValueError, TypeError) as error:
        raise ReleaseDamaged(f"Release {name} holds no adapter ({error!r}).") from error
    if not all(np.isfinite(array).all() for array in adapter.values()):
        raise ReleaseDamaged(f"Release {name} holds weights that are not finite.")
    return Encoder(adapted_id(base, adapter), release, adapter)


class Encoders:
    """The encoders that releases name. A release counts while its newest record says `serving`; a rollback is a newer
    release of the former files, or a record that takes the newest release back."""

    def __init__(self, base: str, load: Load) -> None:
        """`base`: id of the frozen encoder; `load` gives a release's arrays and meta or raises ReleaseUnusable."""
        self.base = base
        self._load = load
        self._releases: dict[int, Release] = {}
        self._loaded: dict[str, Encoder] = {}
        self._failed: dict[str, float] = {}  # release_id -> when to try again

    def take(self, release: Release) -> bool:
        """Takes in a record of the releases topic; whether it may change what is served."""
        if release.role != ROLE or self._releases.get(release.sequence) == release:
            return False
        self._releases[release.sequence] = release
        for sequence in sorted(self._releases)[:-_REMEMBERED]:
            del self._releases[sequence]
        return True

    @property
    def known(self) -> list[Release]:
        """The records that are remembered, of any status, oldest first."""
        return [release for _, release in sorted(self._releases.items())]

    @property
    def newest(self) -> Release | None:
        """The record of the highest sequence, of any status."""
        return self._releases[max(self._releases)] if self._releases else None

    def usable(self, now: float) -> list[Encoder]:
        """Those that can be loaded, newest first, the frozen one at the end. `now`: seconds of any steady clock."""
        found: list[Encoder] = []
        for _, release in sorted(self._releases.items(), reverse=True):
            if release.status != "serving" or len(found) == _LOADED:
                continue
            encoder = self._loaded.get(release.release_id) or self._tried(release, now)
            if encoder is not None and encoder.encoder_id not in {one.encoder_id for one in found}:
                found.append(encoder)
        self._loaded = {one.release.release_id: one for one in found if one.release is not None}
        if self.base not in {one.encoder_id for one in found}:
            found.append(Encoder(self.base))
        return found

    def refuse(self, encoder: Encoder, why: str, now: float) -> None:
        """An encoder that turned out not to work (AdapterMisfit) is left out of `usable` for RETRY_S."""
        if encoder.release is not None:
            self._loaded.pop(encoder.release.release_id, None)
            self._failed[encoder.release.release_id] = now + RETRY_S
            self._say(encoder.release, why)

    @staticmethod
    def _say(release: Release, why: str) -> None:
        doing = "going on with the encoder before it"
        log.warning("encoder_release_unusable", release_id=release.release_id, why=why, doing=doing)

    def _tried(self, release: Release, now: float) -> Encoder | None:
        if now < self._failed.get(release.release_id, now):
            return None
        try:
            found = encoder_of(release, self.base, self._load)
        except ReleaseUnusable as error:
            self._failed[release.release_id] = now + RETRY_S
            self._say(release, str(error))
            return None
        self._failed.pop(release.release_id, None)
        return found


@dataclass(frozen=True, slots=True)
class NextSet:
    """All that the next World needs: `vectors` item_id -> float16[dim], little-endian, as bytes, of `encoder`."""

    encoder: Encoder
    dim: int
    vectors: Mapping[str, bytes]


@dataclass(slots=True)
class _Set:
    """One encoder's vectors. `missing`: live items whose text has none, with its hash; None: nobody asks."""

    held: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    missing: dict[str, str] | None = None


class VectorSets:
    """Vectors by encoder, of which one is in use. Not for use from several threads.

    The caller's turn: `take` and `expect` as records come, `choose` when releases change; once the topics were read to
    where they ended, and from then on before each `ready`, `switch`.
    """

    def __init__(self, encoder_id: str | None, dim: int) -> None:
        """`encoder_id` is in use at first: the frozen one. None: there is no encoder, and no vector is wanted."""
        self.encoder_id, self._dim = encoder_id, dim
        self._sets: dict[str, _Set] = {}  # whose record came last, at the end
        self._choice: list[Encoder] = [Encoder(encoder_id)] if encoder_id is not None else []
        self._live: dict[str, Item] = {}
        self._due: dict[str, None] = {}  # items that the World may have no vector of yet
        self._begun = False
        if encoder_id is not None:
            self._set(encoder_id)

    # records
    # ------------------------------------------------------------------------------------------------------------
    def take(self, key: bytes | None, value: bytes | None) -> None:
        """A record of `item-vectors`. What cannot be read, or is of another length, is passed over with a warning."""
        item_id = (key or b"").decode(errors="replace")
        if self.encoder_id is None:
            return
        if value is None:
            for one in self._sets.values():
                one.held.pop(item_id, None)
                if one.missing is not None and item_id in self._live and item_id not in one.missing:
                    one.missing[item_id] = self._digest(item_id, one)
            return
        try:
            record = ItemVector.model_validate_json(value)
            vector = base64.b64decode(record.vector, validate=True)
            if len(vector) != 2 * record.dim:
                raise ValueError("another length than announced")
        except ValueError:  # pydantic's own errors are ValueErrors too
            log.warning("vector_ignored", item_id=item_id)
            return
        if record.dim != self._dim:
            return
        one = self._set(record.encoder_id)
        before = one.held.get(record.item_id)
        one.held[record.item_id] = (record.content_hash, vector)
        if one.missing is None or record.item_id not in self._live:
            return
        if record.item_id in one.missing:
            if one.missing[record.item_id] == record.content_hash:
                del one.missing[record.item_id]
        elif before is not None and before[0] != record.content_hash:
            one.missing[record.item_id] = before[0]  # the vector of a text that is still to come, or that is gone

    def expect(self, changes: Iterable[Item | Withdrawn]) -> None:
        """Changes of the catalogue, in order: from now on vectors of these texts are wanted."""
        if self.encoder_id is None:
            return
        for change in changes:
            if isinstance(change, Withdrawn):
                self._live.pop(change.item_id, None)
                self._due.pop(change.item_id, None)
                for one in self._sets.values():
                    if one.missing is not None:
                        one.missing.pop(change.item_id, None)
                continue
            self._live[change.item_id] = change
            self._due[change.item_id] = None
            text = item_text(change)
            for encoder_id, one in self._sets.items():
                if one.missing is not None:
                    self._look(one, change.item_id, content_hash(text, encoder_id))

    def choose(self, encoders: Sequence[Encoder]) -> None:
        """What may be served, best first (`Encoders.usable`)."""
        if self.encoder_id is None:
            return
        self._choice = list(encoders)
        if encoders:
            self._set(encoders[0].encoder_id)
        for encoder_id, one in self._sets.items():
            self._follow(encoder_id, one)
        self._bound()

    # what is made of them
    # ----------------------------------------------------------------------------------------------------------
    def ready(self, world: World) -> list[tuple[str, Floats]]:
        """(item_id, float32[dim]) under the encoder in use, of rows that have none yet and whose text they encode."""
        if self.encoder_id is None:
            return []
        out: list[tuple[str, Floats]] = []
        one = self._sets[self.encoder_id]
        missing = one.missing if one.missing is not None else {}
        catalogue, has = world.catalogue, world.dense.has
        for item_id in [item_id for item_id in self._due if item_id not in missing]:
            row = catalogue.row_of.get(item_id)
            if row is None:
                continue
            del self._due[item_id]
            # kept among the held: an item that is withdrawn and comes back has its vector at once
            if row >= len(has) or not has[row]:
                out.append((item_id, np.frombuffer(one.held[item_id][1], "<f2").astype(np.float32)))
        return out

    def switch(self) -> NextSet | None:
        """The set to go over to, now that it is complete; None while there is none. The same again until `switched`.

        A better encoder is taken when it is complete. One that is not is taken only where the one in use has less
        than half of what it has: a worker that starts after the old set is gone.
        """
        if self.encoder_id is None:
            return None
        self._begun = True
        self._bound()
        live = len(self._live)
        covered = {i: live - len(s.missing) for i, s in self._sets.items() if s.missing is not None}
        for encoder in self._choice:
            if encoder.encoder_id == self.encoder_id:
                break
            if encoder.encoder_id in covered and complete(live - covered[encoder.encoder_id], live):
                return self._whole(encoder)
        best = max(self._choice, key=lambda e: covered.get(e.encoder_id, 0), default=None)
        if best is None or covered.get(best.encoder_id, 0) <= 2 * covered.get(self.encoder_id, 0):
            return None
        return self._whole(best)

    def switched(self, encoder_id: str) -> None:
        """The World is now built on this encoder's vectors. The former set is kept beside it for a way back, until a
        newer one needs the room."""
        self.encoder_id = encoder_id
        self._follow(encoder_id, self._set(encoder_id))
        self._due = dict.fromkeys(self._live)
        self._bound()

    def progress(self) -> dict[str, tuple[int, int]]:
        """For the encoder in use and those to come: (live items with a vector, live items)."""
        live = len(self._live)
        return {i: (live - len(s.missing), live) for i, s in self._sets.items() if s.missing is not None}

    # parts
    # ------------------------------------------------------------------------------------------------------------
    def _set(self, encoder_id: str) -> _Set:
        one = self._sets.pop(encoder_id, None)
        new = one is None
        self._sets[encoder_id] = one = one or _Set()
        if new:
            self._follow(encoder_id, one)
            self._bound(keep=encoder_id)
        return one

    def _follow(self, encoder_id: str, one: _Set) -> None:
        """Counts what is missing in the sets that may be served, and only there: it costs a hash an item."""
        wanted = encoder_id == self.encoder_id or encoder_id in {e.encoder_id for e in self._choice}
        if not wanted:
            one.missing = None
        elif one.missing is None:
            one.missing = {}
            for item_id, item in self._live.items():
                self._look(one, item_id, content_hash(item_text(item), encoder_id))

    @staticmethod
    def _look(one: _Set, item_id: str, digest: str) -> None:
        assert one.missing is not None
        if one.held.get(item_id, ("",))[0] == digest:
            one.missing.pop(item_id, None)
        else:
            one.missing[item_id] = digest

    def _digest(self, item_id: str, one: _Set) -> str:
        encoder_id = next(name for name, known in self._sets.items() if known is one)
        return content_hash(item_text(self._live[item_id]), encoder_id)

    def _whole(self, encoder: Encoder) -> NextSet:
        one = self._sets[encoder.encoder_id]
        missing = one.missing or {}
        vectors = {i: one.held[i][1] for i in self._live if i not in missing}
        return NextSet(encoder, self._dim, vectors)

    def _bound(self, keep: str | None = None) -> None:
        """Lets go of sets that nobody will need: first those that a later one covers, then the smallest."""
        best = self._choice[0].encoder_id if self._choice else None
        most = _SETS - 1 if self._begun and best == self.encoder_id else _SETS
        while True:
            size = {i: len(one.held) for i, one in self._sets.items() if one.held or i == keep}
            loose = [i for i in size if i not in (self.encoder_id, best, keep)]
            if len(size) <= most or not loose:
                return
            order = list(size)
            outdone = [i for i in loose if any(size[j] >= _SHARE * size[i] for j in order[order.index(i) + 1 :])]
            del self._sets[outdone[0] if outdone else min(loose, key=size.__getitem__)]


def reencoded(world: World, following: NextSet, load_query: Callable[[], Encode | None]) -> World:
    """The World on another encoder's vectors: same catalogue, a new index. Seconds of work at 100,000 items, so on a
    thread beside the one that serves; `adopted` brings the result up to date. `world` is the one that `ready` was last
    asked with, or one that has no newer texts. `load_query` gives the encoder's `encode_query`, which is loaded first,
    and may raise AdapterMisfit."""
    encode_query = load_query()
    catalogue, old = world.catalogue, world.dense
    rows = [(row, v) for i, v in following.vectors.items() if (row := catalogue.row_of.get(i)) is not None]
    dense = DenseIndex.empty(old.dim, old.device).grown(catalogue.rows)
    if rows:
        whole = np.zeros((len(rows), old.dim), np.float32)
        for line, (row, packed) in enumerate(rows):
            meaning = np.frombuffer(packed, "<f2").astype(np.float32)
            if row < len(old.has) and old.has[row]:  # the words' part is the same under any encoder
                whole[line, : following.dim] = meaning * MEANING
                whole[line, following.dim :] = old.vectors(row)[-SKETCH:]
            else:
                whole[line] = joined(meaning, sketch(item_terms(catalogue.items[row])))
        dense = dense.with_vectors(np.array([row for row, _ in rows], np.int32), whole)
    return replace(
        world,
        dense=dense.rebuilt(catalogue.alive, catalogue.id_rows),
        vector_dim=following.dim,
        encode_query=encode_query,
    )


def adopted(world: World, built: World) -> World:
    """`world`, which went on meanwhile, on the vectors, index and query encoder of `built`, made from an earlier one of
    the same line. Rows that came since have no vector until `VectorSets.ready` gives it."""
    dense = built.dense.grown(world.catalogue.rows).ordered(world.catalogue.alive, world.catalogue.id_rows)
    return replace(world, dense=dense, vector_dim=built.vector_dim, encode_query=built.encode_query)
