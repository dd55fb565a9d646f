"""The `headwater` command. Each group of commands has a module of its own; this one only lists them.

Modules here import what is heavy (torch, faust, ...) inside their functions, so that `headwater --help` is quick.
"""

from __future__ import annotations

import importlib
import sys

import typer

# one module of streams/cli a group; each has register(app)
GROUPS = (
    "services", "roles", "records", "people", "schemas", "demo", "bench", "imports", "outcomes", "experiment", "replay",
    "backtest", "releases", "quarantine",
)  # fmt: skip

app = typer.Typer(
    name="headwater",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="A real-time recommender that lives on Kafka.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    for name in GROUPS:
        importlib.import_module(f"streams.cli.{name}").register(app)
    sys.exit(app())
