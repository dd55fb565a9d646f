"""Pinned: the releases that a replay from files is to use, by their ids, a file, or a record.

In: what was given to `--release`. Out: Statistics, the text encoder, and a World with the models, which have the
releases' ids, as every recommendation will name them. They are loaded and put on by the same code as in a worker
(`streams.encoders`, `streams.served`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import fsspec
import orjson
from pydantic import ValidationError

from recsys.statistics import Statistics
from recsys.world import World
from schemas.releases import Base, Release, TrainedThrough
from streams.encoders import ROLE as ENCODER
from streams.encoders import Encoder, encoder_of, loader
from streams.releases import SCHEMA_VERSION, Arrays, ReleaseStorage
from streams.replay.errors import ReplayError
from streams.served import ROLES, OfAnotherEncoder, Served
from streams.settings import Settings

NONE = "none"
_ID = re.compile(r"(statistics|encoder|ranker|sequence)-([0-9a-f]{10})-([0-9]+)")
_FILE = re.compile(r"([0-9]{10,})-([0-9]+)-([0-9a-f]{16})\.safetensors")
_ADAPTER = "adapter"


@dataclass(frozen=True, slots=True)
class Pinned:
    """At most one release a role."""

    storage: ReleaseStorage
    releases: dict[str, Release] = field(default_factory=dict)

    def statistics(self) -> Statistics | None:
        """None where no statistics are pinned. Raises ReleaseUnusable."""
        release = self.releases.get("statistics")
        return None if release is None else self.storage.load_statistics(release)

    def encoder(self, frozen_id: str | None) -> Encoder | None:
        """The text encoder; None where none is pinned. `frozen_id`: of the frozen one here. Raises ReleaseUnusable."""
        release = self.releases.get(ENCODER)
        return None if release is None else encoder_of(release, frozen_id, loader(self.storage))

    def onto(self, world: World, frozen_id: str | None, encoder: Encoder | None) -> World:
        """The World, which has the vectors of the pinned `encoder`, if any, with the models; itself where nothing is
        pinned. Raises ReleaseUnusable, ReplayError."""
        served = Served(self.storage, encoder_id=frozen_id, frozen_id=frozen_id)
        if encoder is not None:
            served.encoded_by(encoder.encoder_id, encoder.release)
        for role in ROLES:
            if role in self.releases:
                try:
                    served.load(self.releases[role], world.dense.dim)
                except OfAnotherEncoder as error:
                    raise ReplayError(
                        f"{error} Pin the release of its encoder with it (`--release encoder-...+sequence-...`); for "
                        "the frozen one pin no encoder, and set HEADWATER_ENCODER to the model that served."
                    ) from error
        return served.put_on(world) if served.loaded or encoder is not None else world


def pinned_releases(settings: Settings, wanted: str, say: Callable[[str], None]) -> Pinned:
    """Raises ReplayError, ReleaseUnusable. `say` is told what had to be taken for granted.

    `wanted`: ids of releases (`statistics-0123456789-17`, `sequence-...-3`) whose files lie in release storage, joined
    by `+` as a World's `release_id` joins them, in any order; or the URL or path of a file, with what it builds on
    beside it; or a file that holds a record, as `headwater tail releases --json` prints it; or `none`.
    """
    found = Pinned(ReleaseStorage.of(settings))
    whole = wanted.endswith(".safetensors") or Path(wanted).is_file()
    for part in [wanted] if whole else wanted.split("+"):
        if part == NONE:
            continue
        release = _found(settings, found.storage, part, say)
        if release.role not in ("statistics", ENCODER, *ROLES):
            raise ReplayError(
                f"{release.release_id} has the role {release.role}, which no World uses by itself: pin releases of the "
                f"roles statistics, {ENCODER}, {' and '.join(ROLES)}. A sequence release brings its adapter along."
            )
        other = found.releases.setdefault(release.role, release)
        if other != release:
            raise ReplayError(f"{other.release_id} and {part} have the same role: pin one {release.role} release.")
    return found


def pinned_statistics(settings: Settings, wanted: str) -> Statistics | None:
    """The statistics among what `wanted` names; None where there are none. Raises ReplayError, ReleaseUnusable."""
    return pinned_releases(settings, wanted, lambda _: None).statistics()


def _found(settings: Settings, storage: ReleaseStorage, wanted: str, say: Callable[[str], None]) -> Release:
    if wanted.endswith(".safetensors"):
        folder, _, name = wanted.rpartition("/")
        return _described(storage, folder or ".", name, None, say)
    if Path(wanted).is_file():
        return _record(Path(wanted))
    named = _ID.fullmatch(wanted)
    if named is None:
        raise ReplayError(
            f"{wanted} is no release: neither a file, nor an id such as statistics-0123456789-17. `headwater tail "
            "releases --from-beginning --json` shows the ids; `none` is the World before any release."
        )
    folder = f"{settings.releases_location.rstrip('/')}/{settings.namespace}/{named[1]}"
    # a release that an operator made serve again has a sequence of its own, and the file of before
    file = _named(folder, f"{int(named[3]):010d}-", named[2]) or _named(folder, "", named[2])
    if file is None:
        raise ReplayError(
            f"Release {wanted} has no file in {folder}. HEADWATER_RELEASES_URL or HEADWATER_DATA_DIR, and "
            "HEADWATER_NAMESPACE, say where to look; a release that was pruned is gone."
        )
    return _described(storage, folder, file, wanted, say)


def _record(path: Path) -> Release:
    try:
        found = orjson.loads(path.read_bytes())
        return Release.model_validate(found.get("value", found))
    except (ValueError, AttributeError, ValidationError) as error:
        raise ReplayError(
            f"{path} holds no record of a release ({str(error).splitlines()[0]}). Give one as `headwater tail "
            "releases --json` prints it, or the id of a release."
        ) from None


def _described(
    storage: ReleaseStorage, folder: str, name: str, release_id: str | None, say: Callable[[str], None]
) -> Release:
    """The Release of a file, made from its name and its contents."""
    parts = _FILE.fullmatch(name)
    if parts is None:
        raise ReplayError(f"{name} is no release's file: those are called <sequence>-<created>-<hash>.safetensors.")
    place = _place(folder, name)
    arrays, meta = storage.load_arrays(name, place)
    role, sequence, created = _role_of(arrays), int(parts[1]), int(parts[2])
    under = None
    if role == "statistics":
        under = _whole_set(folder, name, meta)
    elif role == "sequence":
        under = _item_side(folder, name, created, meta, say)
    return Release(
        release_id=release_id or f"{role}-{place.sha256[:10]}-{sequence}", role=role, sequence=sequence,
        created_ts=created, trained_through=TrainedThrough(ts=0, offsets={}), uri=place.uri,
        sha256=place.sha256, size=place.size, schema_version=SCHEMA_VERSION, status="serving", base=under,
    )  # fmt: skip


def _role_of(arrays: Arrays) -> Any:
    if "weights" in arrays:
        return "ranker"
    if any(name.startswith("gru.") for name in arrays):
        return "sequence"
    if "adapter" in arrays:
        return _ADAPTER
    # what it adds to each linear module; nothing at all is the frozen encoder, released
    return ENCODER if all(name.endswith((".A", ".B")) for name in arrays) else "statistics"


def _whole_set(folder: str, name: str, meta: dict[str, Any]) -> Base | None:
    """What a statistics file is a difference from; None if it is whole."""
    base = meta.get("base")
    if base is None:
        raise ReplayError(
            f"{folder}/{name} does not say whether it is whole or a difference, as files of before 0.2. Give the "
            "release's record instead: `headwater tail releases --from-beginning --json`."
        )
    if not base:
        return None
    other = _named(folder, "", base[:16])
    if other is None:
        raise ReplayError(f"{folder}/{name} is a difference from a file *-{base[:16]}.safetensors, which is gone.")
    return _place(folder, other)


def _item_side(folder: str, name: str, created: int, meta: dict[str, Any], say: Callable[[str], None]) -> Base:
    """The items that a sequence release was learnt with: beside it, or in the folder of adapters beside its own."""
    beside = f"{folder.rpartition('/')[0] or '.'}/{_ADAPTER}"
    base = meta.get("base")
    for place in (folder, beside):
        if base and (other := _named(place, "", base[:16])) is not None:
            return _place(place, other)
    if base:
        raise ReplayError(f"{folder}/{name} was learnt with the items *-{base[:16]}.safetensors, which are gone.")
    # a learner that released items went on with them: those of its own moment, else the latest before
    earlier = [(int(parts[2]), one) for one, parts in _files(beside) if int(parts[2]) <= created]
    if not earlier:
        raise ReplayError(
            f"{folder}/{name} does not say which items it was learnt with, and {beside} has none of before it. Give "
            "the release's record instead: `headwater tail releases --from-beginning --json`."
        )
    when, other = max(earlier)
    if when != created:
        say(
            f"{name} does not say which items it was learnt with: taking the latest of before it, {beside}/{other}. "
            "If an operator rolled back in between, give the release's record instead."
        )
    return _place(beside, other)


def _place(folder: str, name: str) -> Base:
    fs, path = fsspec.url_to_fs(f"{folder}/{name}")
    try:
        data: bytes = fs.cat_file(path)
    except FileNotFoundError:
        raise ReplayError(f"There is no file {folder}/{name}.") from None
    return Base(uri=str(fs.unstrip_protocol(path)), sha256=sha256(data).hexdigest(), size=len(data))


def _files(folder: str) -> list[tuple[str, re.Match[str]]]:
    """Names of the releases' files in a folder, with their parts."""
    fs, path = fsspec.url_to_fs(folder)
    try:
        names = [str(one).rsplit("/", 1)[-1] for one in fs.ls(path, detail=False)]
    except FileNotFoundError:
        return []
    return [(name, parts) for name in names if (parts := _FILE.fullmatch(name))]


def _named(folder: str, begins: str, digest: str) -> str | None:
    """The name of the file in `folder` that begins so, and whose hash begins with `digest`."""
    for name, parts in _files(folder):
        if name.startswith(begins) and parts[3].startswith(digest):
            return name
    return None
