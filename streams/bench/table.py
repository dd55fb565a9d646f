"""Results for a person to read."""

from __future__ import annotations

from statistics import median
from typing import Any, Literal

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from streams.bench.result import Aim, Result


def show_machine(console: Console, machine: dict[str, Any], quick: bool) -> None:
    """The line above all tables."""
    words = [
        f"{machine['cores']} cores of {machine['processor'] or 'an unnamed processor'}",
        f"{machine['memory_gib']} GiB",
        machine["gpu"] or "no GPU",
        f"Python {machine['python']}",
        f"load before {machine['load_before'][0]}",
    ]
    console.print(Text(", ".join(words), "dim"), soft_wrap=True)
    if quick:
        console.print(Text("--quick: sizes that only show that it works; the figures mean nothing.", "yellow"))


def show(console: Console, result: Result) -> None:
    """One benchmark: its comparisons, figures, stages, notes."""
    console.print(Group(Text(), Text.assemble((result.name, "bold"), f": {result.about}"), *_parts(result)))


def _parts(result: Result) -> list[RenderableType]:
    if result.skipped is not None:
        return [Text(result.skipped, "yellow")]
    parts: list[RenderableType] = []
    for against in dict.fromkeys(one.against for one in result.comparisons):
        table = _table("measure", "unit", "ours", against, "ratio", "min-max", "aim")
        for one in (one for one in result.comparisons if one.against == against):
            ratios = one.ratios
            table.add_row(
                one.measure, one.unit, _number(median(one.ours)), _number(median(one.baseline)),
                f"{median(ratios):.2f}", f"{min(ratios):.2f}-{max(ratios):.2f}", _aim(one.aim, median(ratios)),
            )  # fmt: skip
        parts.append(table)
    if result.figures:
        table = _table("figure", "unit", "median", "min-max", "aim")
        for figure in result.figures:
            found = figure.rounds
            table.add_row(
                figure.measure,
                figure.unit,
                _number(median(found)),
                f"{_number(min(found))} - {_number(max(found))}" if len(found) > 1 else "",
                _aim(figure.aim, median(found)),
            )
        parts.append(table)
    if result.stages:
        line = ", ".join(f"{name} {seconds:.2f}" for name, seconds in result.stages.items() if seconds >= 0.005)
        parts.append(Padding(Text(f"seconds by stage: {line}", "dim"), (0, 0, 0, 1)))
    parts += [Padding(Text(note, "dim"), (0, 0, 0, 1)) for note in result.notes]
    return parts


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    for column in columns:
        words = column in ("measure", "figure", "unit", "aim")
        long = column in ("measure", "figure")
        justify: Literal["left", "right"] = "left" if words else "right"
        heading = column if long else column.replace(" ", "\n")  # so that a terminal of 80 columns holds them all
        table.add_column(heading, justify=justify, no_wrap=not long, min_width=16 if long else None)
    return table


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _aim(aim: Aim | None, found: float) -> Text:
    if aim is None:
        return Text("")
    met = aim.met(found)
    return Text(f"{aim} {'met' if met else 'short'}", "green" if met else "yellow")
