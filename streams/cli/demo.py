"""`headwater demo`: the whole line at work, with simulated shoppers, on this machine."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end, until Ctrl-C.")] = False,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long the shoppers shop.")] = 45,
    shoppers: Annotated[int, typer.Option(min=1, max=9999, help="How many simulated shoppers.")] = 300,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one line of JSON, before the last line.")
    ] = False,
) -> None:
    """Watch shoppers' events go through Kafka, and ranked, reasoned recommendations come out.

    Starts Kafka, Redis and all roles on free ports over a fresh data folder, loads a catalogue of clothing,
    laptops, phones, games, films, books and help articles, and lets simulated shoppers with hidden, changing
    tastes click on what they are shown. Compares the rankings with plain popularity, by the same shoppers'
    tastes.

    Example: `headwater demo --seconds 30`, or `headwater demo --keep`
    """
    from streams.cli.services import _settings
    from streams.demo.run import run

    raise typer.Exit(run(_settings(), seconds=seconds, shoppers=shoppers, keep=keep, as_json=as_json))
