"""A run of benchmarks: names in, results out, one after the other in one laboratory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from streams.bench.laboratory import Laboratory, Say
from streams.bench.machine import machine
from streams.bench.result import Result
from streams.settings import Settings

BENCHMARKS = {
    "state": "state events through the worker, against a bare loop",
    "ranking": "rankings from 100,000 items through the worker, against the bare kernel",
    "latency": "from an event to its recommendation, against a bare hop through the broker",
    "workers": "two workers against one",
    "replay": "a log replayed, against the worker at its highest rate",
    "users": "10,000 users against 1,000,000: rate, and bytes a user",
    "learn": "learning while it serves: rate, freshness, swaps, flips of taste, attacks",
    "gpu": "scoring and search on the GPU, against the bare matrix product",
    "encode": "texts into vectors, against the bare forward pass",
}
"""Name -> what it measures, in the order of a full run. Each is the function of its name in the module of its name."""


def run(settings: Settings, names: Sequence[str], *, quick: bool, say: Say, show: Callable[[Result], None]) -> Any:
    """Runs the named benchmarks and returns the report as a plain dict; `show` gets each result as it comes."""
    report: dict[str, Any] = {"quick": quick, "machine": machine(settings), "benchmarks": []}
    with Laboratory(settings, quick=quick, say=say) as lab:
        for name in names:
            started = time.monotonic()
            result: Result = getattr(import_module(f"streams.bench.{name}"), name)(lab)
            result.took_s = time.monotonic() - started
            report["benchmarks"].append(result.as_dict())
            show(result)
    return report
