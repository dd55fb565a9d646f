"""`headwater quarantine`: items that the screen against pushed items holds back, and an operator's word for one.

In: `<ns>.alerts.v1`, where the learner reports a burst. Out: an alert that vouches for an item; the learner heeds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.terminal import connected, console, note, reading, sending, topic_name

if TYPE_CHECKING:
    from streams.learner.bursts import Held

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

group = typer.Typer(no_args_is_help=True, help="Items that are held back as pushed: list them, let them go.")


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="quarantine")


@group.command("list")
def list_items(
    past: Annotated[bool, typer.Option("--past", help="Also those that have calmed down.")] = False,
    json: AsJson = False,
) -> None:
    """Show items that draw suspiciously many interactions, and for which nobody has vouched since.

    What goes beyond the usual counts for nothing as long as the burst lasts. One that has calmed down counts fully
    again, and stays known for the 30 days that alerts are kept: --past shows it, with its end.

    Example: `headwater quarantine list`, or `headwater quarantine list --past --json`
    """
    import orjson

    from streams.learner.bursts import held

    with connected() as (_place, settings):
        consumer = reading(settings, "quarantine")
        try:
            known = held(_alerts(consumer, topic_name("alerts", settings)))
        finally:
            consumer.close()
    shown = [one for one in known if past or one.until is None]
    calm = sum(one.until is not None for one in known)
    if json:
        items = [one.alert.model_dump(mode="json") | {"until": one.until} for one in shown]
        print(orjson.dumps({"items": items}).decode())
        return
    if shown:
        console().print(_table(shown))
    else:
        note("nothing is held back")
    if calm and not past:
        note(f"{calm} that calmed down: `headwater quarantine list --past` shows them")


@group.command()
def release(
    item_id: Annotated[str, typer.Argument(metavar="ITEM", help="Id of an item.")],
    json: AsJson = False,
) -> None:
    """Vouch for an item: what it draws counts fully again, and what was held back is given back.

    Example: `headwater quarantine release sku-17`
    """
    import orjson

    from schemas.headers import cloudevent_headers
    from schemas.wire import encode
    from streams.learner.bursts import held, release_of
    from streams.records.send import Sender

    with connected() as (_place, settings):
        consumer, topic = reading(settings, "quarantine"), topic_name("alerts", settings)
        try:
            known = {one.alert.subject for one in held(_alerts(consumer, topic)) if one.until is None}
        finally:
            consumer.close()
        alert = release_of(item_id)
        sender = Sender(sending(settings, linger_ms=0), topic)
        headers = cloudevent_headers(alert.alert_id, "headwater.alert", f"/{settings.namespace}/operator", alert.ts)
        sender.send(item_id.encode(), encode(alert), headers=headers)
        tally = sender.finish()
        if tally.failed:
            raise ConnectionError(f"Kafka did not take the alert ({tally.problem}). Give the command again.")
    if item_id not in known:
        note(f"No alert says that {item_id} is held back. It is vouched for all the same; was its id meant?")
    if json:
        print(orjson.dumps(alert.model_dump(mode="json")).decode())
    else:
        print(alert.text)


def _alerts(consumer: Any, topic: str) -> Iterable[bytes | None]:
    from streams.records.read import follow

    return (message.value() for message in follow(consumer, topic, beginning=True, to_the_end=True))


def _table(shown: list[Held]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    from schemas.wire import format_rfc3339

    table = Table(box=None, padding=(0, 1))
    for name in ("item", "since", "until", "share", "expected", "withheld", "users"):
        table.add_column(name, justify="left" if name in ("item", "since", "until") else "right", overflow="fold")
    for alert, until in shown:
        figures = {name: float(str(alert.details.get(name, "nan"))) for name in _FIGURES}
        table.add_row(
            escape(alert.subject), format_rfc3339(alert.ts), "now" if until is None else format_rfc3339(until),
            *(spec.format(figures[name]) for name, spec in _FIGURES.items()),
        )  # fmt: skip
    return table


_FIGURES = {"observed": "{:.1%}", "expected": "{:.2%}", "withheld": "{:,.1f}", "users": "{:,.0f}"}
