"""The data folder: one process at a time, of a known version, with room to write.

`<data_dir>/version.json` says who wrote it, `<data_dir>/lock` is locked while it is open and names the
process."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import IO

from streams.embedded.errors import DiskFull, FolderInUse, FolderVersion, ServiceError
from streams.embedded.jars import KAFKA_VERSION

# Grows by one whenever a start could not go on with what an older Headwater left.
LAYOUT = 1
LEAST_FREE_BYTES = 512 << 20
_FULL_BYTES = 8 << 20


class DataFolder:
    """Opened by `with`; raises FolderInUse, FolderVersion or DiskFull, or a ServiceError where it cannot be
    written."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self._lock: IO[str] | None = None

    def __enter__(self) -> Path:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = self._locked()
            self._check_version()
            self._check_room()
        except BaseException as error:
            self._release()
            if isinstance(error, OSError):
                raise _unwritable(self.path, error) from error
            raise
        return self.path

    def __exit__(self, *_: object) -> None:
        self._release()

    def _locked(self) -> IO[str]:
        # the lock is the kernel's and ends with the process that holds it, however that ends; the file stays
        file = (self.path / "lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise FolderInUse(
                f"The data folder {self.path} is in use by another Headwater (pid {holder}).",
                "Stop that one, or set HEADWATER_DATA_DIR to another folder to run a second one beside it.",
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        return file

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _check_version(self) -> None:
        path = self.path / "version.json"
        if path.exists():
            try:
                found = json.loads(path.read_text())
                layout, kafka = int(found["layout"]), str(found["kafka"])
            except (ValueError, KeyError, TypeError) as error:
                raise FolderVersion(
                    f"{path} cannot be read ({type(error).__name__}): the data folder's version is unknown.",
                    "Restore that file if the folder is Headwater's, or set HEADWATER_DATA_DIR to another folder.",
                ) from error
            if layout != LAYOUT or _number(kafka) > _number(KAFKA_VERSION):
                raise FolderVersion(
                    f"The data folder {self.path} was written by another version: layout {layout}, Kafka "
                    f"{kafka}; this Headwater has layout {LAYOUT}, Kafka {KAFKA_VERSION}.",
                    "Run the version that wrote it, or set HEADWATER_DATA_DIR to a new folder and load the data again.",
                )
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps({"layout": LAYOUT, "kafka": KAFKA_VERSION}) + "\n")
        scratch.replace(path)

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.path).free
        if free < LEAST_FREE_BYTES:
            raise DiskFull(
                f"Only {free >> 20} MB are free in {self.path}; Kafka and Redis want at least "
                f"{LEAST_FREE_BYTES >> 20} MB.",
                "Free some space, or set HEADWATER_DATA_DIR to a folder on a larger disk.",
            )


def disk_full(path: Path, what: str, log: str = "", error: OSError | None = None) -> DiskFull | None:
    """The error to raise if `log`, `error` or the disk itself say that `what` failed for lack of room; else None.

    On a full disk the log is often empty: there was no room for it either.
    """
    told = "No space left on device" in log or "Disk quota exceeded" in log
    told = told or (error is not None and error.errno in (errno.ENOSPC, errno.EDQUOT))
    if not told and shutil.disk_usage(path).free > _FULL_BYTES:
        return None
    return DiskFull(
        f"{what}: no space is left in {path}.",
        "Free some space, or set HEADWATER_DATA_DIR to a folder on a larger disk.",
    )


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _unwritable(path: Path, error: OSError) -> ServiceError:
    there = next(one for one in (path, *path.parents) if one.exists())
    if full := disk_full(there, f"The data folder {path} cannot be written", error=error):
        return full
    return ServiceError(
        f"The data folder {path} cannot be used: {error.strerror}.",
        "Set HEADWATER_DATA_DIR to a folder that you may write to.",
    )
