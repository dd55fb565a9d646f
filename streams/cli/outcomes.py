"""`headwater counterfactual`: what another ranking would have earned, from what was shown and what followed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.terminal import connected, console, note, reading, stop, topic_name

if TYPE_CHECKING:
    from streams.outcomes.gather import Gatherer

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Assumption(StrEnum):
    cascade = "cascade"
    independent = "independent"
    slate = "slate"


class Interval(StrEnum):
    normal = "normal"
    bootstrap = "bootstrap"


Recs = Annotated[str | None, typer.Option("--recommendations", metavar="FILE", help="What was recommended, as JSONL.")]
Events = Annotated[str | None, typer.Option("--events", metavar="FILE", help="The events that caused it and followed.")]
FromTopic = Annotated[bool, typer.Option("--from-topic", help="Read both from the topics, up to their ends now.")]
Window = Annotated[str, typer.Option(help="An interaction without rec_id counts for so long: 30m, 24h, 7d.")]
Actions = Annotated[str | None, typer.Option(help="Rewards, e.g. click,purchase; else all of positive weight.")]
Level = Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals.")]
All = Annotated[
    bool, typer.Option("--all", help="Count recommendations without an impression although others have one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    app.command()(counterfactual)


def counterfactual(
    target: Annotated[
        str,
        typer.Option(
            help="A file of recommendations on the same events, made without exploration; or no-exploration, "
            "half-exploration, double-exploration."
        ),
    ],
    recommendations: Recs = None,
    events: Events = None,
    from_topic: FromTopic = False,
    assume: Annotated[
        Assumption,
        typer.Option(help="What a reward depends on: items above and its own, its own alone, or the whole slate."),
    ] = Assumption.cascade,
    window: Window = "24h",
    actions: Actions = None,
    arm: Annotated[str | None, typer.Option(help="Only what this arm recommended.")] = None,
    clip: Annotated[float | None, typer.Option(min=1, help="Cut weights here.")] = None,
    level: Level = 0.95,
    interval: Annotated[
        Interval, typer.Option(help="Linearised over users, or bootstrap over users.")
    ] = Interval.normal,
    all_recommendations: All = False,
    json: AsJson = False,
) -> None:
    """Estimate what another ranking would have earned per recommendation, from logged propensities and what followed.

    Estimators: IPS, self-normalised IPS, doubly robust; with intervals over users, the effective sample size, and a
    warning where the log cannot answer. A reward is 1 where an interaction names the rec_id, or else takes the item
    within the window. The target is another replay of the same events, with another release or other settings.

    Example: `HEADWATER_POLICY__EXPLORATION=0 headwater replay --items items.jsonl --events log.jsonl --out new.jsonl`,
    `headwater counterfactual --recommendations recs.jsonl --events log.jsonl --target new.jsonl`
    """
    from streams.outcomes.compare import BUILT_IN, Question, as_json, compared
    from streams.outcomes.sources import from_file
    from streams.outcomes.table import counterfactual_table

    with gathered(recommendations, events, from_topic, window, actions) as gatherer:
        outcomes = gatherer.finish(shown_only=not all_recommendations, keep=(lambda name: name == arm) if arm else None)
        question = Question(target, assume.value, clip, level, interval.value, gatherer.exploration)
        found, notes = compared(outcomes, question, None if target in BUILT_IN else from_file(target))
    if json:
        import orjson

        print(orjson.dumps(as_json(found, question, notes)).decode())
    else:
        console().print(counterfactual_table(found, question, notes))


@contextmanager
def gathered(
    recommendations: str | None, events: str | None, from_topic: bool, window: str, actions: str | None
) -> Iterator[Gatherer]:
    """Recommendations and events read whole. What is wrong with them ends as one line and exit code 1."""
    from pydantic import ValidationError

    from streams.outcomes.gather import Gatherer
    from streams.outcomes.sources import from_file
    from streams.outcomes.sources import from_topic as records_of
    from streams.records.files import Unreadable
    from streams.settings import settings

    wanted = frozenset(name.strip() for name in actions.split(",") if name.strip()) if actions else None
    try:
        span = milliseconds(window)
        if from_topic:
            if recommendations or events:
                stop("--from-topic reads both from Kafka: leave out --recommendations and --events, or it.")
            with connected() as (_place, in_force):
                gatherer = Gatherer(in_force.policy, wanted, span)
                for topic, take in (("recommendations", gatherer.recommendation), ("events", gatherer.event)):
                    consumer = reading(in_force, "outcomes")
                    try:
                        for record in records_of(consumer, topic_name(topic, in_force)):
                            take(record)
                    finally:
                        consumer.close()
        else:
            if not recommendations or not events:
                stop("Name --recommendations FILE and --events FILE, or say --from-topic.")
            gatherer = Gatherer(settings().policy, wanted, span)
            for record in from_file(recommendations):
                gatherer.recommendation(record)
            for record in from_file(events):
                gatherer.event(record)
        yield gatherer
    except Unreadable as error:
        stop(str(error))
    except ValidationError:
        stop("A setting is not right; `headwater doctor` shows which.")
    except KeyboardInterrupt:
        note("stopped")
        raise typer.Exit(130) from None


def milliseconds(span: str) -> int:
    """Of 30m, 24h, 7d. Raises Unreadable."""
    from streams.records.files import Unreadable

    found = _SPAN.fullmatch(span.strip())
    if found is None:
        raise Unreadable(f"--window {span}: expected a number and s, m, h or d, such as 30m or 24h")
    return int(float(found[1]) * _MS[found[2]])
