"""`headwater schemas`: the records and topics as documents, for those who produce and consume them.

In: the models and the settings. Out: JSON Schema files and an AsyncAPI document, or both on stdout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="What the records and topics look like.")
    group.command()(export)
    # a second command or this callback keeps `export` a word of its own
    group.callback()(_group)
    app.add_typer(group, name="schemas")


def _group() -> None:
    """What the records and topics look like."""


def export(
    out: Annotated[
        Path | None, typer.Option(help="Folder to write into; without it everything goes to stdout.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list of files as JSON.")] = False,
) -> None:
    """Write the JSON Schema of each record, and an AsyncAPI 3 document of all topics.

    Example: `headwater schemas export --out schemas-out`
    """
    from importlib.metadata import version

    import orjson

    from schemas.documents import asyncapi, json_schemas
    from streams.settings import settings

    now = settings()
    topics = asyncapi(now.namespace, now.kafka_partitions, version("headwater"), now.max_record_bytes)
    if out is None:
        _print({"asyncapi": topics, "schemas": json_schemas()})
        return
    documents = {f"{name}.schema.json": schema for name, schema in json_schemas().items()}
    documents["asyncapi.json"] = topics
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, document in documents.items():
            (out / name).write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        typer.echo(f"Can't write to {out}: {error.strerror}. Choose another folder with --out.", err=True)
        raise typer.Exit(1) from None
    written = [str(out / name) for name in documents]
    if as_json:
        _print(written)
    else:
        typer.echo("\n".join(written))


def _print(data: object) -> None:
    import orjson

    typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())
