"""`headwater experiment`: which arm a user is in, and what an experiment has found, straight from the topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.outcomes import Actions, All, AsJson, Events, FromTopic, Level, Recs, Window, gathered
from streams.cli.terminal import console, stop

if TYPE_CHECKING:
    from streams.settings import Settings

group = typer.Typer(no_args_is_help=True, help="Experiments: users in arms, and what came of it.")


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="experiment")


@group.command()
def arm(
    users: Annotated[list[str], typer.Argument(metavar="USER...", help="Ids of users.")],
    json: AsJson = False,
) -> None:
    """Say which arm each user is in, by the settings in force (HEADWATER_POLICY__ARMS, HEADWATER_POLICY__ARMS_SALT).

    Example: `headwater experiment arm anna ben`
    """
    import orjson

    from recsys.experiments.live import arms_of

    found = dict(zip(users, arms_of(users, _settings().policy), strict=True))
    if json:
        print(orjson.dumps(found).decode())
    else:
        for user, name in found.items():
            print(f"{user}\t{name}")


@group.command()
def results(
    recommendations: Recs = None,
    events: Events = None,
    from_topic: FromTopic = False,
    shares: Annotated[
        str | None, typer.Option(help="Of all arms, e.g. main=0.5,new=0.5; else those of the settings.")
    ] = None,
    window: Window = "24h",
    actions: Actions = None,
    level: Level = 0.95,
    all_recommendations: All = False,
    json: AsJson = False,
) -> None:
    """Compare the arms of an experiment: rewards with intervals, differences with Welch's test over users.

    It checks that the arms hold as many users as their shares say, and says whose items were chosen where two
    rankings were interleaved (sign test over users). A reward is 1 where an interaction names the rec_id, or else
    takes the item within the window.

    Example: `headwater experiment results --from-topic --actions click,purchase`
    """
    import orjson

    from streams.outcomes.arms import as_json, report_of, shares_in_force
    from streams.outcomes.table import experiment_tables

    said = _shares(shares) if shares else None
    with gathered(recommendations, events, from_topic, window, actions) as gatherer:
        outcomes = gatherer.finish(shown_only=not all_recommendations)
        report = report_of(outcomes, said or shares_in_force(_settings().policy.arms, outcomes.arm_names), level)
    if json:
        print(orjson.dumps(as_json(report)).decode())
    else:
        console().print(experiment_tables(report, level))


def _shares(said: str) -> dict[str, float]:
    out = {}
    for part in said.split(","):
        name, _, share = part.partition("=")
        try:
            out[name.strip()] = float(share)
        except ValueError:
            stop(f"--shares {said}: expected ARM=SHARE,ARM=SHARE such as main=0.5,new=0.5")
    if min(out.values()) < 0 or not sum(out.values()) > 0:
        stop(f"--shares {said}: shares should be 0 or more, and not all 0")
    return out


def _settings() -> Settings:
    from pydantic import ValidationError

    from streams.settings import settings

    try:
        return settings()
    except ValidationError as error:
        stop(f"A setting is not right: {error.errors()[0]['msg']}. `headwater doctor` shows all.")
