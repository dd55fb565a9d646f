"""How `headwater releases` shows releases to a person: a table, a page, what is in one, a chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemas.releases import Release
    from streams.lineage import Lineage

METRICS = ("difference", "candidate", "serving")
"""Of a release: how much better it ranked choices than what served, its NDCG@10, and that of what served."""
SHOWN = 12
"""Most weights, and ancestors."""
_CHART_LINES = 4
_BLOCKS = " ▁▂▃▄▅▆▇█"


def row_of(lineage: Lineage, release: Release, now: int) -> dict[str, Any]:
    """Its record, and what it is to the topic. `prior`: it holds the prior weights, and has read nothing: no
    staleness."""
    from streams.prior import is_prior

    age, staleness = (max(0, now - ts) / 1000 for ts in (release.created_ts, release.trained_through.ts))
    prior = is_prior(release)
    more = {
        "serves": lineage.serves(release), "canary": lineage.is_canary(release), "prior": prior, "age_s": age,
        "staleness_s": None if prior else staleness,
    }  # fmt: skip
    return {**release.model_dump(mode="json"), **more}


def table_of(lineage: Lineage, releases: Sequence[Release], now: int) -> Any:
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
        row = row_of(lineage, one, now)
        table.add_row(
            one.role, f"{one.sequence:,}", one.release_id, _status(row), _lasting(row["age_s"]),
            "-" if row["prior"] else format_rfc3339(one.trained_through.ts), _lasting(row["staleness_s"]),
            decimal(one.size),
            *(_figure(one.metrics.get(name), "+" if name == "difference" else "") for name in METRICS),
            style="bold" if row["serves"] else "" if row["canary"] else "dim",
        )  # fmt: skip
    return table


def page(found: dict[str, Any]) -> Any:
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
    read = f"{format_rfc3339(through['ts'])}, {_lasting(found['staleness_s'])} ago"
    table.add_row("trained through", "nothing: the prior weights" if found["prior"] else read)
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
    parts: list[Any] = [Text(found["release_id"], style="bold"), table, table_of_contents(found["contents"])]
    for name, title in (("serving", "NDCG@10 before learning, of what served"), ("difference", "the candidate's lead")):
        values = [one[name] for one in found["history"] if name in one]
        if len(values) > 1:
            parts.append(Text(f"\n{title}, over the last {len(values)} releases of role {found['role']}"))
            parts.append(Text(chart(values)))
    return Group(*parts)


def table_of_contents(found: dict[str, Any]) -> Any:
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
        for row in rows[:SHOWN]:
            weights.add_row(row["feature"], row["moment"], *(f"{row[c]:+.4f}" for c in ("before", "after", "change")))
        parts += [weights, f"{len(rows):,} weights differ" + (f", {SHOWN} shown" if len(rows) > SHOWN else "")]
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
    return _standing(row) + (", prior weights" if row["prior"] else "")


def _standing(row: dict[str, Any]) -> str:
    if row["serves"]:
        return "serving, pinned" if row["pinned"] else "serving"
    if row["canary"]:
        return f"canary, {100 * row['share']:.3g}% of users"
    return "superseded" if row["status"] == "serving" else str(row["status"])


def _lasting(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _figure(value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 10 else f"{value:{sign}.4f}"
