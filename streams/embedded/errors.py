"""What can go wrong with an embedded service, each with what to do about it.

ServiceError
├── UnsupportedPlatform   no Java runtime or no Redis server for this machine
├── NoNetwork             Kafka's jars are not cached and could not be fetched
├── WrongChecksum         a jar is not the one that was pinned
├── DiskFull              too little room under the data folder
├── PortTaken             a port that was asked for by name is in use
├── FolderInUse           another process has the data folder open
├── FolderVersion         the data folder was written by another version
└── ServiceDied           a service ended while it was starting, or never answered
"""

from __future__ import annotations


class ServiceError(Exception):
    """A service could not be had. `problem` says what was wrong and where, `remedy` what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n{remedy}")
        self.problem = problem
        self.remedy = remedy


class UnsupportedPlatform(ServiceError):  # noqa: N818
    pass


class NoNetwork(ServiceError):  # noqa: N818
    pass


class WrongChecksum(ServiceError):  # noqa: N818
    pass


class DiskFull(ServiceError):  # noqa: N818
    pass


class PortTaken(ServiceError):  # noqa: N818
    pass


class FolderInUse(ServiceError):  # noqa: N818
    pass


class FolderVersion(ServiceError):  # noqa: N818
    pass


class ServiceDied(ServiceError):  # noqa: N818
    pass
