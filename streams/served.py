"""Served: which model releases serve, and the World with their models.

In: records of `<ns>.releases.v1` as they come, of roles `ranker` and `sequence`. Out: a World that holds the newest
serving ones. Of a role the highest sequence that is serving counts, whatever came last: a learner that was paused may
still send an older one. What cannot be used is told, and what served before goes on serving.

A sequence release is the user side of the model; its `base` is the item side it was learnt with, an adapter release,
so the two never mix. Both stand on vectors of texts: `encoder_id` in a sequence release's file says by which encoder
(without it: by the frozen one). On a World of another encoder it is not served, and waits until the two meet.

A candidate that has a `share` is a canary (`recsys.experiments.canary`): its ranker, with the sequence model that was
announced with it, stands in the World beside what serves, until its record says otherwise or a later release serves.

A World's `release_id` names all its models, joined by `+`, the release of its encoder first; `none` where there are
none; at the end those of a canary, as `canary:<share>:<id>`. Which encoder serves is decided in `streams.feed`, which
says so here.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import structlog

from recsys.experiments.canary import Canary
from recsys.features import CONTEXT, FEATURES
from recsys.features import SCHEMA_VERSION as FEATURE_SCHEMA
from recsys.learning.learner import Learnt
from recsys.rank import AdditiveRanker, Ranker, prior_weights
from recsys.sequence import SequenceModel
from recsys.world import World
from schemas.releases import Base, Release
from streams.releases import Arrays, ReleaseDamaged, ReleaseStorage, ReleaseUnusable

ROLES = ("ranker", "sequence")
SCHEMA_VERSION = 1
_AGAIN_S = 10.0
_CANARY = "canary:"
log = structlog.get_logger(__name__)


class OfAnotherEncoder(ReleaseUnusable):
    """A sequence model was learnt on other vectors than the World has; it serves once the World has those."""

    def __init__(self, release: Release, encoder_id: str | None, here: str) -> None:
        super().__init__(
            f"Release {release.release_id} was learnt on vectors of the encoder {encoder_id}; those here are of {here}."
        )
        self.encoder_id = encoder_id


@dataclass(frozen=True, slots=True)
class OnTrial:
    """A canary in use: its releases by role, and what its users are served by, the models of other roles included."""

    share: float
    releases: dict[str, Release]
    served: Served


@dataclass(slots=True)
class Served:
    """`take` releases, then `onto` the next World. `loaded` are the releases in use by role."""

    storage: ReleaseStorage
    loaded: dict[str, Release] = field(default_factory=dict)
    ranker: np.ndarray | None = None
    sequence: SequenceModel | None = None
    encoder: Release | None = None
    """What the World's encoder was released as; None for the frozen one."""
    encoder_id: str | None = None
    """Whose vectors the World has; None: nobody says, and any sequence model is taken."""
    frozen_id: str | None = None
    on_trial: OnTrial | None = None
    """The canary, if there is one."""
    candidates: dict[str, Release] = field(default_factory=dict)
    """By role, the newest release that is to be a canary."""
    _sequence_of_encoder: str | None = None
    _elsewhere: dict[str, str | None] = field(default_factory=dict)  # release_id -> the encoder that it is for
    _wanted: dict[str, Release] = field(default_factory=dict)
    _refused: dict[str, float] = field(default_factory=dict)  # release_id -> when it was last tried
    _items: tuple[str, Arrays] | None = None  # the item side read last, by its sha256
    _items_sha: str = ""

    def take(self, release: Release) -> None:
        """Notes a release; nothing is read yet."""
        if release.role not in ROLES:
            return
        candidate = self.candidates.get(release.role)
        if release.status == "candidate" and release.share is not None:
            if candidate is None or release.sequence >= candidate.sequence:
                self.candidates[release.role] = release
        elif candidate is not None and candidate.release_id == release.release_id:
            del self.candidates[release.role]
        if release.status != "serving":
            return
        known = self._wanted.get(release.role)
        if known is None or release.sequence > known.sequence:
            self._wanted[release.role] = release

    def encoded_by(self, encoder_id: str | None, release: Release | None) -> None:
        """The next World has this encoder's vectors. A sequence model that was learnt on others is let go."""
        self.encoder_id, self.encoder = encoder_id, release
        if self.sequence is not None and self._sequence_of_encoder != encoder_id:
            log.info(
                "sequence_model_rests", release_id=self.loaded["sequence"].release_id, why="another encoder serves"
            )
            self.sequence, self._items, self._items_sha = None, None, ""
            del self.loaded["sequence"]

    @property
    def world_id(self) -> str:
        """What a World with all of it is called."""
        if self.on_trial is None:
            return self.release_id
        tried = [self.on_trial.releases[role] for role in ROLES if role in self.on_trial.releases]
        return "+".join([self.release_id, *(f"{_CANARY}{self.on_trial.share!r}:{one.release_id}" for one in tried)])

    @property
    def release_id(self) -> str:
        """What its World is called for users who are in no canary."""
        named = [self.encoder] if self.encoder is not None else []
        named += [self.loaded[role] for role in ROLES if role in self.loaded]
        return "+".join(release.release_id for release in named) or "none"

    @property
    def pinned(self) -> bool:
        """Whether an operator holds on to one of them; also to a sequence model that rests, since another encoder
        serves."""
        return any(release.pinned for release in [*self.loaded.values(), *self._wanted.values()])

    @property
    def learnt(self) -> Learnt:
        return Learnt(prior_weights() if self.ranker is None else self.ranker, self.sequence)

    def onto(self, world: World) -> World:
        """The World with the newest models that can be used; itself where nothing is new."""
        changed = False
        for role, release in self._wanted.items():
            held = self.loaded.get(role)
            if held is not None and held.sequence >= release.sequence:
                continue
            if time.monotonic() - self._refused.get(release.release_id, -_AGAIN_S) < _AGAIN_S:
                continue
            if self._elsewhere.get(release.release_id, self.encoder_id) != self.encoder_id:
                continue
            try:
                self.load(release, world.dense.dim)
            except OfAnotherEncoder as error:
                self._elsewhere = {release.release_id: error.encoder_id}
                log.info("sequence_model_waits", release_id=release.release_id, why=str(error))
            except ReleaseUnusable as error:
                self._refused[release.release_id] = time.monotonic()
                log.warning("release_unusable", release_id=release.release_id, why=str(error))
            else:
                changed = True
        changed |= self._try_newest(world.dense.dim, changed)
        return self.put_on(world) if changed or world.release_id != self.world_id else world

    def _try_newest(self, dim: int, changed: bool) -> bool:
        """Takes up the canary that there should be, or none. `changed`: what serves is other than before. Whether it
        is another one."""
        wanted = {
            role: one for role, one in self.candidates.items()
            if role not in self.loaded or one.sequence > self.loaded[role].sequence
        }  # fmt: skip
        ranker, held = wanted.get("ranker"), self.on_trial
        if ranker is None:  # it is announced last, and ends the trial first
            self.on_trial = None
            return held is not None
        if held is not None and not changed and held.releases == wanted and held.served.encoder_id == self.encoder_id:
            return False
        if time.monotonic() - self._refused.get(ranker.release_id, -_AGAIN_S) < _AGAIN_S:
            return False
        try:
            self.try_on(ranker.share or 0.0, wanted, dim)
        except ReleaseUnusable as error:
            self.on_trial = None
            self._refused[ranker.release_id] = time.monotonic()
            log.warning("canary_unusable", release_id=ranker.release_id, why=str(error), doing="serving all as before")
            return held is not None
        return True

    def try_on(self, share: float, releases: Mapping[str, Release], dim: int) -> None:
        """Takes these releases, a ranker among them, as the canary. Raises ReleaseUnusable."""
        beside = copy.copy(self)
        beside.loaded, beside.on_trial = dict(self.loaded), None
        for release in releases.values():
            beside.load(release, dim)
        self.on_trial = OnTrial(share, dict(releases), beside)

    def put_on(self, world: World) -> World:
        """The World with what is loaded."""
        device, canary = world.ranker.device, None
        if self.on_trial is not None:
            served = self.on_trial.served
            canary = Canary(
                self.on_trial.share, self.on_trial.releases["ranker"].release_id,
                Ranker(device, AdditiveRanker(served.learnt.ranker)), served.sequence, served.release_id,
                self.release_id,
            )  # fmt: skip
        ranker = Ranker(device, AdditiveRanker(self.learnt.ranker))
        return world.with_models(ranker, self.sequence, self.world_id, canary)

    def load(self, release: Release, dim: int) -> None:
        """Reads a release; `dim`: numbers of a World's vector. Raises ReleaseUnusable."""
        if release.schema_version > SCHEMA_VERSION:
            raise ReleaseUnusable(
                f"Release {release.release_id} has layout {release.schema_version}, and this version reads up to "
                f"{SCHEMA_VERSION}: update Headwater here."
            )
        arrays, meta = self.storage.load_arrays(release.release_id, release)
        if release.role == "ranker":
            self.ranker = _ranker_of(release, arrays, meta.get("feature_schema"))
        else:
            of = meta.get("encoder_id") or self.frozen_id
            if self.encoder_id is not None and of != self.encoder_id:
                raise OfAnotherEncoder(release, of, self.encoder_id)
            self.sequence = self._sequence_of(release, arrays, dim)
            self._sequence_of_encoder = of
        self.loaded[release.role] = release

    def _sequence_of(self, release: Release, arrays: Arrays, dim: int) -> SequenceModel:
        if release.base is None:
            raise ReleaseDamaged(f"Release {release.release_id} does not say which items it was learnt with.")
        items = self._item_side(release.release_id, release.base)
        try:
            if items["adapter"].shape[1] != dim:
                raise ReleaseUnusable(
                    f"Release {release.release_id} was learnt on vectors of {items['adapter'].shape[1]} numbers, and "
                    f"those here have {dim}: set the same HEADWATER_ENCODER for all roles."
                )
            held = self.sequence
            if held is not None and self._items_sha == release.base.sha256:
                made = held.with_users(arrays)  # the very same arrays tell a World that its item side is still right
            else:
                made = SequenceModel.of_sides(items, arrays)
        except (KeyError, RuntimeError, IndexError, ValueError) as error:
            if isinstance(error, ReleaseUnusable):
                raise
            raise ReleaseDamaged(f"Release {release.release_id} is no sequence model ({error!r}).") from error
        self._items_sha = release.base.sha256
        return _finite(release, made)

    def _item_side(self, name: str, base: Base) -> Arrays:
        if self._items is None or self._items[0] != base.sha256:
            self._items = (base.sha256, self.storage.load_arrays(f"{name} (its items)", base)[0])
        return self._items[1]


def _ranker_of(release: Release, arrays: Arrays, schema: object) -> np.ndarray:
    weights = arrays.get("weights")
    if weights is None:
        raise ReleaseDamaged(f"Release {release.release_id} holds no ranker.")
    if schema != FEATURE_SCHEMA or weights.shape != (len(CONTEXT), len(FEATURES)):
        raise ReleaseUnusable(
            f"Release {release.release_id} weighs the features of schema {schema}, and this version has "
            f"{FEATURE_SCHEMA}: run one version of Headwater in all roles."
        )
    if not np.isfinite(weights).all():
        raise ReleaseDamaged(f"Release {release.release_id} holds numbers that are none.")
    return weights.astype(np.float32)


def _finite(release: Release, model: SequenceModel) -> SequenceModel:
    arrays = [*model.item_side().values(), *model.user_side().values()]
    if not all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f"):
        raise ReleaseDamaged(f"Release {release.release_id} holds numbers that are none.")
    return model


def named(release_id: str) -> tuple[list[str], float, list[str]]:
    """(the releases that serve, a canary's share, its releases) of a World's `release_id`; 0 and none without one."""
    serving: list[str] = []
    tried: list[str] = []
    share = 0.0
    for name in release_id.split("+"):
        if name.startswith(_CANARY):
            _, said, own = name.split(":", 2)
            share = float(said)
            tried.append(own)
        elif name != "none":
            serving.append(name)
    return serving, share, tried
