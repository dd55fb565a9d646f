"""A benchmark runs for real and says what it measured beside its baseline. How fast is not a test's business."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.services


def test_a_quick_benchmark_reports_both_sides_and_their_ratio(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "streams.cli", "bench", "--quick", "--json", "state", "gpu"],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "HEADWATER_DATA_DIR": str(tmp_path)},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    report = json.loads(run.stdout)
    assert report["quick"] is True
    assert report["machine"]["cores"] >= 1
    state, gpu = report["benchmarks"]
    assert (state["name"], gpu["name"]) == ("state", "gpu")
    pair = state["comparisons"][0]
    assert pair["ours"]["median"] > 0
    assert pair["baseline"]["median"] > 0
    assert pair["ratio"]["min"] <= pair["ratio"]["median"] <= pair["ratio"]["max"]
    rounds = zip(pair["ours"]["rounds"], pair["baseline"]["rounds"], pair["ratio"]["rounds"], strict=True)
    assert all(abs(ours / baseline - ratio) < 1e-9 for ours, baseline, ratio in rounds)
    assert gpu["skipped"] or gpu["comparisons"]
