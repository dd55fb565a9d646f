"""`headwater releases`: what has been learnt and serves, what is in it, and an operator's say in it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.release_pages import METRICS, SHOWN, page, row_of, table_of, table_of_contents
from streams.cli.terminal import connected, console, note, sending, stop, topic_name

if TYPE_CHECKING:
    from schemas.releases import Release
    from streams.lineage import Lineage, Log
    from streams.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ReleaseId = Annotated[str, typer.Argument(metavar="ID", help="Id of a release.")]
_CHART = 60  # releases in a chart
_SETTLE_S = 0.5  # beside the time in which a learner looks at the topic

group = typer.Typer(no_args_is_help=True, help="Learnt releases: which serve, what is in them, and going back.")


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="releases")


@group.command("list")
def list_releases(
    role: Annotated[str | None, typer.Option(help="Only statistics, ranker, sequence, adapter or encoder.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="The latest so many of each role.")] = 5,
    json: AsJson = False,
) -> None:
    """Show which release of each role serves, and the latest ones.

    Age counts from the release, staleness from the last event that it has learnt from. Metrics are NDCG@10 over
    choices that neither had learnt from: of the candidate, of what served then, and the difference. A canary is a
    candidate that serves a share of the users; `show` has what came of it.

    Example: `headwater releases list`, or `headwater releases list --role ranker -n 20 --json`
    """
    import orjson

    from streams.lineage import ROLES

    with _topic() as (log, _settings):
        lineage = log.read()
        found = {name: lineage.of(name) for name in ([role] if role else ROLES)}
    shown = {
        name: releases[:n] + [one for one in releases[n:] if lineage.serves(one)]
        for name, releases in found.items() if releases
    }  # fmt: skip
    now = int(time.time() * 1000)
    if json:
        rows = [
            {
                "role": name,
                "serving": _id(lineage.serving(name)),
                "releases": [row_of(lineage, one, now) for one in some],
            }
            for name, some in shown.items()
        ]
        print(orjson.dumps({"roles": rows}).decode())
        return
    if not shown:
        note("no release yet" + (f" of role {role}" if role else "") + ": the learner makes one when there are events")
        return
    console().print(table_of(lineage, [one for some in shown.values() for one in some], now))


@group.command()
def show(release_id: ReleaseId, json: AsJson = False) -> None:
    """Show all of a release: its record, what it comes from, whether its file is there and whole, and what is in it.

    Example: `headwater releases show ranker-0123456789-17`
    """
    import orjson

    from streams.contents import contents, state_of_file, weights_changed_by
    from streams.lineage import Refused
    from streams.releases import ReleaseStorage, ReleaseUnusable

    with _topic(release_id) as (log, settings):
        lineage = log.read()
        release = lineage.find(release_id)
        storage = ReleaseStorage.of(settings)
        ancestors = lineage.ancestors(release)[:SHOWN]
        file = state_of_file(storage, release)
        inside: dict[str, Any] = {}
        if file["state"] == "whole":
            try:
                inside = contents(storage, release)
                if release.role == "ranker" and ancestors:
                    inside["from_parent"] = weights_changed_by(storage, ancestors[0], release)
            except (ReleaseUnusable, Refused) as error:
                note(str(error))
    now = int(time.time() * 1000)
    found = {
        **row_of(lineage, release, now), "file": file, "contents": inside,
        "ancestors": [row_of(lineage, one, now) for one in ancestors],
        "history": [
            {"release_id": one.release_id, **{name: one.metrics[name] for name in METRICS if name in one.metrics}}
            for one in lineage.of(release.role)[:_CHART][::-1] if "serving" in one.metrics
        ],
    }  # fmt: skip
    if json:
        print(orjson.dumps(found).decode())
    else:
        console().print(page(found))


@group.command()
def diff(
    one: Annotated[str, typer.Argument(metavar="A", help="Id of a release.")],
    other: Annotated[str, typer.Argument(metavar="B", help="Id of another of the same role.")],
    json: AsJson = False,
) -> None:
    """Show what differs from release A to release B.

    Of rankers the weights by feature and moment; of other roles how far each part moved (cosine, norm of the change,
    and that beside the norm before), and how many items came and went.

    Example: `headwater releases diff ranker-0123456789-16 ranker-abcdef0123-17`
    """
    import orjson

    from streams.contents import differences
    from streams.releases import ReleaseStorage

    with _topic(one, other) as (log, settings):
        lineage = log.read()
        before, after = lineage.find(one), lineage.find(other)
        found = differences(ReleaseStorage.of(settings), before, after)
    if json:
        print(orjson.dumps({"from": one, "to": other, "role": before.role, **found}).decode())
    else:
        console().print(table_of_contents(found))


@group.command()
def rollback(
    role: Annotated[str, typer.Argument(help="ranker, sequence or encoder.")],
    to: Annotated[
        str | None, typer.Option(metavar="ID", help="This one, or `prior`; else the one before what serves.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Make the release before the one that serves, or --to, serve again; the one that serves is marked as rolled back.

    It is pinned: the learner goes on learning from it and releases nothing until `headwater releases promote` lets go
    of it. A sequence release brings the adapter that it was learnt with. Of the first ranker, and with `--to prior`,
    the prior weights serve again, those before any learning.

    Example: `headwater releases rollback ranker`, or `headwater releases rollback ranker --to ranker-0123456789-17`
    """
    from streams.prior import target_of
    from streams.releases import ReleaseStorage

    with _topic(*([to] if to else [])) as (log, settings):
        lineage = log.read()
        target = target_of(lineage, ReleaseStorage.of(settings), role, to, int(time.time() * 1000))
        serving = lineage.serving(role)
        sent = _carry_out(log, lineage, settings, target, pinned=True)
    _report(target, serving, sent, json)
    note(f"It is pinned: the learner releases nothing until `headwater releases promote {sent[-1].release_id}`.")


@group.command()
def promote(release_id: ReleaseId, json: AsJson = False) -> None:
    """Make a release serve, and let the learner go on from it and release again.

    Of the release that serves and is pinned, this takes the pin away.

    Example: `headwater releases promote ranker-0123456789-17`
    """
    with _topic(release_id) as (log, settings):
        lineage = log.read()
        target = lineage.find(release_id)
        serving = lineage.serving(target.role)
        if lineage.serves(target) and not target.pinned:
            sent: list[Release] = []
        else:
            sent = _carry_out(log, lineage, settings, target, pinned=False)
            lineage = log.read()
    _report(target, serving, sent, json)
    for other in ("ranker", "sequence"):
        held = lineage.serving(other)
        if held is not None and held.pinned:
            note(f"{held.release_id} is still pinned, and the learner releases nothing before it is promoted too.")


# ----------------------------------------------------------------------------------------------------------


@contextmanager
def _topic(*names: str) -> Iterator[tuple[Log, Settings]]:
    from streams.kafka.clients import consumer
    from streams.lineage import Log, Refused
    from streams.releases import ReleaseUnusable

    with connected() as (_place, settings):
        # the topic is read more than once, and a question to the broker waits behind a fetch that waits for news
        reader = consumer(settings, f"{settings.namespace}.cli.releases", extra={"fetch.wait.max.ms": 20})
        try:
            log = Log(reader, settings.namespace, *names)
            yield log, settings
            if log.unreadable:
                note(f"{log.unreadable} records on the topic are no releases: left out")
        except (Refused, ReleaseUnusable) as error:
            stop(str(error))
        finally:
            reader.close()


def _carry_out(log: Log, lineage: Lineage, settings: Settings, target: Release, *, pinned: bool) -> list[Release]:
    from streams.lineage import carry_out, check
    from streams.models import ModelMissing, load_models
    from streams.releases import ReleaseStorage, ReleaseUnusable

    try:
        check(ReleaseStorage.of(settings), target, load_models(settings, ahead=False), lineage)
    except (ReleaseUnusable, ModelMissing) as error:
        stop(
            f"{error}\nNothing was announced, and what served serves on. `headwater releases list --role {target.role} "
            "-n 20` shows others, `headwater releases show ID` whether the file of one is there."
        )
    settle_s = settings.world_refresh_ms / 1000 + _SETTLE_S
    send = partial(_send, settings)
    return carry_out(log.read, send, target, pinned=pinned, take_back=pinned, settle_s=settle_s)


def _send(settings: Settings, records: Sequence[Release]) -> None:
    """Sends them in this order, each delivery confirmed. Raises ConnectionError."""
    from schemas.headers import cloudevent_headers
    from schemas.wire import encode
    from streams.records.send import Sender

    sender, source = (
        Sender(sending(settings, linger_ms=0), topic_name("releases", settings)),
        f"/{settings.namespace}/operator",
    )
    for one in records:
        headers = cloudevent_headers(one.release_id, "headwater.release", source, one.created_ts)
        sender.send(one.role.encode(), encode(one), headers=headers)
    tally = sender.finish()
    if tally.failed:
        raise ConnectionError(f"Kafka did not take all records ({tally.problem}). Give the command again.")


def _report(target: Release, before: Release | None, sent: Sequence[Release], json: bool) -> None:
    import orjson

    from streams.prior import is_prior

    serving = sent[-1] if sent else target
    if json:
        record = {
            "serving": serving.release_id, "same_as": target.release_id, "before": _id(before),
            "pinned": serving.pinned, "prior": is_prior(serving),
            "announced": [one.model_dump(mode="json") for one in sent],
        }  # fmt: skip
        print(orjson.dumps(record).decode())
    elif sent and before is not None and before.release_id == target.release_id:
        print(f"{serving.release_id} serves, no longer pinned: {target.release_id} again")
    elif sent and is_prior(serving):
        print(f"{serving.release_id} serves: the prior weights, in place of {_id(before) or 'none'}")
    elif sent:
        print(f"{serving.release_id} serves: the file of {target.release_id}, in place of {_id(before) or 'none'}")
    else:
        print(f"{target.release_id} serves already, and is not pinned: nothing to do")


def _id(release: Release | None) -> str | None:
    return release.release_id if release is not None else None
