"""Options of a backtest: what was asked for, and the names of what can be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recsys.backtest.protocol import Learning
from streams.records.files import Format

POLICIES = {
    "popular": "Popular, all time",
    "trending": "Popular of late (30 days)",
    "covisitation": "Co-visitation",
    "ease": "EASE, frozen",
    "text": "Text alone",
    "sasrec": "SASRec, frozen",
    "gru4rec": "GRU4Rec, frozen",
    "full": "Headwater, full system",
}
"""By name, in the order in which they stand in a report."""
QUICK = ("popular", "trending", "covisitation", "full")


@dataclass(frozen=True, slots=True)
class Options:
    """`items` empty: the catalogue is what the events name. `predictions`: where predicted lists go, if anywhere."""

    items: Sequence[str]
    events: Sequence[str]
    out: Path
    split: float = 0.9
    k: int = 10
    policies: Sequence[str] = QUICK
    refresh: int = 64
    learning: Learning = Learning.ALL
    predictions: Path | None = None
    format: Format | None = None
    epochs: int = 40
    """Most epochs of a sequence model; it ends earlier once it has converged."""
    fresh: bool = False
    """Start over, whatever an interrupted run left."""
