"""`headwater items`, `events`, `tail`, `dead-letters`: records between files, topics and the terminal."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.terminal import connected, console, note, reading, sending, stop, topic_name

if TYPE_CHECKING:
    from streams.records.send import Kind, Tally
    from streams.settings import Settings


class FileFormat(StrEnum):
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


Files = Annotated[list[str], typer.Argument(help="JSONL (.gz too), CSV, Parquet; - is stdin.")]
Format = Annotated[FileFormat | None, typer.Option(help="What the files hold.")]
Force = Annotated[bool, typer.Option(help="Send rows that are not valid too, as they are.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
User = Annotated[str | None, typer.Option(help="Only what concerns this user: records with this key.")]
Reason = Annotated[str | None, typer.Option(help="Only those with this reason, e.g. wrong_field.")]
Origin = Annotated[str | None, typer.Option(help="Only those that came from this topic: items or events.")]

items = typer.Typer(no_args_is_help=True, help="Load and withdraw items of the catalogue.")
events = typer.Typer(no_args_is_help=True, help="Send events of users.")
letters = typer.Typer(no_args_is_help=True, help="Records that were refused: list them, send them again.")


def register(app: typer.Typer) -> None:
    app.add_typer(items, name="items")
    app.add_typer(events, name="events")
    app.command()(tail)
    app.add_typer(letters, name="dead-letters")


@items.command("load")
def load_items(
    files: Files,
    format: Format = None,
    force: Force = False,
    wait: Annotated[bool, typer.Option(help="Return only when every worker counts all items.")] = False,
    wait_seconds: Annotated[float, typer.Option(help="How long --wait waits.")] = 600,
    json: AsJson = False,
) -> None:
    """Send items to the catalogue. Rows that are not valid are reported by file and line; the rest is sent.

    Example: `headwater items load catalogue.jsonl --wait`, or
    `zcat more.csv.gz | headwater items load - --format csv`
    """
    from streams.records.waiting import wait_for_items

    with connected(redis=wait) as (place, settings):
        tally = _send("items", files, format, force, settings, json)
        if wait and not tally.failed:
            note("waiting until every worker counts the items ...")
            counted = wait_for_items(place, settings, wait_seconds)
            note(f"every worker counts {counted:,} items")
    _finish(tally)


@items.command("withdraw")
def withdraw_items(item_ids: Annotated[list[str], typer.Argument(help="Ids of items.")], json: AsJson = False) -> None:
    """Withdraw items: they are no longer recommended.

    Example: `headwater items withdraw sku-17 sku-18`
    """
    with connected() as (_place, settings):
        from streams.records.send import Sender

        sender = Sender(sending(settings), topic_name("items", settings))
        for item_id in item_ids:
            sender.send(item_id.encode(), None)
        tally = sender.finish()
    _report(tally, "withdrawn", 0.0, json)
    _finish(tally)


@events.command("send")
def send_events(
    files: Files,
    format: Format = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Records a second, at most.")] = None,
    speed: Annotated[float | None, typer.Option(min=0.001, help="Times real time, by their ts.")] = None,
    force: Force = False,
    json: AsJson = False,
) -> None:
    """Send events. Rows that are not valid are reported by file and line; the rest is sent.

    Example: `headwater events send clicks.jsonl --rate 500`, or
    `headwater events send day.parquet --speed 60`
    """
    with connected() as (_place, settings):
        tally = _send("events", files, format, force, settings, json, rate, speed)
    _finish(tally)


def tail(
    topic: Annotated[str, typer.Argument(help="A short name: recommendations, events, items, dead-letters, ...")],
    user: User = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start at the oldest.")] = False,
    follow: Annotated[bool, typer.Option(help="Go on at the end; with --no-follow stop there.")] = True,
    json: AsJson = False,
    n: Annotated[int | None, typer.Option("-n", min=1, help="End after so many records.")] = None,
) -> None:
    """Show the records of a topic as they come, until Ctrl-C or after -n of them.

    Example: `headwater tail recommendations --user anna`, or
    `headwater tail events --from-beginning --json -n 100`
    """
    from streams.records.read import follow as messages_of
    from streams.records.read import full_name
    from streams.records.show import as_json, pretty

    with connected() as (_place, settings):
        consumer = reading(settings, "tail")
        name = full_name(topic, settings.namespace)
        out = console()
        shown = 0
        try:
            for message in messages_of(
                consumer, name, beginning=from_beginning or not follow, user=user, to_the_end=not follow
            ):
                if json:
                    print(as_json(message), flush=True)
                else:
                    out.print(pretty(message))
                shown += 1
                if n is not None and shown >= n:
                    break
        except KeyboardInterrupt:
            note(f"{shown} records")  # the way out of a tail: no failure
        finally:
            consumer.close()


@letters.command("list")
def list_letters(
    reason: Reason = None,
    topic: Origin = None,
    json: AsJson = False,
    n: Annotated[int, typer.Option("-n", min=1, help="The last so many.")] = 50,
) -> None:
    """Show the last dead letters, and counts by reason.

    Example: `headwater dead-letters list --reason wrong_field`, or
    `headwater dead-letters list --json -n 1000`
    """
    from collections import Counter, deque

    from streams.records.deadletters import DeadLetter, dead_letters
    from streams.records.show import letter_json, letters_table

    with connected() as (_place, settings):
        consumer = reading(settings, "dead-letters")
        last: deque[DeadLetter] = deque(maxlen=n)
        counts: Counter[str] = Counter()
        try:
            for letter in dead_letters(consumer, settings.namespace, reason=reason, topic=_origin(topic, settings)):
                last.append(letter)
                counts[letter.reason] += 1
        finally:
            consumer.close()
    if json:
        for letter in last:
            print(letter_json(letter))
    elif not last:
        note("no dead letters" + (f" with reason {reason}" if reason else ""))
    else:
        console().print(letters_table(list(last)))
        console().print(", ".join(f"{name} {count:,}" for name, count in counts.most_common()))


@letters.command("redrive")
def redrive_letters(
    reason: Reason = None,
    topic: Origin = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and send nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Send dead letters again: the bytes as received, to the topic and partition they came from, each once.

    What was sent is remembered in Redis, so that a second redrive sends only what is new. A record that is
    refused again becomes a new dead letter.

    Example: `headwater dead-letters redrive --reason too_large --dry-run`
    """
    import orjson
    import redis

    from streams.records.deadletters import dead_letters, redrive

    with connected(redis=True) as (place, settings):
        consumer, store = reading(settings, "dead-letters"), redis.Redis.from_url(place.redis_url)
        try:
            found = dead_letters(consumer, settings.namespace, reason=reason, topic=_origin(topic, settings))
            result = redrive(found, sending(settings), store, settings.namespace, dry_run=dry_run)
        finally:
            consumer.close()
            store.close()
    verb = "would be sent" if dry_run else "sent"
    if json:
        rows = [
            {"topic": key[0], "reason": key[1], "sent": result.sent[key], "sent_earlier": result.earlier[key]}
            for key in sorted(result.sent.keys() | result.earlier.keys())
        ]
        print(orjson.dumps({"dry_run": dry_run, "failed": result.failed, "redriven": rows}).decode())
    else:
        for key in sorted(result.sent.keys() | result.earlier.keys()):
            print(f"{key[0]} {key[1]}: {result.sent[key]:,} {verb}, {result.earlier[key]:,} sent earlier")
        print(f"{result.sent.total():,} {verb}, {result.earlier.total():,} sent earlier, {result.failed:,} failed")
    if result.failed:
        stop(result.problem)


# ----------------------------------------------------------------------------------------------------------


def _origin(topic: str | None, settings: Settings) -> str | None:
    from streams.records.read import full_name

    return None if topic is None else full_name(topic, settings.namespace)


def _send(
    kind: Kind,
    files: list[str],
    format: FileFormat | None,
    force: bool,
    settings: Settings,
    json: bool,
    rate: float | None = None,
    speed: float | None = None,
) -> Tally:
    from streams.records.files import opened
    from streams.records.progress import progress
    from streams.records.read import partitions_of
    from streams.records.send import Pace, Sender, send_row

    producer = sending(settings)
    topic = topic_name(kind, settings)
    partitions_of(producer, topic)
    sender, pace = Sender(producer, topic), Pace(rate, speed)
    begun = time.monotonic()
    try:
        with progress() as bar:
            for path in files:
                with opened(path, format.value if format else None, settings.max_record_bytes) as source:
                    for row in bar.track(source, sender.tally):
                        send_row(
                            row, kind, sender,
                            max_bytes=settings.max_record_bytes, force=force, pace=pace, reject=bar.say,
                        )  # fmt: skip
    finally:
        sender.finish()
        _report(sender.tally, "sent", time.monotonic() - begun, json)
    return sender.tally


def _report(tally: Tally, verb: str, seconds: float, json: bool) -> None:
    if json:
        import orjson

        counts = {"sent": tally.delivered, "rejected": tally.rejected, "failed": tally.failed}
        print(orjson.dumps({**counts, "seconds": round(seconds, 3)}).decode())
    rate = f" in {seconds:.1f} s ({tally.delivered / seconds:,.0f}/s)" if seconds else ""
    note(f"{tally.delivered:,} {verb}, {tally.rejected:,} rejected, {tally.failed:,} failed{rate}")


def _finish(tally: Tally) -> None:
    if tally.failed:
        stop(f"Kafka did not take {tally.failed:,} records: {tally.problem}")
    if tally.rejected:
        raise typer.Exit(1)
