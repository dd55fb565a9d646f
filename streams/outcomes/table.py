"""Tables of outcomes for a person at a terminal."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from recsys.counterfactual.evaluate import Evaluation
from recsys.counterfactual.intervals import Estimate
from recsys.experiments.results import ALARM
from streams.outcomes.arms import Report
from streams.outcomes.compare import Question

WORDS = {"ips": "IPS", "snips": "SNIPS", "dr": "doubly robust", "model": "its model alone"}
ASSUMED = {
    "slate": "a reward may depend on the whole slate",
    "cascade": "a reward depends on its item and on those above",
    "independent": "a reward depends on its own item and place alone (if items above change it, use cascade)",
}


def counterfactual_table(found: Evaluation, question: Question, notes: list[str]) -> RenderableType:
    """The answer, what it rests on, and how far to believe it."""
    interval = f"{question.level:.0%} interval"
    title = f"Reward per recommendation: the log against {Path(question.target).name}"
    table = _table(title, ("", "reward", interval, "difference", interval), [])
    table.add_row("the log", *_cells(found.logging), "", "")
    for name, value in found.target.items():
        lift = found.lift.get(name)
        table.add_row(WORDS[name], *_cells(value), *(_cells(lift, "+") if lift else ("", "")))
    mean = float(found.overlap.mean_weight.mean())
    lines = [
        f"{found.slates:,} recommendations of {found.users:,} users; {ASSUMED[found.assume]}. They tell as much as "
        f"{found.ess:,.0f} of the target's own would; their mean weight is {mean:.2f} (1 is due); "
        f"{found.overlap.drawn:.0%} of the places were open to chance.",
        *notes,
        *(f"Warning: {warning}" for warning in found.warnings),
    ]
    return Group(table, *lines)


def _cells(value: Estimate, sign: str = "") -> tuple[str, str]:
    return shown(value.value, sign), interval_of(value, sign)


def shown(x: float, sign: str = "") -> str:
    return "-" if math.isnan(x) else format(x, f"{sign}.4f" if abs(x) < 1000 else f"{sign}.3g")


def interval_of(value: Any, sign: str = "") -> str:
    return "-" if math.isnan(value.low) else f"{shown(value.low, sign)} .. {shown(value.high, sign)}"


def experiment_tables(report: Report, level: float) -> RenderableType:
    """Arms, differences, duels, and what is wrong."""
    interval = f"{level:.0%} interval"
    parts: list[RenderableType] = [
        _table(
            "Reward per recommendation, of the mean user",
            ("arm", "users", "recommendations", "reward", interval),
            [(a.name, f"{a.users:,}", f"{a.recommendations:,}", shown(a.rate), interval_of(a)) for a in report.arms],
        )
    ]
    if report.differences:
        several = len(report.differences) > 1
        parts.append(
            _table(
                f"Difference to {report.differences[0].baseline}",
                ("arm", "difference", interval, "p", *(("p, all compared",) if several else ())),
                [
                    (d.name, shown(d.value, "+"), interval_of(d, "+"), _p(d.p), *((_p(d.adjusted),) if several else ()))
                    for d in report.differences
                ],
            )
        )
    if report.duels:
        parts.append(
            _table(
                "Interleaved: whose items users chose",
                ("rankings", "users", "won", "lost", "tied", "slates", "p"),
                [
                    (
                        f"{d.first} against {d.second}", f"{d.users:,}", f"{d.wins_first:,}", f"{d.wins_second:,}",
                        f"{d.ties:,}", f"{d.slates_first:,} : {d.slates_second:,}", _p(d.p),
                    )
                    for d in report.duels
                ],
            )
        )  # fmt: skip
    if report.ratio is not None:
        parts.append(
            f"Sample ratio: p = {_p(report.ratio.p)} ({'as it should be' if report.ratio.p >= ALARM else 'wrong'})"
        )
    return Group(*parts, *report.notes, *(f"Warning: {warning}" for warning in report.warnings))


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for at, name in enumerate(columns):
        table.add_column(name, justify="right" if at else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _p(p: float) -> str:
    return "-" if math.isnan(p) else "< 0.0001" if p < 1e-4 else f"{p:.4f}"
