"""Sources: a path of the user's -> the files in it, each as a stream of bytes, unpacked on the way.

In: a file, a folder, or a zip archive. Out: `Source`s by name, whose `chunks()` are plain bytes: gzip is recognised by
its first bytes, not by its name, and is unpacked piece by piece, so that a file that breaks off gives all that was
whole in it before `Truncated` says where it ended.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from streams.records.files import Unreadable

CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
_OTHERS = {b"BZh": "bzip2", b"\xfd7zX": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR"}


class Truncated(Exception):  # noqa: N818
    """The stream ended before its end, or its checksum is wrong. The message says at which byte."""


@dataclass(slots=True)
class Source:
    """One file. `size` in bytes as it lies there; `done` how many of them were read so far."""

    name: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    path: Path | None = None  # where it can be opened by path (Parquet needs that)
    done: int = 0

    def head(self) -> bytes:
        """The first bytes as they lie there."""
        with self.open() as file:
            return file.read(8)

    def chunks(self) -> Iterator[bytes]:
        """The bytes, unpacked if gzipped. Raises Truncated after the last whole piece, or Unreadable."""
        head = self.head()
        for magic, kind in _OTHERS.items():
            if head.startswith(magic):
                raise Unreadable(f"{self.name}: is packed with {kind}. Unpack it first; gzip and zip need not be.")
        pieces = self._pieces()
        yield from _unzipped(pieces) if head.startswith(_GZIP) else pieces

    def _pieces(self) -> Iterator[bytes]:
        self.done = 0
        try:
            with self.open() as file:
                while piece := file.read(CHUNK):
                    self.done += len(piece)
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:  # of a member of an archive
            raise Truncated(f"after byte {self.done:,}: {error}") from None
        except OSError as error:
            raise Unreadable(f"{self.name}: {error.strerror or error}") from None


def _unzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Gzip, also of several members one after the other; what follows the last one is ignored if it is only zeros."""
    unpack = zlib.decompressobj(wbits=31)
    done = 0
    for piece in pieces:
        start, data = done, piece
        done += len(piece)
        while data:
            if unpack.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
                unpack = zlib.decompressobj(wbits=31)
            try:
                out = unpack.decompress(data, CHUNK)
            except zlib.error as error:
                raise Truncated(f"after compressed byte {start:,}: {error}") from None
            if out:
                yield out
            data = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
    if not unpack.eof:
        rest = unpack.flush()
        if rest:
            yield rest
        raise Truncated(f"the gzip stream ends at compressed byte {done:,} without its end")


def sources(path: str) -> dict[str, Source]:
    """The files at `path` by their name: one for a file, all (also in folders inside) for a folder or a zip archive."""
    place = Path(path)
    try:
        if place.is_dir():
            found = sorted(p for p in place.rglob("*") if p.is_file() and not p.name.startswith("."))
            if not found:
                raise Unreadable(f"{path}: is an empty folder")
            return {str(p.relative_to(place)): file_at(p) for p in found}
        source = file_at(place)
        if source.head().startswith(b"PK\x03\x04"):
            return _members(place)
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None
    return {place.name: source}


def file_at(path: Path) -> Source:
    """The file at `path` as it lies there. Raises OSError."""
    return Source(str(path), path.stat().st_size, lambda: open(path, "rb"), path)


def _members(path: Path) -> dict[str, Source]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise Unreadable(
            f"{path}: a zip archive that cannot be opened ({error}). Its list of files stands at its end, so a copy "
            "that broke off holds none: fetch it again."
        ) from None
    found = {}
    for info in archive.infolist():
        if info.is_dir() or info.filename.startswith("__MACOSX/"):
            continue
        found[info.filename] = Source(
            f"{path}/{info.filename}",
            info.file_size,
            lambda name=info.filename: archive.open(name),  # type: ignore[misc]
        )
    return found


def named(files: dict[str, Source], *names: str) -> Source | None:
    """The file whose last name is one of `names`, the first of them first; `.gz` may follow. None if there is none."""
    for name in names:
        for found, source in files.items():
            last = found.rsplit("/", 1)[-1].lower()
            if last in (name, f"{name}.gz"):
                return source
    return None
