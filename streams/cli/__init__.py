"""The `headwater` command. Each group of commands has a module of its own; this one only lists them.

Modules are imported when a command of theirs is asked for, so that `headwater --help` needs no torch.
"""

from __future__ import annotations

import sys

import typer

app = typer.Typer(
    name="headwater",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="A real-time recommender that lives on Kafka.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    from streams.cli import commands

    commands.register(app)
    sys.exit(app())
