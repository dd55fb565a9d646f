"""`headwater import`: data sets and tables of others -> items.jsonl and events.jsonl, ready to replay, test or send."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.terminal import note, stop

if TYPE_CHECKING:
    from streams.imports.faults import Faults
    from streams.imports.mapping import Spec
    from streams.imports.run import Layout

Place = Annotated[str, typer.Argument(metavar="PATH", help="A file, a folder or a zip archive; gzip inside is fine.")]
Out = Annotated[Path, typer.Option(help="Folder for items.jsonl and events.jsonl; files of these names are replaced.")]
Strict = Annotated[bool, typer.Option("--strict", help="End at the first malformed row, and write nothing.")]
Tolerant = Annotated[bool, typer.Option("--tolerant", help="Exit 0 also where a file breaks off before its end.")]
Sort = Annotated[bool, typer.Option(help="Events in order of time; --no-sort keeps the order of the file.")]
Fill = Annotated[bool, typer.Option("--fill-items", help="Make items of ids that only events name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]

group = typer.Typer(no_args_is_help=True, help="Turn other people's logs into items.jsonl and events.jsonl.")


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="import")


@group.command()
def movielens(
    path: Place,
    out: Out = Path("."),
    strict: Strict = False,
    tolerant: Tolerant = False,
    sort: Sort = True,
    fill_items: Fill = False,
    json: AsJson = False,
) -> None:
    """Import MovieLens, any edition: the folder or the zip as GroupLens has it.

    Example: `headwater import movielens ml-latest-small.zip --out films`
    """
    from streams.imports.movielens import movielens

    with _faults(strict) as faults:
        _write(movielens(path, faults), out, faults, sort, fill_items, tolerant, json)


@group.command()
def amazon(
    path: Place,
    items: Annotated[str | None, typer.Option(help="The metadata, if they do not lie in the folder PATH.")] = None,
    out: Out = Path("."),
    text: Annotated[bool, typer.Option(help="Keep what the reviews say; --no-text leaves it out.")] = True,
    strict: Strict = False,
    tolerant: Tolerant = False,
    sort: Sort = True,
    fill_items: Fill = False,
    json: AsJson = False,
) -> None:
    """Import Amazon reviews in the layouts of 2014, 2018 and 2023: reviews, and metadata (`meta_...`) as items.

    Example: `headwater import amazon Video_Games.jsonl.gz --items meta_Video_Games.jsonl.gz --out games`
    """
    from streams.imports.amazon import amazon

    with _faults(strict) as faults:
        _write(amazon(path, items, faults, text=text), out, faults, sort, fill_items, tolerant, json)


@group.command()
def csv(
    path: Annotated[
        str | None, typer.Argument(metavar="[PATH]", help="The events; or a folder or zip with events and items in it.")
    ] = None,
    out: Out = Path("."),
    events: Annotated[str | None, typer.Option(help="The file of events.")] = None,
    items: Annotated[str | None, typer.Option(help="The file of items.")] = None,
    map: Annotated[list[str] | None, typer.Option(metavar="FIELD=COLUMN", help="May be given again.")] = None,
    set: Annotated[list[str] | None, typer.Option(metavar="FIELD=VALUE", help="The same in every row.")] = None,
    action: Annotated[str | None, typer.Option(help="The action of every event; short for --set action=...")] = None,
    ts_unit: Annotated[
        str | None, typer.Option(help="auto, s, ms, us, ns, iso, or a pattern such as %d/%m/%Y.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="What parts the cells; found out if not given. \\t is tab.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Names of the events' columns, if no header line has them.")
    ] = None,
    item_columns: Annotated[str | None, typer.Option(help="The same of the items.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="All of this in a TOML file, see below.")] = None,
    id_prefix: Annotated[str, typer.Option(help="Stands before the line in an event_id where no column is one.")] = "e",
    strict: Strict = False,
    tolerant: Tolerant = False,
    sort: Sort = True,
    fill_items: Fill = False,
    json: AsJson = False,
) -> None:
    """Import any delimited text (tab, comma, semicolon, |, ::) or Parquet. Columns are guessed by their names.

    FIELD is one of ours, such as `user_id`, `ts`, `value`, `context.shop`, `title`, `price.amount`, `attributes.size`;
    `items.item_id=...` and `events.item_id=...` mean one table only. What was decided is said on standard error.

    Example: `headwater import csv clicks.csv.gz --items products.csv --map user_id=visitor --action click --out shop`

    A mapping in TOML has [events] and [items], each with `file`, `ts_unit`, `delimiter`, `header`, `list_delimiter`
    and the tables `columns` and `constants`: `columns = { user_id = "visitor", ts = "when" }`.
    """
    from streams.imports.csv import tables
    from streams.imports.mapping import Spec, read_mapping

    with _faults(strict) as faults:
        specs = {"events": Spec(), "items": Spec()} | (read_mapping(mapping) if mapping else {})
        log, catalogue = specs["events"], specs["items"]
        log.file, catalogue.file = events or (None if path else log.file), items or catalogue.file
        _said(map or [], specs, "--map")
        _said([*(set or []), *([f"events.action={action}"] if action else [])], specs, "--set")
        log.ts_unit = ts_unit or log.ts_unit
        for spec in specs.values():
            spec.delimiter = delimiter.replace("\\t", "\t") if delimiter else spec.delimiter
        log.header = columns.split(",") if columns else log.header
        catalogue.header = item_columns.split(",") if item_columns else catalogue.header
        _write(tables(path, log, catalogue, faults, prefix=id_prefix), out, faults, sort, fill_items, tolerant, json)


def _said(pairs: list[str], specs: dict[str, Spec], option: str) -> None:
    """Puts FIELD=... into the spec of the table that it names, or of each that has such a field."""
    from streams.imports.mapping import FREE, GUESSES, known
    from streams.records.files import Unreadable

    for pair in pairs:
        name, parted, value = pair.partition("=")
        if not parted or not name or not value:
            raise Unreadable(f"{option} {pair}: expected FIELD={'COLUMN' if option == '--map' else 'VALUE'}")
        table, dot, rest = name.partition(".")
        tables = [table] if dot and table in specs else []
        name = rest if tables else name
        if not tables:
            tables = [t for t in specs if name in GUESSES[t] or name.startswith(FREE[t])]
        if not tables:
            known("events", name, f"{option} {pair}")
        if name == "item_id" and option == "--map" and len(tables) > 1:
            specs["items"].hints[name] = value  # the table of items may call it something else
            tables = ["events"]
        for one in tables:
            known(one, name, f"{option} {pair}")
            spec = specs[one]
            (spec.columns if option == "--map" else spec.constants)[name] = value


@contextmanager
def _faults(strict: bool) -> Iterator[Faults]:
    """Problems of the input end as one line and exit code 1; Ctrl-C leaves what stood in the folder."""
    from streams.imports.faults import Faults
    from streams.records.files import Unreadable

    try:
        yield Faults(note, strict)
    except Unreadable as error:
        stop(str(error))
    except ValueError as error:  # of an option, such as a unit of time
        stop(str(error))
    except KeyboardInterrupt:
        note("stopped; nothing was written")
        raise typer.Exit(130) from None


def _write(
    layout: Layout, out: Path, faults: Faults, sort: bool, fill: bool, tolerant: bool, json: bool
) -> None:  # fmt: skip
    from streams.imports.run import imported
    from streams.imports.show import tracking

    layout.fill = layout.fill or fill
    for line in layout.notes:
        note(line)
    with tracking(faults) as track:
        summary = imported(layout, out, faults, sort=sort, track=track)
    for line in summary.said():
        note(line)
    if json:
        from dataclasses import asdict

        import orjson

        print(orjson.dumps(asdict(summary)).decode())
    else:
        print(out / "items.jsonl")
        print(out / "events.jsonl")
    if summary.truncated and not tolerant:
        stop(
            "A file broke off before its end (see above). What could be read was written; --tolerant makes this exit 0."
        )
