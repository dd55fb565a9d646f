"""`headwater replay`: a log once more, from files or from Kafka, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.records import FileFormat
from streams.cli.terminal import connected, console, note, stop

if TYPE_CHECKING:
    from streams.replay.recording import Recording
    from streams.replay.span import Span
    from streams.settings import Settings

_FILES, _TOPIC, _BOTH, _AFTER = "From files", "From Kafka", "Either way", "What came out"


def register(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    items: Annotated[
        list[str] | None,
        typer.Option(
            "--items", metavar="FILE", rich_help_panel=_FILES,
            help="The catalogue: JSONL (.gz too), CSV or Parquet; may be repeated.",
        ),
    ] = None,
    events: Annotated[
        list[str] | None,
        typer.Option(
            "--events", metavar="FILE", rich_help_panel=_FILES,
            help="The log, in the order in which it is to be applied; may be repeated.",
        ),
    ] = None,
    release: Annotated[
        str | None,
        typer.Option(
            "--release", metavar="R", rich_help_panel=_FILES,
            help="Pin what was learnt: ids of releases joined by +, a file, or a file with a record. Without: none.",
        ),
    ] = None,
    format: Annotated[FileFormat | None, typer.Option(help="What the files hold.", rich_help_panel=_FILES)] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="End at the first row that is no record.", rich_help_panel=_FILES)
    ] = False,
    from_topic: Annotated[
        bool,
        typer.Option(
            "--from-topic", rich_help_panel=_TOPIC,
            help="The events topic, as it stands now, each stretch in the World that the journal names.",
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", rich_help_panel=_TOPIC,
            help="Compare with the recommendations topic; exit code 1 if they differ. Implies --from-topic.",
        ),
    ] = False,
    tolerant: Annotated[
        bool,
        typer.Option(
            "--tolerant", rich_help_panel=_TOPIC,
            help="Where a World cannot be made again, go on with the nearest one and say so.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="One recommendation a line.", rich_help_panel=_BOTH)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TS|EVENT_ID", rich_help_panel=_BOTH,
            help="Write only what later events cause. Earlier ones are applied all the same.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TS|EVENT_ID", rich_help_panel=_BOTH,
            help="Stop there: behind the event of this id, or each user before their first event later than this time.",
        ),
    ] = None,
    digest: Annotated[
        str | None,
        typer.Option("--digest", metavar="FILE", help="Print the digest of what --out wrote.", rich_help_panel=_AFTER),
    ] = None,
    explain_diff: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--explain-diff", metavar="A B", rich_help_panel=_AFTER,
            help="Say where two files of --out part, and why.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=_BOTH)] = False,
) -> None:  # fmt: skip
    """Send a log through the step that runs live, without services, and print the digest of what it recommends.

    The order of the log is kept, also where it goes back in time; time is that of the events. Rows that are no records
    are told by file and line, counted, and left out, as a worker would. Items count from the start, and the statistics
    stand still; from Kafka, both are as the worker had them.

    The digest is the sha256 of the lines without their `timing`, newlines included, ordered by record key (the user_id,
    by its bytes) and within a key by the log, each rec_id once. The lines of --out stand in that order. It is the same
    for the recommendations topic of the live run, on any number of partitions.

    Examples: `headwater replay --items items.jsonl --events events.jsonl --out recs.jsonl`, or
    `headwater replay --from-topic --since 2026-11-01T00:00:00Z --out recs.jsonl`, or `headwater replay --check`, or
    `headwater replay --explain-diff monday.jsonl tuesday.jsonl`
    """
    if digest is not None:
        with _problems():
            _digest(digest, json)
    elif explain_diff is not None:
        with _problems():
            _explain(*explain_diff, json)
    elif from_topic or check:
        if items or events or release:
            stop("--items, --events and --release belong to a replay from files: leave out those, or --from-topic.")
        if check and (since or until):
            stop("--check compares the whole topic: leave out --since and --until.")
        with _problems(), connected() as (_place, settings):
            _from_topic(settings, out, _span(since, until), tolerant, check, json)
    else:
        if not items or not events:
            stop("Name what to replay: --items FILE and --events FILE, or --from-topic.")
        with _problems() as settings:
            _from_files(settings, items, events, out, release, _span(since, until), format, strict, json)


def profile_at(user: str, at: str, items: list[str] | None, events: list[str] | None) -> dict[str, Any]:
    """A user's portrait as of a place in the log, from files or, without them, from Kafka."""
    if bool(items) != bool(events):
        stop("Give both --items and --events, or neither to read Kafka.")
    with _problems() as base:
        from streams.kafka.partition import partition_of
        from streams.records.portrait import portrait
        from streams.replay.files import Sources, replay_files
        from streams.replay.player import Player
        from streams.replay.recording import Recording
        from streams.replay.shelf import Shelf
        from streams.replay.topics import replay_topic
        from streams.replay.watching import watching

        with Recording() as recording, Shelf() as shelf, watching() as watch:
            player, span = Player(base.policy, shelf, recording), _span(None, at)
            if items and events:
                # vectors say nothing about a profile
                settings = base.model_copy(update={"encoder": "none"})
                replay_files(Sources(items, events, user=user), settings, player, span, watch)
                partitions = settings.kafka_partitions
            else:
                with connected() as (_place, settings):
                    partitions = replay_topic(settings, player, span, watch, user=user)
            fields = shelf.fields(user, partition_of(user, max(1, partitions)))
    if fields is None:
        stop(f"Nothing was known of user {user} at {at}.")
    return portrait(user, fields)


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
        found = _written(recording, out, player.tally) | {"world": world.names}
    _print(found, json)


def _from_topic(settings: Settings, out: Path | None, span: Span, tolerant: bool, check: bool, json: bool) -> None:
    from streams.replay.player import Player
    from streams.replay.recording import Recording
    from streams.replay.shelf import Shelf
    from streams.replay.topics import recorded, replay_topic
    from streams.replay.watching import watching

    with Recording() as recording, Recording() as topic, Shelf() as shelf:
        with watching() as watch:
            player = Player(settings.policy, shelf, recording)
            replay_topic(settings, player, span, watch, tolerant=tolerant)
            if check:
                recorded(settings, topic, watch)
        found = _written(recording, out, player.tally)
        if not check:
            _print(found, json)
            return
        found["topic"] = {"digest": topic.digest(), "recommendations": topic.kept}
        if found["digest"] == found["topic"]["digest"]:
            _print(found | {"agree": True}, json)
            return
        _compare(topic, recording, ("the topic", "the replay"), json, found | {"agree": False})
        raise typer.Exit(1)


def _written(recording: Recording, out: Path | None, tally: Any) -> dict[str, Any]:
    """The digest and the counts, after the lines were written."""
    digest = recording.digest() if out is None else recording.write(out)
    for line in tally.failures:
        note(line)
    return {"digest": digest, **tally.as_dict(), "recommendations": recording.kept}


def _digest(path: str, json: bool) -> None:
    import orjson

    from streams.replay.recording import Recording
    from streams.replay.written import read_into

    with Recording() as recording:
        read_into(recording, path)
        found = {"digest": recording.digest(), "recommendations": recording.kept}
    print(orjson.dumps(found).decode() if json else found["digest"])


def _explain(a: str, b: str, json: bool) -> None:
    from streams.replay.recording import Recording
    from streams.replay.written import read_into

    with Recording() as left, Recording() as right:
        read_into(left, a)
        read_into(right, b)
        _compare(left, right, (a, b), json, {})


def _compare(a: Recording, b: Recording, names: tuple[str, str], json: bool, found: dict[str, Any]) -> None:
    import orjson

    from streams.replay.compare import compared
    from streams.replay.page import page
    from streams.replay.why import as_dict

    comparison = compared(a, b)
    if json:
        print(orjson.dumps(found | {"a": names[0], "b": names[1], **as_dict(comparison)}).decode())
        return
    if found:
        _print(found, json)
    console().print(page(comparison, *names))


def _span(since: str | None, until: str | None) -> Span:
    from streams.replay.span import Mark, Span

    return Span(None if since is None else Mark.parse(since), None if until is None else Mark.parse(until))


@contextmanager
def _problems() -> Iterator[Settings]:
    """The settings; what is wrong outside ends as one line and exit code 1."""
    import gc

    from pydantic import ValidationError

    from streams.settings import settings
    from streams.threads import pin_threads

    try:
        base = settings()
    except ValidationError as error:
        said = "; ".join(f"HEADWATER_{'__'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors())
        stop(f"A setting is not right: {said}. `headwater doctor` shows all.")
    pin_threads(base)
    from streams.models import ModelMissing
    from streams.observe import logs
    from streams.records.files import Unreadable
    from streams.releases import ReleaseUnusable
    from streams.replay.errors import ReplayError

    logs.configure("warning", base.log_format)
    gc.set_threshold(50_000, 50, 100)  # as in a worker: a step makes many objects that die at once
    try:
        yield base
    except (ReplayError, Unreadable, ReleaseUnusable, ModelMissing) as error:
        stop(str(error))
    except OSError as error:
        stop(f"{error.filename}: {error.strerror}" if error.filename else str(error))
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
    if "topic" in found:
        agree = "the same" if found["agree"] else "ANOTHER ONE"
        print(f"of the topic     {found['topic']['digest']}, {agree}")
    print(f"recommendations  {found['recommendations']:,}")
    print(f"events           {found['events']:,}{rate}")
    print(f"dead letters     {letters}")
    if found["unsorted"]:
        print(f"out of order     {found['unsorted']:,} events are earlier than one before them; the order was kept")
    if found["unknown_items"]:
        print(f"unknown items    {found['unknown_items']:,} interactions are with items that are not in the catalogue")
