"""`headwater bench`: one benchmark for real, at the size that only shows that it works; and how results are judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streams.bench.result import Aim, Comparison, Figure, Result
from streams.bench.rounds import by_turns
from streams.bench.run import BENCHMARKS


def bench(data_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "streams.cli", "bench", *words],
        env=os.environ | {"HEADWATER_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bench")
    done = bench(folder, "state", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []  # it leaves nothing behind
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.services
def test_a_report_says_what_was_measured_on_which_machine(report):
    assert report["quick"] is True
    machine = report["machine"]
    assert machine["cores"] >= 1
    assert machine["memory_gib"] > 0
    assert {"kafka", "torch", "confluent-kafka", "faust-streaming"} <= machine["versions"].keys()
    (state,) = report["benchmarks"]
    assert state["name"] == "state"
    assert state["skipped"] is None
    assert state["setting"]["events"] == 5_000


@pytest.mark.services
def test_both_sides_of_a_comparison_were_measured_in_every_round(report):
    (comparison,) = report["benchmarks"][0]["comparisons"]
    ours, bare, ratio = comparison["ours"], comparison["baseline"], comparison["ratio"]
    assert comparison["unit"] == "events/s"
    assert len(ours["rounds"]) == len(bare["rounds"]) == len(ratio["rounds"]) == 2
    assert all(rate > 0 for rate in ours["rounds"] + bare["rounds"])
    assert ratio["rounds"] == pytest.approx([a / b for a, b in zip(ours["rounds"], bare["rounds"], strict=True)])
    assert ratio["min"] <= ratio["median"] <= ratio["max"]
    assert comparison["aim"] == ">= 0.4"
    assert comparison["met"] is (ratio["median"] >= 0.4)


@pytest.mark.services
def test_the_stages_say_where_the_time_went(report):
    stages = report["benchmarks"][0]["stages"]
    assert {"decode", "load", "step", "encode", "save", "step.fold", "step.profile"} <= stages.keys()
    assert stages["step"] > 0
    assert stages["step.fold"] + stages["step.profile"] <= stages["step"]


def test_a_benchmark_that_does_not_exist_is_named_together_with_those_that_do(tmp_path):
    done = bench(tmp_path, "sate")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no benchmark sate" in done.stderr
    assert all(name in done.stderr for name in BENCHMARKS)


def test_without_a_gpu_its_benchmark_says_so_and_is_no_failure(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = bench(tmp_path, "gpu", "--quick")
    assert done.returncode == 0, done.stderr
    assert "There is no GPU here" in done.stdout


def test_a_ratio_is_taken_round_by_round():
    # the machine was half as fast in the second round: both sides were, and the ratio doesn't move
    one = Comparison("rate", "1/s", [40.0, 20.0, 40.0], [100.0, 50.0, 80.0], "bare", Aim("at least", 0.4))
    assert one.ratios == [0.4, 0.4, 0.5]
    assert one.as_dict()["met"] is True


@pytest.mark.parametrize(
    ("direction", "value", "found", "met"),
    [
        ("at least", 0.4, 0.39, False),
        ("at least", 0.4, 0.4, True),
        ("at most", 50, 51, False),
        ("at most", 50, 50, True),
    ],
)
def test_an_aim_is_met_on_its_own_side(direction, value, found, met):
    assert Figure("x", "", [found], Aim(direction, value)).as_dict()["met"] is met


def test_sides_go_first_by_turns():
    order: list[str] = []

    def side(name: str, value: float) -> Any:
        def measure() -> float:
            order.append(name)
            return value

        return measure

    found = by_turns(side("ours", 1.0), side("bare", 2.0), 3, lambda _: None)
    assert found == ([1.0] * 3, [2.0] * 3)
    assert order == ["ours", "bare", "bare", "ours", "ours", "bare"]


def test_a_result_survives_json():
    result = Result("x", "about", [Comparison("r", "1/s", [1.0], [2.0], "bare")], [Figure("f", "ms", [3.0])])
    again = json.loads(json.dumps(result.as_dict()))
    assert again["comparisons"][0]["ratio"]["median"] == 0.5
    assert again["figures"][0]["median"] == 3.0
