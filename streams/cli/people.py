"""`headwater chat` and `headwater profile`: one user, from the terminal."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from streams.cli.terminal import connected, console, note, reading, sending, stop

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

profiles = typer.Typer(no_args_is_help=True, help="What is known of a user.")


def register(app: typer.Typer) -> None:
    app.command()(chat)
    app.add_typer(profiles, name="profile")


def chat(
    user: Annotated[str, typer.Option(help="Who is talking.")],
    once: Annotated[str | None, typer.Option(metavar="TEXT", help="Say this, print the answer and end.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 20,
    json: AsJson = False,
) -> None:
    """Talk with the recommender as a user: replies, and items with reasons. Ctrl-D ends it.

    Example: `headwater chat --user anna`, or `headwater chat --user anna --once "a red dress under 500 yuan" --json`
    """
    from streams.records.converse import Conversation

    with connected() as (_place, settings):
        consumer = reading(settings, "chat")
        try:
            talk = Conversation(consumer, sending(settings, linger_ms=0), settings.namespace, user)
            if once is not None:
                _show(talk.say(once, timeout), json)
                return
            while (text := _ask(user)) is not None:
                if not text.strip():
                    continue
                try:
                    _show(talk.say(text, timeout), json)
                except TimeoutError as error:
                    note(str(error))
        finally:
            consumer.close()


Files = Annotated[list[str] | None, typer.Option(metavar="FILE", help="With --at: instead of Kafka; may be repeated.")]


@profiles.command("show")
def show_profile(
    user: Annotated[str, typer.Argument(help="Id of the user.")],
    at: Annotated[
        str | None, typer.Option(metavar="TS|EVENT_ID", help="As of then: the user's log is replayed up to there.")
    ] = None,
    items: Files = None,
    events: Files = None,
    json: AsJson = False,
) -> None:
    """Show a user's profile in plain sentences, and the state kept beside it.

    Example: `headwater profile show anna`, or `headwater profile show anna --json`, or
    `headwater profile show anna --at 2026-11-01T12:00:00Z`, or
    `headwater profile show anna --at e-17 --items items.jsonl --events events.jsonl`
    """
    import orjson

    from streams.records.show import portrait_page

    if at is None and (items or events):
        stop("--items and --events go with --at: without it the profile is the one that is kept now.")
    if at is None:
        found = _kept(user)
    else:
        from streams.cli.replay import profile_at

        found = profile_at(user, at, items, events)
    if json:
        print(orjson.dumps(found).decode())
    else:
        console().print(portrait_page(found))


def _kept(user: str) -> dict[str, Any]:
    """The portrait of a user as the store has it now."""
    from recsys.user import UnknownUserVersion
    from schemas.topics import TOPICS
    from streams.records.portrait import portrait
    from streams.records.read import partitions_of
    from streams.store.contract import StoreError
    from streams.store.redis import RedisStore

    with connected(redis=True) as (place, settings):
        consumer = reading(settings, "profile")
        try:
            partitions = len(partitions_of(consumer, TOPICS["events"].full_name(settings.namespace)))
        finally:
            consumer.close()
        store = RedisStore(place.redis_url, settings.namespace)
        try:
            fields = store.read_user(user, partitions)
            if not fields:
                stop(f"Nothing is kept of user {user} in namespace {settings.namespace}.")
            return portrait(user, fields)
        except (StoreError, UnknownUserVersion) as error:
            stop(str(error))
        finally:
            store.close()


def _ask(user: str) -> str | None:
    """What the person types next; None at the end."""
    import sys

    from rich.text import Text

    try:
        if sys.stdin.isatty():
            return str(console(err=True).input(Text(f"{user} > ", style="bold")))
        return input()
    except EOFError:
        return None


def _show(answer: dict[str, Any], json: bool) -> None:
    import orjson

    from streams.records.show import answer_page

    if json:
        print(orjson.dumps(answer).decode(), flush=True)
    else:
        console().print(answer_page(answer))
