"""`headwater replay`: a log once more, from files or from Kafka, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.records import FileFormat
from streams.cli.terminal import connected, note, stop

if TYPE_CHECKING:
    from streams.replay.span import Span
    from streams.settings import Settings

_FROM, _WHAT, _AFTER = "From files", "Both", "Afterwards"


def register(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    items: Annotated[
        list[str] | None,
        typer.Option("--items", metavar="FILE", help="The catalogue: JSONL (.gz too), CSV, Parquet; may be repeated."),
    ] = None,
    events: Annotated[
        list[str] | None,
        typer.Option("--events", metavar="FILE", help="The log, in the order it is to be read; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where recommendations go.")] = None,
    release: Annotated[
        str | None,
        typer.Option(
            "--release", metavar="R", help="Pin the statistics: a release's id, its file, or a file with its record."
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TS|EVENT_ID", help="Write only what later events cause.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TS|EVENT_ID", help="Stop there.")] = None,
    from_topic: Annotated[
        bool, typer.Option("--from-topic", help="Read Kafka instead of files; the journal says which World served.")
    ] = False,
    tolerant: Annotated[
        bool, typer.Option("--tolerant", help="Where a World cannot be made again, go on with the nearest and say so.")
    ] = False,
    format: Annotated[FileFormat | None, typer.Option(help="What the files hold.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End at the first row that is no record.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send a log through the same step that runs live, and print the digest of what it recommends.

    Example: `headwater replay --items items.jsonl --events events.jsonl --out recs.jsonl`
    """
    if from_topic:
        with _problems(), connected() as (_place, settings):
            _from_topic(settings, out, _span(since, until), tolerant, json)
        return
    with _problems() as settings:
        if not items or not events:
            stop("Give --items and --events.")
        _from_files(settings, items, events, out, release, _span(since, until), format, strict, json)


def _from_topic(settings: Settings, out: Path | None, span: Span, tolerant: bool, json: bool) -> None:
    from streams.replay.player import Player
    from streams.replay.recording import Recording
    from streams.replay.shelf import Shelf
    from streams.replay.topics import replay_topic
    from streams.replay.watching import watching

    with Recording() as recording, Shelf() as shelf, watching() as watch:
        player = Player(settings.policy, shelf, recording)
        replay_topic(settings, player, span, watch, tolerant=tolerant)
        digest = recording.digest() if out is None else recording.write(out)
        found = {"digest": digest, **player.tally.as_dict()}
        for line in player.tally.failures:
            note(line)
    _print(found, json)


def _from_files(
    settings: Settings,
    items: list[str],
    events: list[str],
    out: Path | None,
    release: str | None,
    span: Span,
    format: FileFormat | None,
    strict: bool,
    json: bool,
) -> None:
    from streams.replay.files import Sources, replay_files
    from streams.replay.player import Player
    from streams.replay.recording import Recording
    from streams.replay.shelf import Shelf
    from streams.replay.watching import watching

    sources = Sources(items, events, None if format is None else format.value, release)
    with Recording() as recording, Shelf() as shelf, watching() as watch:
        player = Player(settings.policy, shelf, recording)
        world = replay_files(sources, settings, player, span, watch, strict=strict)
        digest = recording.digest() if out is None else recording.write(out)
        found = {"digest": digest, **player.tally.as_dict(), "world": world.names}
        for line in player.tally.failures:
            note(line)
    _print(found, json)


def _span(since: str | None, until: str | None) -> Span:
    from streams.replay.span import Mark, Span

    return Span(None if since is None else Mark.parse(since), None if until is None else Mark.parse(until))


@contextmanager
def _problems() -> Iterator[Settings]:
    """The settings; what is wrong outside ends as one line and exit code 1."""
    import gc

    from pydantic import ValidationError

    from streams.models import ModelMissing
    from streams.observe import logs
    from streams.records.files import Unreadable
    from streams.releases import ReleaseUnusable
    from streams.replay.errors import ReplayError
    from streams.settings import settings

    try:
        base = settings()
    except ValidationError as error:
        said = "; ".join(f"HEADWATER_{'__'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors())
        stop(f"A setting is not right: {said}. `headwater doctor` shows all.")
    logs.configure("warning", base.log_format)
    gc.set_threshold(50_000, 50, 100)  # as in a worker: a step makes many objects that die at once
    try:
        yield base
    except (ReplayError, Unreadable, ReleaseUnusable, ModelMissing) as error:
        stop(str(error))
    except OSError as error:
        stop(f"{error.filename or 'a file'}: {error.strerror or error}")
    except KeyboardInterrupt:
        note("stopped; nothing was written")
        raise typer.Exit(130) from None


def _print(found: dict[str, Any], json: bool) -> None:
    import orjson

    if json:
        print(orjson.dumps(found).decode())
        return
    letters = ", ".join(f"{reason} {count:,}" for reason, count in found["dead_letters"].items()) or "none"
    rate = f", {found['events_per_second']:,.0f}/s" if found["events_per_second"] else ""
    print(f"digest           {found['digest']}")
    print(f"recommendations  {found['recommendations']:,}")
    print(f"events           {found['events']:,}{rate}")
    print(f"dead letters     {letters}")
    if found["unsorted"]:
        print(f"out of order     {found['unsorted']:,} events are earlier than one before them; the order was kept")
    if found["unknown_items"]:
        print(f"unknown items    {found['unknown_items']:,} interactions are with items that are not in the catalogue")
