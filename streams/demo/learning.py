"""What the demo shows of the loop: which releases the recommendations are made by, and how old their learning is.

In: release records, and the Worlds that recommendations name. Out: for each lane the sequence number in use and its
staleness: from the last event that its release had read to the recommendation made by it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import orjson

LANES = ("statistics", "ranker", "sequence")
_RECENT = 400


@dataclass
class Loop:
    """`take` releases and `see` recommendations as they come."""

    read_ts: dict[str, int] = field(default_factory=dict)  # release_id -> log's time that its learner had read, ms
    in_use: dict[str, str] = field(default_factory=dict)  # lane -> release_id
    swaps: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LANES, 0))
    ages: dict[str, list[float]] = field(default_factory=lambda: {lane: [] for lane in LANES})

    def take(self, value: bytes) -> None:
        """A record of the releases topic."""
        record: dict[str, Any] = orjson.loads(value)
        if record["role"] in LANES:
            self.read_ts[record["release_id"]] = record["trained_through"]["ts"]

    def see(self, recommendation: dict[str, Any]) -> None:
        names = recommendation["world"]
        now = time.time() * 1000
        for name in [names["statistics_id"], *names["release_id"].split("+")]:
            lane = name.partition("-")[0]
            if lane not in self.swaps:
                continue
            if self.in_use.get(lane) != name:
                self.in_use[lane] = name
                self.swaps[lane] += 1
            if (read := self.read_ts.get(name)) is not None:
                self.ages[lane] = [*self.ages[lane][-_RECENT:], max(0.0, now - read) / 1000]

    def staleness(self, lane: str) -> float | None:
        """Seconds, the median of the latest recommendations; None while no release of the lane served."""
        ages = sorted(self.ages[lane])
        return ages[len(ages) // 2] if ages else None

    def line(self) -> str:
        """All lanes in a few words."""
        said = [
            f"{lane} {self.in_use[lane].rpartition('-')[2]} ({self.staleness(lane):.1f} s)"
            for lane in LANES
            if lane in self.in_use and self.staleness(lane) is not None
        ]
        return ", ".join(said) or "nothing learnt yet"

    def figures(self) -> dict[str, Any]:
        """By lane: releases that recommendations were made by, and the staleness in seconds."""
        return {
            lane: {"releases_served": self.swaps[lane], "staleness_s": _rounded(self.staleness(lane))} for lane in LANES
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
