"""A Comparison for a person at a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from schemas.wire import format_rfc3339
from streams.replay.compare import Comparison, Difference
from streams.replay.why import items, why

_ROWS = 10


def page(found: Comparison, a: str, b: str) -> RenderableType:
    """`a`, `b`: what the two sides are called."""
    if found.equal:
        return Text(f"The same: {found.same:,} recommendations in {a} and in {b}.", style="green")
    head = Table(box=None, padding=(0, 1), show_header=False)
    head.add_column(justify="right", style="bold")
    head.add_column()
    for count, said in (
        (found.same, "the same in both"),
        (found.differs, "differ"),
        (found.only_a, f"only in A ({a})"),
        (found.only_b, f"only in B ({b})"),
        (found.moved, "in another order"),
    ):
        if count:
            head.add_row(f"{count:,}", said)
    parts: list[RenderableType] = [head, Text(f"{found.users:,} users have a difference.", style="dim")]
    for number, one in enumerate(found.first):
        parts += [Rule("the first difference" if not number else f"the first of {one.key}"), difference(one)]
    if found.earliest is not None and found.earliest not in found.first:
        parts += [Rule("the earliest in event time"), difference(found.earliest)]
    return Group(*parts)


def difference(one: Difference) -> RenderableType:
    """One record: whose, for which event, why, and the items side by side."""
    trigger = one.record.get("trigger", {})
    head = Text.assemble(
        ("user ", "dim"), (one.key, "bold"), ("  event ", "dim"), f"{trigger.get('type')} {trigger.get('event_id')}",
        ("  at ", "dim"), format_rfc3339(int(trigger.get("ts", 0))), ("  record ", "dim"), f"{one.place:,}",
        "  ", (one.kind, "yellow"),
    )  # fmt: skip
    parts: list[RenderableType] = [head]
    parts += [Text(f"  {line}") for line in why(one)]
    rows = items(one) if one.kind == "differs" else []
    if rows:
        parts.append(_table(rows))
    return Group(*parts)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1))
    table.add_column("#", justify="right", style="dim")
    for side in ("A", "B"):
        table.add_column(side, overflow="fold")
        table.add_column("score", justify="right")
    table.add_column("what changed (B less A)", overflow="fold")
    for row in rows[:_ROWS]:
        table.add_row(
            str(row["rank"]), *_cells(row["a"]), *_cells(row["b"]), escape("\n".join(map(_said, row["changes"])))
        )
    if len(rows) > _ROWS:
        table.add_row("", f"... and {len(rows) - _ROWS} more ranks", "", "", "", "")
    return table


def _cells(item: dict[str, Any] | None) -> tuple[str, str]:
    if item is None:
        return "–", ""
    moved = f" ({item['moved']})" if item.get("moved") else ""
    return escape(f"{item['item_id']} from {item['source']}{moved}"), f"{item['score']:.5f}"


def _said(change: dict[str, Any]) -> str:
    before, after = change["rank"]
    place = f"rank {before}" if before == after else f"rank {before} to {after}"
    reasons = "".join(f"; {text} {weight:+.4f}" for text, weight in change["reasons"].items())
    return f"{change['item_id']}: {place}, score {change['score']:+.5f}{reasons}"
