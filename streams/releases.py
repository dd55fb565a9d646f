"""Release storage: what was learnt, as files at a URL (a folder, or object storage by fsspec).

In: the learner's Tallies and checkpoints. Out: files that a Release names by uri, sha256 and size, and
Statistics for whoever read such a Release. A file is whole or it is not there: it is written under another
name and then moved.

    <releases_location>/<namespace>/<role>/<sequence>-<created>-<sha>.safetensors
    <releases_location>/<namespace>/checkpoints/<name>.safetensors

What a process that was killed leaves half-written under a passing name is swept away by whoever comes later (`sweep`).

A statistics release is a whole set, or what differs from one (`base`), complete in itself: any reader gets to the
newest release with one whole set and one difference.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import fsspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from recsys.decay import HALF_LIVES_MS
from recsys.statistics import Statistics
from recsys.tallies import Priors, Tallies, overlay
from schemas.releases import Base, Release
from streams import faults
from streams.settings import Settings

SCHEMA_VERSION = 1
KEPT_MS = 7 * 86_400_000
"""Age at which a file that no newer release needs is removed."""
KEPT_BYTES = 4 << 30
"""Room for a namespace's files of a role; the oldest go first. Replays reach back as far as their releases do."""

_STRAY_MS = 600_000
"""Age at which a file under a passing name belongs to nobody who lives."""
_PASSING = ".tmp"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FOLDERS = ("statistics", "ranker", "sequence", "adapter", "encoder", "checkpoints")

Arrays = dict[str, NDArray[Any]]


class ReleaseUnusable(RuntimeError):  # noqa: N818
    """A release cannot be loaded, or written. Says which, why, and what to do.

    ReleaseUnusable
    +- StorageAway      the storage does not answer, or takes nothing: waiting may help
    |  +- StorageFull   there is no room
    +- ReleaseGone      there is no such file
    +- ReleaseDamaged   the file is not the one that was released
    """


class StorageAway(ReleaseUnusable):
    """The storage does not answer, or takes nothing now."""


class StorageFull(StorageAway):
    """There is no room in the storage."""


class ReleaseGone(ReleaseUnusable):
    """There is no file where the release says."""


class ReleaseDamaged(ReleaseUnusable):
    """The file's size, hash or layout is not what the release says."""


@dataclass(slots=True)
class ReleaseStorage:
    """The files of one namespace. Keeps the last whole set that it read or wrote in memory."""

    location: str
    namespace: str
    _base: tuple[str, Tallies] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, settings: Settings) -> ReleaseStorage:
        return cls(settings.releases_location, settings.namespace)

    # statistics
    # ----------------------------------------------------------------------------------------------
    def save_statistics(self, tallies: Tallies, sequence: int, created_ts: int, *, whole: bool) -> Base:
        """Writes a statistics file; where it is, its hash and its size."""
        data = tallies_to_bytes(tallies, "" if whole or self._base is None else self._base[0])
        digest = sha256(data).hexdigest()
        path = f"statistics/{sequence:010d}-{created_ts}-{digest[:16]}.safetensors"
        uri = self._write(path, data)
        if whole:
            self._base = (digest, tallies)
        return Base(uri=uri, sha256=digest, size=len(data))

    def load_statistics(self, release: Release) -> Statistics:
        """The Statistics of a release, from one or two files. Raises ReleaseUnusable."""
        if release.schema_version > SCHEMA_VERSION:
            raise ReleaseUnusable(
                f"Release {release.release_id} has layout {release.schema_version}, and this version reads up to "
                f"{SCHEMA_VERSION}: update Headwater here."
            )
        tallies = tallies_from_bytes(self.read(release.release_id, release), release.release_id)
        if release.base is not None:
            tallies = overlay(self._whole(release.release_id, release.base), tallies)
        else:
            self._base = (release.sha256, tallies)
        return Statistics.of(tallies, release.release_id)

    # models
    # ----------------------------------------------------------------------------------------------------
    def save_model(self, role: str, arrays: Arrays, meta: Mapping[str, Any], sequence: int, created_ts: int) -> Base:
        """Writes a model's file; where it is, its hash and its size."""
        data = to_bytes(arrays, meta)
        digest = sha256(data).hexdigest()
        uri = self._write(f"{role}/{sequence:010d}-{created_ts}-{digest[:16]}.safetensors", data)
        return Base(uri=uri, sha256=digest, size=len(data))

    def load_arrays(self, name: str, place: Base | Release) -> tuple[Arrays, dict[str, Any]]:
        """(arrays, the rest) of a model's file. Raises ReleaseUnusable."""
        return _from_bytes(self.read(name, place), f"release {name}")

    def _whole(self, release_id: str, base: Base) -> Tallies:
        with self._lock:
            if self._base is None or self._base[0] != base.sha256:
                data = self.read(f"{release_id} (its base)", base)
                self._base = (base.sha256, tallies_from_bytes(data, release_id))
            return self._base[1]

    def read(self, name: str, place: Base | Release) -> bytes:
        """The bytes of a file, checked against the size and hash in its release. Raises ReleaseUnusable."""
        try:
            fs, path = fsspec.url_to_fs(place.uri)
            data: bytes = fs.cat_file(path)
        except FileNotFoundError:
            raise ReleaseGone(
                f"Release {name} is gone: there is no file at {place.uri}. If it lies on another machine, set "
                "HEADWATER_RELEASES_URL to storage that all machines reach; if it was pruned, take a newer release."
            ) from None
        except Exception as error:
            raise ReleaseUnusable(
                f"Release {name} cannot be read from {place.uri} ({type(error).__name__}: {error}). Check "
                "HEADWATER_RELEASES_URL, and that this process may read there."
            ) from error
        if len(data) != place.size or sha256(data).hexdigest() != place.sha256:
            raise ReleaseDamaged(
                f"Release {name} is damaged: {place.uri} has {len(data)} bytes with another sha256 than the "
                f"{place.size} bytes that were released. Remove the file; the learner publishes a newer release."
            )
        return data

    def prune(self, now_ms: int, keep: set[str], role: str = "statistics") -> int:
        """Removes files of a role that are too old or too many; `keep` are uris. Returns how many went. What is out of
        reach is left for the next time."""
        gone, held = 0, 0
        with suppress(Exception):
            fs, folder = fsspec.url_to_fs(self._uri(role))
            kept_paths = {fsspec.url_to_fs(uri)[1] for uri in keep}
            files = sorted(
                (e for e in fs.ls(folder, detail=True) if e["name"].endswith(".safetensors")),
                key=lambda e: e["name"].rsplit("/", 1)[-1],
                reverse=True,
            )
            for entry in files:
                held += entry["size"] or 0
                created = int(entry["name"].rsplit("/", 1)[-1].split("-")[1])
                if entry["name"] not in kept_paths and (held > KEPT_BYTES or now_ms - created > KEPT_MS):
                    fs.rm_file(entry["name"])
                    gone += 1
        return gone

    def discard(self, places: Iterable[Base]) -> None:
        """Takes back files that no record names, as far as that can be done."""
        for place in places:
            with suppress(Exception):
                fs, path = fsspec.url_to_fs(place.uri)
                fs.rm_file(path)

    def sweep(self, now_ms: int) -> int:
        """Removes what processes that were killed left under passing names; how many files. What is out of reach is
        left for the next time."""
        gone = 0
        for name in _FOLDERS:
            with suppress(Exception):
                fs, folder = fsspec.url_to_fs(self._uri(name))
                for entry in fs.ls(folder, detail=True):
                    age = now_ms - 1000 * float(entry.get("mtime") or now_ms)
                    if entry["name"].endswith(_PASSING) and age > _STRAY_MS:
                        fs.rm_file(entry["name"])
                        gone += 1
        return gone

    # checkpoints
    # ---------------------------------------------------------------------------------------------
    def save_checkpoint(self, name: str, arrays: Arrays, meta: Mapping[str, Any]) -> None:
        """State and the offsets that belong to it, in one file: either both are the new ones, or neither."""
        self._write(f"checkpoints/{name}.safetensors", to_bytes(arrays, meta))

    def load_checkpoint(self, name: str) -> tuple[Arrays, dict[str, Any]] | None:
        """What was last saved, or None. Raises ReleaseDamaged if it cannot be made out, StorageAway."""
        uri = self._uri(f"checkpoints/{name}.safetensors")
        try:
            fs, path = fsspec.url_to_fs(uri)
            data: bytes = fs.cat_file(path)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise StorageAway(
                f"The checkpoint {uri} cannot be read ({type(error).__name__}: {error}). Check HEADWATER_RELEASES_URL, "
                "and that this process may read there."
            ) from error
        return _from_bytes(data, f"checkpoint {name}")

    # files
    # ---------------------------------------------------------------------------------------------------
    def _uri(self, path: str) -> str:
        return f"{self.location.rstrip('/')}/{self.namespace}/{path}"

    def _write(self, path: str, data: bytes) -> str:
        try:
            return self._put(path, data)
        except Exception as error:
            if _is_full(error):
                raise StorageFull(
                    f"There is no room for {len(data):,} bytes at {self._uri(path)} ({type(error).__name__}: {error}). "
                    "Make room there, or set HEADWATER_RELEASES_URL to storage that has some. Nothing is lost: what "
                    "serves goes on serving, learning goes on, and releases follow as soon as there is room."
                ) from error
            raise StorageAway(
                f"{len(data):,} bytes cannot be written to {self._uri(path)} ({type(error).__name__}: {error}). Check "
                "HEADWATER_RELEASES_URL, that there is room, and that this process may write there."
            ) from error

    def _put(self, path: str, data: bytes) -> str:
        fs, full = fsspec.url_to_fs(self._uri(path))
        fs.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
        stage = _stage(path)
        # object storage shows an upload when it is whole; in a folder it has to be moved into place
        if "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol):
            passing = f"{full}.{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}{_PASSING}"
            try:
                fs.pipe_file(passing, data)
                faults.passed(f"{stage}.write")
                os.replace(passing, full)
            except BaseException:
                if os.path.exists(passing):
                    os.unlink(passing)
                raise
        else:
            fs.pipe_file(full, data)
        faults.passed(f"{stage}.move")
        return str(fs.unstrip_protocol(full))


def _is_full(error: BaseException | None) -> bool:
    """Whether it says, or was caused by what says, that there is no room."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__
    return False


def _stage(path: str) -> str:
    """What `streams.faults` calls the file."""
    folder, _, name = path.partition("/")
    return f"{name.partition('.')[0]}-checkpoint" if folder == "checkpoints" else folder


def tallies_to_bytes(tallies: Tallies, base: str = "") -> bytes:
    """Neighbours go without their empty places: most items have few. `base`: sha256 of what they are a difference
    from, so that a file says by itself what else it takes."""
    there = tallies.neighbours != 0
    arrays = {
        "steps": tallies.steps,
        "keys": tallies.keys,
        "counts": tallies.counts,
        "first_ts": tallies.first_ts,
        "neighbour_counts": there.sum(axis=1).astype(np.uint8),
        "neighbours": tallies.neighbours[there],
        "neighbour_weights": tallies.weights[there],
    }
    meta = {
        "as_of": tallies.as_of,
        "half_lives_ms": HALF_LIVES_MS.tolist(),
        "priors": asdict(tallies.priors),
        "base": base,
    }
    return to_bytes(arrays, meta)


def tallies_from_bytes(data: bytes, name: str) -> Tallies:
    """Raises ReleaseDamaged for what `tallies_to_bytes` did not make."""
    arrays, meta = _from_bytes(data, f"release {name}")
    try:
        if meta["half_lives_ms"] != HALF_LIVES_MS.tolist():
            raise ReleaseUnusable(f"Release {name} decays with other half-lives: update Headwater here.")
        keys = arrays["keys"]
        whole = Tallies.blank(len(keys))
        there = np.arange(whole.neighbours.shape[1]) < arrays["neighbour_counts"][:, None]
        whole.neighbours[there] = arrays["neighbours"]
        whole.weights[there] = arrays["neighbour_weights"]
        return Tallies(
            meta["as_of"], arrays["steps"], keys, arrays["counts"], arrays["first_ts"],
            whole.neighbours, whole.weights, Priors(**meta["priors"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ReleaseDamaged(f"Release {name} is no statistics release ({error!r}).") from error


def base_of(data: bytes, name: str) -> str | None:
    """The sha256 of the whole set that a statistics file is a difference from, "" if it is one; None in files of
    before 0.2, which do not say. Raises ReleaseDamaged."""
    base: str | None = _from_bytes(data, f"release {name}")[1].get("base")
    return base


def to_bytes(arrays: Arrays, meta: Mapping[str, Any]) -> bytes:
    """A release file: the same bytes for the same contents."""
    # safetensors writes a strided array as if it were contiguous
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data: bytes = save(whole, {"headwater": json.dumps(meta)})
    return data


def _from_bytes(data: bytes, what: str) -> tuple[Arrays, dict[str, Any]]:
    try:
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        meta: dict[str, Any] = json.loads(header["__metadata__"]["headwater"])
        return arrays, meta
    except (SafetensorError, KeyError, ValueError) as error:
        raise ReleaseDamaged(f"The {what} cannot be made out ({error!r}).") from error
