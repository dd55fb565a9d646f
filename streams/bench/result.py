"""What a benchmark says: series of rounds, comparisons of two series, figures of one.

In: seconds or rates from `streams.bench.rounds`. Out: plain dicts for JSON, rows for the table. A machine's speed is
never judged, only ratios of what was measured in the same run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

Direction = Literal["at least", "at most"]


@dataclass(frozen=True, slots=True)
class Aim:
    """What a ratio (or a figure) should be. It is shown, and never a reason to fail."""

    direction: Direction
    value: float

    def met(self, found: float) -> bool:
        return found >= self.value if self.direction == "at least" else found <= self.value

    def __str__(self) -> str:
        return f"{'>=' if self.direction == 'at least' else '<='} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure in rounds, ours beside the baseline's. The ratio is taken round by round, so that a machine that
    slows down half-way through touches both sides of each ratio alike."""

    measure: str
    unit: str
    ours: list[float]
    baseline: list[float]
    against: str
    aim: Aim | None = None

    @property
    def ratios(self) -> list[float]:
        return [mine / other for mine, other in zip(self.ours, self.baseline, strict=True)]

    def as_dict(self) -> dict[str, Any]:
        return {
            "measure": self.measure,
            "unit": self.unit,
            "against": self.against,
            "ours": spread(self.ours),
            "baseline": spread(self.baseline),
            "ratio": spread(self.ratios),
            **_judged(self.aim, median(self.ratios)),
        }


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure without a baseline."""

    measure: str
    unit: str
    rounds: list[float]
    aim: Aim | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "measure": self.measure,
            "unit": self.unit,
            **spread(self.rounds),
            **_judged(self.aim, median(self.rounds)),
        }


@dataclass(slots=True)
class Result:
    """Everything a benchmark found. `stages`: seconds by stage of the worker, over all measured rounds; a stage of one
    thread runs beside those of the others, so they need not add up. `skipped` says why there is nothing."""

    name: str
    about: str
    comparisons: list[Comparison] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    setting: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    skipped: str | None = None
    took_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "about": self.about,
            "skipped": self.skipped,
            "comparisons": [one.as_dict() for one in self.comparisons],
            "figures": [one.as_dict() for one in self.figures],
            "stages": {name: round(seconds, 4) for name, seconds in self.stages.items()},
            "setting": self.setting,
            "notes": self.notes,
            "took_s": round(self.took_s, 1),
        }


def spread(rounds: list[float]) -> dict[str, Any]:
    """Median, least and greatest, and all rounds in their order."""
    return {
        "median": median(rounds),
        "min": min(rounds),
        "max": max(rounds),
        "rounds": rounds,
    }


def _judged(aim: Aim | None, found: float) -> dict[str, Any]:
    return {} if aim is None else {"aim": str(aim), "met": aim.met(found)}
