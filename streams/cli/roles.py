"""The roles as commands: what `headwater up` starts, and what one starts by hand beyond one machine.

In: a port for health and metrics. Out: a process that runs until SIGTERM. Settings come from the environment and the
settings file, as everywhere.
"""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

Port = Annotated[int, typer.Option("--port", help="Port of /livez, /readyz and /metrics; 0: a free one.")]


def register(app: typer.Typer) -> None:
    app.command("worker")(worker)
    app.command("learner")(learner)
    app.command("encoder")(encoder)
    app.command("console")(console)


def worker(port: Port = 0) -> None:
    """Serve: events in, recommendations out. Start as many as there are partitions, at most.

    Example: `HEADWATER_WORKER_ID=worker-7 headwater worker --port 9107`
    """
    _run("streams.worker.role", port)


def learner(port: Port = 0) -> None:
    """Learn: one is active, any others stand by.

    Example: `headwater learner --port 9108`
    """
    _run("streams.learner.role", port)


def encoder(port: Port = 0) -> None:
    """Turn the texts of items into vectors: one is active, any others stand by.

    Example: `headwater encoder --port 9109`
    """
    _run("streams.learner.encoding", port)


def console(port: Port = 0) -> None:
    """Serve the page, the health and the metrics of all roles.

    Example: `headwater console --port 8080`
    """
    _run("streams.console.role", port)


def _run(module: str, port: int) -> None:
    """Runs the role of a module."""
    from streams.settings import settings
    from streams.threads import pin_threads

    pin_threads(settings())
    importlib.import_module(module).run(settings(), port)
