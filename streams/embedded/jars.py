"""Kafka's jars: the pinned list beside this file -> a class path of checked files in the per-user cache.

`kafka-jars.lock` names each jar with its full coordinate and sha256, so nothing is decided while it is
fetched: no version ranges, no dependency management. jgo, a Maven resolver written in Python, fetches what
the cache lacks. Every jar is checked each time a broker starts (45 MB, about 0.1 s), whoever put it into the
cache.

`python -m streams.embedded.jars` writes a new list after `KAFKA_VERSION` was changed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from streams.embedded.errors import DiskFull, NoNetwork, WrongChecksum

KAFKA_VERSION = "4.1.2"
SCALA_VERSION = "2.13"
LOCK = Path(__file__).with_name("kafka-jars.lock")


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar; `coordinate` is group:artifact:version, `sha256` in hex."""

    coordinate: str
    sha256: str

    @property
    def file_name(self) -> str:
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def pinned(lock: Path = LOCK) -> list[Jar]:
    """The jars of a lock file, in class path order."""
    lines = (line.partition("#")[0].split() for line in lock.read_text().splitlines())
    return [Jar(coordinate, sha256) for coordinate, sha256 in filter(None, lines)]


def missing(cache: Path, jars: Sequence[Jar] | None = None) -> list[Jar]:
    """The pinned jars that the cache does not hold."""
    return [jar for jar in jars or pinned() if not (_folder(cache) / jar.file_name).exists()]


def class_path(
    cache: Path,
    jars: Sequence[Jar] | None = None,
    *,
    repositories: dict[str, str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Files of all pinned jars, fetched where `cache` lacks them and checked.

    `repositories` (name -> URL) replaces the Maven repositories of jgo's own settings. Raises NoNetwork,
    WrongChecksum or DiskFull."""
    jars = jars or pinned()
    folder = _folder(cache)
    absent = missing(cache, jars)
    if absent:
        progress(f"Fetching Apache Kafka {KAFKA_VERSION}: {len(absent)} jars, once, into {folder}")
        _fetch(absent, folder, repositories)
    paths = [folder / jar.file_name for jar in jars]
    for jar, path in zip(jars, paths, strict=True):
        found = _sha256(path)
        if found != jar.sha256:
            raise WrongChecksum(
                f"{path} is not {jar.coordinate} as pinned: its sha256 is {found}, not {jar.sha256}.",
                "Delete that file and start again; it will be fetched anew. If that does not help, the "
                "repository it comes from serves another file: do not run it.",
            )
    return paths


def _folder(cache: Path) -> Path:
    return cache / f"kafka-{KAFKA_VERSION}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(jars: Sequence[Jar], folder: Path, repositories: dict[str, str] | None) -> None:
    """Fetch into a folder of its own, check, and only then move into place: a half jar is never seen."""
    # imported here: a start with a full cache needs neither
    import requests
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    remotes = repositories or {**GlobalSettings.load().repositories}
    if not repositories:
        remotes.setdefault("central", MAVEN_CENTRAL_URL)  # last, unless the user says otherwise
    scratch: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder.parent))
        context = MavenContext(repo_cache=scratch, remote_repos=remotes, timeout=30)

        def fetch(jar: Jar) -> None:
            group, artifact, version = jar.coordinate.split(":")
            path = context.project(group, artifact).at_version(version).artifact().resolve()
            found = _sha256(path)
            if found != jar.sha256:
                raise WrongChecksum(
                    f"{jar.coordinate}, as fetched, has the sha256 {found} and not the pinned {jar.sha256}.",
                    "The repository it came from serves another file, or something on the way changed it. "
                    "Nothing was kept. Try another network or Maven repository.",
                )
            os.replace(path, folder / jar.file_name)

        with ThreadPoolExecutor(8) as pool:
            try:
                for done in [pool.submit(fetch, jar) for jar in jars]:
                    done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # one failure is enough: do not wait out the others
                raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"No room for Kafka's jars (45 MB) in {folder}: {error.strerror}.",
                "Free some space, or set HEADWATER_CACHE_DIR to a folder on another disk.",
            ) from error
        if isinstance(error, requests.RequestException):  # an OSError too
            raise _unreachable(folder, error) from error
        raise
    except RuntimeError as error:  # what jgo raises for anything that a repository answers but a file
        raise _unreachable(folder, error) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _unreachable(folder: Path, error: Exception) -> NoNetwork:
    return NoNetwork(
        f"Apache Kafka's jars are not in {folder} and could not be fetched: {type(error).__name__}.",
        "The first start needs a Maven repository. Check the network (HTTPS_PROXY is honoured), name "
        "a mirror "
        f"in jgo's settings (~/.jgorc), copy {folder} from a machine that has it, or point "
        "HEADWATER_KAFKA_BOOTSTRAP_SERVERS at a Kafka of your own.",
    )


def _write_lock() -> None:
    """Resolve `KAFKA_VERSION` anew and write the lock file: the maintainer's tool, not used at run time."""
    import tomllib

    import jgo

    # The logging binding is resolved apart from Kafka: together, its managed versions pull in an old
    # kafka-clients.
    def resolve(endpoint: str) -> list[tuple[str, str]]:
        with (jgo.build(endpoint, update=True).path / "jgo.lock.toml").open("rb") as file:
            found = tomllib.load(file)["dependencies"]
        return [(f"{d['groupId']}:{d['artifactId']}:{d['version']}", d["sha256"]) for d in found]

    rows = resolve(f"org.apache.kafka:kafka_{SCALA_VERSION}:{KAFKA_VERSION}")
    log4j = next(row[0].rpartition(":")[2] for row in rows if row[0].startswith("org.apache.logging.log4j:log4j-core:"))
    binding = resolve(f"org.apache.logging.log4j:log4j-slf4j-impl:{log4j}")
    rows += [row for row in binding if ":log4j-slf4j-impl:" in row[0]]
    head = "# Jars of the embedded broker: coordinate, sha256. Written by `python -m streams.embedded.jars`.\n"
    LOCK.write_text(head + "".join(f"{coordinate} {sha256}\n" for coordinate, sha256 in rows))


if __name__ == "__main__":
    _write_lock()
