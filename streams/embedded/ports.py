"""Which loopback port a service listens on: the usual one if it is free, else any free one."""

from __future__ import annotations

import socket

from streams.embedded.errors import PortTaken

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """True if nothing listens on `port` of the loopback address, whether bound to it or to all addresses."""
    with socket.socket() as probe:
        # a port whose last connections are still in TIME_WAIT counts as free, so that a restart keeps its
        # port
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((LOOPBACK, port)) != 0


def any_free() -> int:
    """A port that is free now. Another process may take it before it is used, so callers try again."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def choose(preferred: int, *, demanded: bool, service: str, setting: str) -> int:
    """`preferred` if it is free; else another one, or `PortTaken` where the port was `demanded`. 0 means
    any."""
    if preferred == 0:
        return any_free()
    if is_free(preferred):
        return preferred
    if demanded:
        raise PortTaken(
            f"Port {preferred} on {LOOPBACK} is taken, so {service} cannot listen there as {setting} demands.",
            f"Stop what listens on it, set {setting} to another port (0: any free one), or leave it unset.",
        )
    return any_free()
