"""`headwater up` as it is, with roles of stub_role.py. Started as a process by the supervisor's tests."""

import functools
import sys
from pathlib import Path

import typer

from streams import supervisor
from streams.cli import services

STUB = Path(__file__).with_name("stub_role.py")


def command(role: str, port: int) -> list[str]:
    return [sys.executable, str(STUB), role, "--port", str(port)]


supervisor.Supervisor = functools.partial(supervisor.Supervisor, command=command)  # type: ignore[misc, assignment]
app = typer.Typer()
services.register(app)
app()
