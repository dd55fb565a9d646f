"""Pinned: the statistics of one release, by its id, its file, or its record.

In: what was given to `--release`. Out: Statistics with the release's id, as every recommendation will name it.
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import fsspec
import orjson
from pydantic import ValidationError

from recsys.statistics import Statistics
from schemas.releases import Base, Release, TrainedThrough
from streams.releases import SCHEMA_VERSION, ReleaseStorage, base_of
from streams.replay.errors import ReplayError
from streams.settings import Settings

_ID = re.compile(r"statistics-([0-9a-f]{10})-([0-9]+)")
_FILE = re.compile(r"([0-9]{10,})-([0-9]+)-([0-9a-f]{16})\.safetensors")


def pinned_statistics(settings: Settings, wanted: str) -> Statistics | None:
    """None for "none". Raises ReplayError, ReleaseUnusable.

    `wanted`: the id of a release (`statistics-0123456789-17`) whose files lie in release storage; the URL or path of
    its file, with what it builds on beside it; or a file that holds its record, as `headwater tail releases --json`
    prints it.
    """
    if wanted == "none":
        return None
    storage = ReleaseStorage.of(settings)
    if wanted.endswith(".safetensors"):
        folder, _, name = wanted.rpartition("/")
        return storage.load_statistics(_described(folder or ".", name))
    if Path(wanted).is_file():
        return storage.load_statistics(_record(Path(wanted)))
    named = _ID.fullmatch(wanted)
    folder = f"{settings.releases_location.rstrip('/')}/{settings.namespace}/statistics"
    if named is None:
        raise ReplayError(
            f"{wanted} is no release: neither a file, nor an id such as statistics-0123456789-17. `headwater tail "
            "releases --from-beginning --json` shows the ids; `none` is the World before any release."
        )
    found = _named(folder, f"{int(named[2]):010d}-", named[1])
    if found is None:
        raise ReplayError(
            f"Release {wanted} has no file in {folder}. HEADWATER_RELEASES_URL or HEADWATER_DATA_DIR, and "
            "HEADWATER_NAMESPACE, say where to look; a release that was pruned is gone."
        )
    return storage.load_statistics(_described(folder, found))


def _record(path: Path) -> Release:
    try:
        found = orjson.loads(path.read_bytes())
        return Release.model_validate(found.get("value", found))
    except (ValueError, AttributeError, ValidationError) as error:
        raise ReplayError(
            f"{path} holds no record of a release ({str(error).splitlines()[0]}). Give one as `headwater tail "
            "releases --json` prints it, or the id of a release."
        ) from None


def _described(folder: str, name: str) -> Release:
    """The Release of a statistics file, made from its name and its contents."""
    parts = _FILE.fullmatch(name)
    if parts is None:
        raise ReplayError(f"{name} is no statistics file: those are called <sequence>-<created>-<hash>.safetensors.")
    data, place = _read(folder, name)
    base = base_of(data, name)
    if base is None:
        raise ReplayError(
            f"{folder}/{name} does not say whether it is whole or a difference, as files of before 0.2. Give the "
            "release's record instead: `headwater tail releases --from-beginning --json`."
        )
    under = None
    if base:
        other = _named(folder, "", base[:16])
        if other is None:
            raise ReplayError(f"{folder}/{name} is a difference from a file *-{base[:16]}.safetensors, which is gone.")
        under = _read(folder, other)[1]
    sequence = int(parts[1])
    return Release(
        release_id=f"statistics-{place.sha256[:10]}-{sequence}", role="statistics", sequence=sequence,
        created_ts=int(parts[2]), trained_through=TrainedThrough(ts=0, offsets={}), uri=place.uri,
        sha256=place.sha256, size=place.size, schema_version=SCHEMA_VERSION, status="serving", base=under,
    )  # fmt: skip


def _read(folder: str, name: str) -> tuple[bytes, Base]:
    fs, path = fsspec.url_to_fs(f"{folder}/{name}")
    try:
        data: bytes = fs.cat_file(path)
    except FileNotFoundError:
        raise ReplayError(f"There is no file {folder}/{name}.") from None
    return data, Base(uri=str(fs.unstrip_protocol(path)), sha256=sha256(data).hexdigest(), size=len(data))


def _named(folder: str, begins: str, digest: str) -> str | None:
    """The name of the file in `folder` that begins so, and whose hash begins with `digest`."""
    fs, path = fsspec.url_to_fs(folder)
    try:
        names = [str(one).rsplit("/", 1)[-1] for one in fs.ls(path, detail=False)]
    except FileNotFoundError:
        return None
    for name in names:
        parts = _FILE.fullmatch(name)
        if parts and name.startswith(begins) and parts[3].startswith(digest):
            return name
    return None
