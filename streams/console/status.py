"""Snapshots over time -> what the page shows: rates, lag, freshness, stages, catalogue, World, dead letters.

In: `streams.console.gather` snapshots, one a second or so. Out: a plain dict, the body of /status.json. Counters are
compared role by role, so that a role that starts again from nought never makes a rate negative.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from streams.console.gather import Samples, Snapshot, samples_of

WINDOW_S = 10.0  # rates and quantiles are over this long
HISTORY = 120  # points of the curves
STEP_S = 1.0

_EVENTS, _RECOMMENDATIONS = "headwater_events_total", "headwater_recommendations_total"
_DEAD, _FRESHNESS, _STAGE = "headwater_dead_letters_total", "headwater_freshness_seconds", "headwater_stage_seconds"


@dataclass(frozen=True, slots=True)
class _Moment:
    at: float
    roles: dict[tuple[str, int], Samples]


class Status:
    """Keeps the last `WINDOW_S` seconds of samples, and a point of each curve a second."""

    def __init__(self) -> None:
        self._moments: deque[_Moment] = deque()
        self._curves: deque[dict[str, float | None]] = deque(maxlen=HISTORY)
        self._drawn = 0.0
        self._snapshot = Snapshot(0.0)

    def add(self, snapshot: Snapshot) -> None:
        """Takes a snapshot in, and forgets what is older than the window."""
        found = {(one.role.instance, one.role.pid): samples_of(one.text) for one in snapshot.answers if one.answered}
        self._snapshot = snapshot
        self._moments.append(_Moment(snapshot.at, found))
        while len(self._moments) > 2 and snapshot.at - self._moments[1].at >= WINDOW_S:
            self._moments.popleft()
        if snapshot.at - self._drawn >= STEP_S * 0.9:
            self._drawn = snapshot.at
            numbers = self._numbers()
            self._curves.append({name: numbers[name] for name in ("events_s", "recommendations_s", "p50_ms", "p99_ms")})

    def view(self) -> dict[str, Any]:
        """All of it, ready to be JSON."""
        return {
            **self._numbers(),
            "roles": [
                {
                    "role": one.role.role,
                    "instance": one.role.instance,
                    "pid": one.role.pid,
                    "reasons": one.reasons,
                    "memory": self._of((one.role.instance, one.role.pid), "process_resident_memory_bytes"),
                    "catalogue": self._of((one.role.instance, one.role.pid), "headwater_catalogue_items"),
                }
                for one in self._snapshot.answers
            ],
            # workers that serve the same World show it once
            "world": [dict(names) for names in sorted(sorted(labels) for labels in self._worlds())],
            "events": _by_label(self._latest(), _EVENTS, "type"),
            "recommendations": _by_label(self._latest(), _RECOMMENDATIONS, "kind"),
            "dead_letters": _by_label(self._latest(), _DEAD, "reason"),
            "stages": self._stages(),
            "curves": list(self._curves),
        }

    def _numbers(self) -> dict[str, float | None]:
        grown, seconds = self._grown()
        rates = {name: _total(grown, name) / seconds if seconds else 0.0 for name in (_EVENTS, _RECOMMENDATIONS)}
        buckets: dict[float, float] = {}
        for (name, labels), count in grown.items():
            if name == f"{_FRESHNESS}_bucket":
                bound = float(dict(labels)["le"])
                buckets[bound] = buckets.get(bound, 0.0) + count
        p50, p99 = quantile(buckets, 0.5), quantile(buckets, 0.99)
        return {
            "events_s": rates[_EVENTS],
            "recommendations_s": rates[_RECOMMENDATIONS],
            "p50_ms": None if p50 is None else p50 * 1000,
            "p99_ms": None if p99 is None else p99 * 1000,
            "lag": self._sum("headwater_lag_records"),
            "outbox": self._sum("headwater_outbox_pending"),
            "fenced": self._sum("headwater_fenced_total"),
            "catalogue": self._least("headwater_catalogue_items"),
            "catalogue_pending": self._most("headwater_catalogue_pending"),
            "world_age_s": self._most("headwater_world_age_seconds"),
            "statistics_sequence": self._most("headwater_statistics_sequence"),
            "learner_staleness_s": self._most("headwater_learner_staleness_seconds"),
            "encoder_pending": self._sum("headwater_encoder_pending"),
        }

    def _stages(self) -> list[dict[str, Any]]:
        """Mean milliseconds of a batch in each stage over the window, the longest first."""
        grown, _ = self._grown()
        spent: dict[str, float] = {}
        times: dict[str, float] = {}
        for (name, labels), value in grown.items():
            into = {f"{_STAGE}_sum": spent, f"{_STAGE}_count": times}.get(name)
            if into is not None:
                stage = dict(labels)["stage"]
                into[stage] = into.get(stage, 0.0) + value
        means = {stage: 1000 * spent[stage] / count for stage, count in times.items() if count}
        return [{"stage": stage, "ms": mean} for stage, mean in sorted(means.items(), key=lambda one: -one[1])]

    def _grown(self) -> tuple[Samples, float]:
        """How much each sample grew over the window, summed over roles, and the window's seconds."""
        if len(self._moments) < 2:
            return {}, 0.0
        first, last = self._moments[0], self._moments[-1]
        grown: Samples = {}
        for who, now in last.roles.items():
            before = first.roles.get(who)
            if before is None:
                continue
            for key, value in now.items():
                grown[key] = grown.get(key, 0.0) + max(0.0, value - before.get(key, 0.0))
        return grown, last.at - first.at

    def _latest(self) -> list[tuple[str, frozenset[tuple[str, str]], float]]:
        roles = self._moments[-1].roles if self._moments else {}
        return [(name, labels, value) for samples in roles.values() for (name, labels), value in samples.items()]

    def _worlds(self) -> set[frozenset[tuple[str, str]]]:
        return {labels for name, labels, _ in self._latest() if name == "headwater_world_info"}

    def _values(self, name: str) -> list[float]:
        return [value for found, _, value in self._latest() if found == name]

    def _sum(self, name: str) -> float | None:
        values = self._values(name)
        return sum(values) if values else None

    def _least(self, name: str) -> float | None:
        return min(self._values(name), default=None)

    def _most(self, name: str) -> float | None:
        return max(self._values(name), default=None)

    def _of(self, who: tuple[str, int], name: str) -> float | None:
        samples = self._moments[-1].roles.get(who, {}) if self._moments else {}
        return samples.get((name, frozenset()))


def quantile(buckets: dict[float, float], q: float) -> float | None:
    """The `q`-quantile of a histogram: upper bound (`inf` included) -> cumulative count. None when it is empty.

    Between two bounds values are taken to lie evenly; in the last, open bucket the lower bound is given.
    """
    bounds = sorted(buckets)
    if not bounds or not buckets[bounds[-1]]:
        return None
    wanted = q * buckets[bounds[-1]]
    for low, high in pairwise([0.0, *bounds]):
        below, upto = buckets.get(low, 0.0), buckets[high]
        if upto >= wanted and upto > below:
            return low if high == float("inf") else low + (high - low) * (wanted - below) / (upto - below)
    return bounds[-1]


def _total(samples: Samples, name: str) -> float:
    return sum(value for (found, _), value in samples.items() if found == name)


def _by_label(latest: Iterable[tuple[str, Any, float]], name: str, label: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for found, labels, value in latest:
        if found == name:
            counts[dict(labels).get(label, "")] += int(value)
    return dict(counts.most_common())
