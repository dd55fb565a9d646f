"""`headwater releases`: what has been learnt and serves, what is in it, and an operator's say in it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.terminal import connected, console, note, sending, stop, topic_name

if TYPE_CHECKING:
    from schemas.releases import Release
    from streams.lineage import Lineage, Log
    from streams.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ReleaseId = Annotated[str, typer.Argument(metavar="ID", help="Id of a release.")]
METRICS = ("difference", "candidate", "serving")
"""Of a release: how much better it ranked choices than what served, its NDCG@10, and that of what served."""
_SHOWN = 12  # weights, ancestors
_CHART = 60  # releases in a chart
_CHART_LINES = 4
_BLOCKS = " ▁▂▃▄▅▆▇█"
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
    choices that neither had learnt from: of the candidate, of what served then, and the difference.

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
            {"role": name, "serving": _id(lineage.serving(name)), "releases": [_row(lineage, one, now) for one in some]}
            for name, some in shown.items()
        ]
        print(orjson.dumps({"roles": rows}).decode())
        return
    if not shown:
        note("no release yet" + (f" of role {role}" if role else "") + ": the learner makes one when there are events")
        return
    console().print(_table(lineage, [one for some in shown.values() for one in some], now))


@group.command()
def show(release_id: ReleaseId, json: AsJson = False) -> None:
    """Show all of a release: its record, what it comes from, whether its file is there and whole, and what is in it.

    Example: `headwater releases show ranker-0123456789-17`
    """
    import orjson

    from streams.lineage import Refused, contents, state_of_file, weights_changed_by
    from streams.releases import ReleaseStorage, ReleaseUnusable

    with _topic(release_id) as (log, settings):
        lineage = log.read()
        release = lineage.find(release_id)
        storage = ReleaseStorage.of(settings)
        ancestors = lineage.ancestors(release)[:_SHOWN]
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
        **_row(lineage, release, now), "file": file, "contents": inside,
        "ancestors": [_row(lineage, one, now) for one in ancestors],
        "history": [
            {"release_id": one.release_id, **{name: one.metrics[name] for name in METRICS if name in one.metrics}}
            for one in lineage.of(release.role)[:_CHART][::-1] if "serving" in one.metrics
        ],
    }  # fmt: skip
    if json:
        print(orjson.dumps(found).decode())
    else:
        console().print(_page(found))


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

    from streams.lineage import differences
    from streams.releases import ReleaseStorage

    with _topic(one, other) as (log, settings):
        lineage = log.read()
        before, after = lineage.find(one), lineage.find(other)
        found = differences(ReleaseStorage.of(settings), before, after)
    if json:
        print(orjson.dumps({"from": one, "to": other, "role": before.role, **found}).decode())
    else:
        console().print(_contents(found))


@group.command()
def rollback(
    role: Annotated[str, typer.Argument(help="ranker, sequence or encoder.")],
    to: Annotated[str | None, typer.Option(metavar="ID", help="This one; else the one before what serves.")] = None,
    json: AsJson = False,
) -> None:
    """Make the release before the one that serves, or --to, serve again; the one that serves is marked as rolled back.

    It is pinned: the learner goes on learning from it and releases nothing until `headwater releases promote` lets go
    of it. A sequence release brings the adapter that it was learnt with.

    Example: `headwater releases rollback ranker`, or `headwater releases rollback ranker --to ranker-0123456789-17`
    """
    with _topic(*([to] if to else [])) as (log, settings):
        lineage = log.read()
        target = lineage.target(role, to)
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

    serving = sent[-1] if sent else target
    if json:
        record = {
            "serving": serving.release_id, "same_as": target.release_id, "before": _id(before),
            "pinned": serving.pinned, "announced": [one.model_dump(mode="json") for one in sent],
        }  # fmt: skip
        print(orjson.dumps(record).decode())
    elif sent and before is not None and before.release_id == target.release_id:
        print(f"{serving.release_id} serves, no longer pinned: {target.release_id} again")
    elif sent:
        print(f"{serving.release_id} serves: the file of {target.release_id}, in place of {_id(before) or 'none'}")
    else:
        print(f"{target.release_id} serves already, and is not pinned: nothing to do")


def _id(release: Release | None) -> str | None:
    return release.release_id if release is not None else None


def _row(lineage: Lineage, release: Release, now: int) -> dict[str, Any]:
    age, staleness = (max(0, now - ts) / 1000 for ts in (release.created_ts, release.trained_through.ts))
    more = {"serves": lineage.serves(release), "age_s": age, "staleness_s": staleness}
    return {**release.model_dump(mode="json"), **more}


# for a person ---------------------------------------------------------------------------------------------
def _table(lineage: Lineage, releases: Sequence[Release], now: int) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.filesize import decimal
    from rich.table import Table

    from schemas.wire import format_rfc3339

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    names = ("role", "sequence", "release", "status", "age", "trained through", "staleness", "size", *METRICS)
    for name in names:
        numeric = name in ("sequence", "age", "staleness", "size", *METRICS)
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    role = ""
    for one in releases:
        if role and one.role != role:
            table.add_section()
        role = one.role
        row = _row(lineage, one, now)
        table.add_row(
            one.role, f"{one.sequence:,}", one.release_id, _status(row), _lasting(row["age_s"]),
            format_rfc3339(one.trained_through.ts), _lasting(row["staleness_s"]), decimal(one.size),
            *(_figure(one.metrics.get(name), "+" if name == "difference" else "") for name in METRICS),
            style="bold" if row["serves"] else "dim",
        )  # fmt: skip
    return table


def _page(found: dict[str, Any]) -> Any:
    """All of `show`."""
    from rich.console import Group
    from rich.filesize import decimal
    from rich.table import Table
    from rich.text import Text

    from schemas.wire import format_rfc3339

    table = Table(box=None, padding=(0, 1), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    through, file = found["trained_through"], found["file"]
    offsets = ", ".join(f"{partition}:{at:,}" for partition, at in through["offsets"].items())
    table.add_row("status", _status(found))
    table.add_row("released", f"{format_rfc3339(found['created_ts'])}, {_lasting(found['age_s'])} ago")
    table.add_row("trained through", f"{format_rfc3339(through['ts'])}, {_lasting(found['staleness_s'])} ago")
    table.add_row("", f"next offsets {offsets}" if offsets else "")
    table.add_row("file", f"{found['uri']} ({decimal(found['size'])}, sha256 {found['sha256']})")
    if (base := found["base"]) is not None:
        table.add_row("base", f"{base['uri']} ({decimal(base['size'])}, sha256 {base['sha256']})")
    said = "there and whole, sha256 as released" if file["state"] == "whole" else f"{file['state']}: {file['why']}"
    table.add_row("", Text(said, style="green" if file["state"] == "whole" else "bold red"))
    chain = [f"{one['release_id']} ({_status(one)})" for one in found["ancestors"]]
    if not chain and found["parent"]:
        chain = [f"{found['parent']} (no longer on the topic)"]
    table.add_row("comes from", " <- ".join(chain) or "nothing: it is the first")
    figures = "  ".join(f"{name} {_figure(value)}" for name, value in found["metrics"].items())
    table.add_row("metrics", figures or "none")
    parts: list[Any] = [Text(found["release_id"], style="bold"), table, _contents(found["contents"])]
    for name, title in (("serving", "NDCG@10 before learning, of what served"), ("difference", "the candidate's lead")):
        values = [one[name] for one in found["history"] if name in one]
        if len(values) > 1:
            parts.append(Text(f"\n{title}, over the last {len(values)} releases of role {found['role']}"))
            parts.append(Text(chart(values)))
    return Group(*parts)


def _contents(found: dict[str, Any]) -> Any:
    """What is in a release, or differs between two."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        for name in columns:
            made.add_column(name, justify="left" if name in ("feature", "moment", "part", "shape") else "right")
        return made

    parts: list[Any] = []
    titles = {"weights": "Weights that differ", "from_prior": "Weights that differ most from the prior",
              "from_parent": "Weights that differ most from its parent"}  # fmt: skip
    for name in [name for name in titles if name in found]:
        rows = found[name]
        weights = table(titles[name], "feature", "moment", "before", "after", "change")
        for row in rows[:_SHOWN]:
            weights.add_row(row["feature"], row["moment"], *(f"{row[c]:+.4f}" for c in ("before", "after", "change")))
        parts += [weights, f"{len(rows):,} weights differ" + (f", {_SHOWN} shown" if len(rows) > _SHOWN else "")]
    if found.get("parts"):
        moved = any("cosine" in row for row in found["parts"])
        columns = ("cosine", "norm", "relative") if moved else ("norm",)
        arrays = table("", "part", *(() if moved else ("shape",)), *columns)
        for row in found["parts"]:
            shape = () if moved else (" x ".join(map(str, row["shape"])),)
            arrays.add_row(row["part"], *shape, *(_figure(row.get(name)) for name in columns))
        parts.append(arrays)
    plain = {name: value for name, value in found.items() if name not in (*titles, "parts") and value != []}
    for name, value in plain.items():
        said = ", ".join(f"{k} {v:,}" for k, v in value.items()) if isinstance(value, dict) else value
        parts.append(f"{name.replace('_', ' ')}: {said}")
    return Group(*parts)


def chart(values: Sequence[float]) -> str:
    """A column of blocks for each value, the first on the left; the scale is on the left too."""
    low, high = min(0.0, *values) if min(values) < 0 else min(values), max(values)
    steps = [round((value - low) / ((high - low) or 1.0) * (8 * _CHART_LINES - 1)) + 1 for value in values]
    lines = []
    for line in reversed(range(_CHART_LINES)):
        scale = {_CHART_LINES - 1: f"{high:+.4f}", 0: f"{low:+.4f}"}.get(line, "")
        lines.append(f"{scale:>8} " + "".join(_BLOCKS[min(8, max(0, step - 8 * line))] for step in steps))
    return "\n".join(lines)


def _status(row: dict[str, Any]) -> str:
    if row["serves"]:
        return "serving, pinned" if row["pinned"] else "serving"
    return "superseded" if row["status"] == "serving" else str(row["status"])


def _lasting(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _figure(value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 10 else f"{value:{sign}.4f}"
