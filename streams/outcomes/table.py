"""Tables of outcomes for a person at a terminal."""

from __future__ import annotations

import math
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from recsys.counterfactual.evaluate import Evaluation
from recsys.counterfactual.intervals import Estimate
from streams.outcomes.compare import Question

WORDS = {"ips": "IPS", "snips": "SNIPS", "dr": "doubly robust", "model": "its model alone"}
ASSUMED = {
    "slate": "a reward may depend on the whole slate",
    "cascade": "a reward depends on its item and on those above",
    "independent": "a reward depends on its own item and place alone (if items above change it, use cascade)",
}


def counterfactual_table(found: Evaluation, question: Question, notes: list[str]) -> RenderableType:
    """The answer, what it rests on, and how far to believe it."""
    table = Table(title=f"Reward per recommendation: the log against {question.target}", title_justify="left", box=SIMPLE_HEAD)
    interval = f"{question.level:.0%} interval"
    for name in ("", "reward", interval, "difference", interval):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    table.add_row("the log", *_cells(found.logging), "", "")
    for name, value in found.target.items():
        lift = found.lift.get(name)
        table.add_row(WORDS[name], *_cells(value), *(_cells(lift, "+") if lift else ("", "")))
    mean = float(found.overlap.mean_weight.mean())
    lines = [
        f"{found.slates:,} recommendations of {found.users:,} users; {ASSUMED[found.assume]}.",
        f"They tell as much as {found.ess:,.0f} of the target's own would; their mean weight is {mean:.2f} (1 is due);",
        f"{found.overlap.drawn:.0%} of the places were open to chance.",
        *notes,
        *(f"Warning: {warning}" for warning in found.warnings),
    ]
    return Group(table, *lines)


def _cells(value: Estimate, sign: str = "") -> tuple[str, str]:
    return shown(value.value, sign), interval_of(value, sign)


def shown(x: float, sign: str = "") -> str:
    return "-" if math.isnan(x) else format(x, f"{sign}.4f")


def interval_of(value: Any, sign: str = "") -> str:
    return "-" if math.isnan(value.low) else f"{shown(value.low, sign)} .. {shown(value.high, sign)}"
