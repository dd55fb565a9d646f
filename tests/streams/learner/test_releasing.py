"""What passed the gate and is slower than what serves does not serve, and what serves and turns out slower goes back.
No broker: records are what would be announced."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys.learning import pace
from recsys.learning.gate import Verdict
from recsys.learning.guarded import Candidate, GuardedLearner
from recsys.learning.learner import Learner, Learnt
from recsys.policy import Policy
from recsys.rank import prior_weights
from recsys.sequence import SequenceModel, SequenceNet
from schemas.alerts import Alert
from schemas.releases import Release, TrainedThrough
from streams.learner import releasing as module
from streams.learner.releasing import Releasing
from streams.observe import metrics
from streams.releases import ReleaseStorage
from streams.served import Served
from streams.settings import Settings

THROUGH = TrainedThrough(ts=0, offsets={})


def model(dim: int) -> SequenceModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(dim)
        return SequenceModel.of(SequenceNet(20, 24, dim=dim), np.arange(20, dtype=np.uint64))


def record(name: str) -> Release:
    role: Any = name.partition("-")[0]
    return Release(
        release_id=name, role=role, sequence=int(name.rpartition("-")[2]), created_ts=0, trained_through=THROUGH,
        uri="memory://x", sha256="0" * 64, size=1, schema_version=1, status="serving",
    )  # fmt: skip


class NoTopic:
    """A desk that writes no files and reads no topic."""

    def __init__(self, *_: Any) -> None:
        self.foreign: list[str] = []

    def noticed(self, *_: Any) -> list[str]:
        return self.foreign

    def written(self, candidate: Candidate, *_: Any) -> list[Release]:
        return [record(f"{role}-made-9") for role in candidate.files]

    def announced(self, *_: Any) -> None: ...

    def look_again(self) -> None: ...

    def with_serving(self, records: list[Release]) -> list[Release]:
        return records


class Bench:
    """Releasing over a World that serves a small sequence model."""

    def __init__(self, folder: Path) -> None:
        self.served = Served(ReleaseStorage(folder.as_uri(), "ns"))
        self.serve("sequence-small-1", model(16))
        self.guarded = GuardedLearner(Learner(Policy()))
        self.guarded.learner.ranker.choices = 1
        self.sent: list[Any] = []
        self.arrives = True
        self.releasing = Releasing(Settings(), self.served.storage, self.served, self._announce)
        self.releasing.follow(self.guarded)

    def _announce(self, records: Any) -> bool:
        self.sent += records if self.arrives else []
        return self.arrives

    def serve(self, name: str, sequence: SequenceModel) -> None:
        self.served.sequence, self.served.loaded["sequence"] = sequence, record(name)

    def passes(self, sequence: SequenceModel, monkeypatch: pytest.MonkeyPatch) -> None:
        """A candidate that the gate lets pass."""
        self.guarded.candidate = Candidate("c", Learnt(prior_weights(), sequence), {"sequence": {}}, (1, 1))
        monkeypatch.setattr(self.guarded, "verdict", lambda: Verdict("promote", "not worse", {}))
        self.releasing.turn(self.guarded, lambda: THROUGH)

    @property
    def alerts(self) -> list[Alert]:
        return self.releasing.alerts


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(module, "Desk", NoTopic)
    # how models are timed is `tests/recsys/learning/test_pace.py`'s: here a model's work is to wait for its size
    monkeypatch.setattr(
        pace,
        "works",
        lambda one: {"ranker": lambda: None, "sequence model": lambda: time.sleep(1e-4 * one.sequence.dim)},
    )
    return Bench(tmp_path)


def counted(decision: str) -> float:
    return metrics.LEARNER_GATE.labels(decision)._value.get()


def test_a_slower_candidate_is_held_and_an_alert_says_so_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = counted("slower")
    for _ in range(2):
        bench.passes(model(192), monkeypatch)
        assert bench.guarded.candidate is None
    assert bench.sent == []
    assert counted("slower") == before + 2
    (alert,) = bench.alerts
    assert "ms where what serves takes" in alert.text
    assert "sequence-small-1 serves on" in alert.text
    bench.passes(model(16), monkeypatch)
    assert [one.release_id for one in bench.sent] == ["sequence-made-9"], "one of the same shape serves"


@pytest.mark.parametrize("pinned", [False, True])
def test_what_serves_and_is_slower_goes_back_unless_an_operator_holds_it(bench: Bench, pinned: bool) -> None:
    """Released by somebody else, so no gate has seen it."""
    bench.serve("sequence-large-2", model(192))
    bench.served.loaded["sequence"] = record("sequence-large-2").model_copy(update={"pinned": pinned})
    bench.releasing.follow(bench.guarded)
    if pinned:
        assert bench.sent == []
        return
    assert [(one.release_id, one.status) for one in bench.sent] == [
        ("sequence-large-2", "rolled_back"), ("ranker-made-9", "serving"),
    ]  # fmt: skip
    (alert,) = bench.alerts
    assert "slower than what served before" in alert.text
    bench.releasing.follow(bench.guarded)
    assert len(bench.sent) == 2, "once"


def test_a_canary_of_a_learner_that_is_gone_is_ended_once_that_arrives(bench: Bench) -> None:
    for name in ("sequence-of-another-7", "ranker-of-another-7"):
        bench.served.take(record(name).model_copy(update={"status": "candidate", "share": 0.1}))
    bench.arrives = False
    bench.releasing.turn(bench.guarded, lambda: THROUGH)
    assert bench.sent == []
    bench.arrives = True
    for _ in range(2):  # the feed has not read it yet
        bench.releasing.turn(bench.guarded, lambda: THROUGH)
    assert [(one.release_id, one.status, one.share) for one in bench.sent] == [
        ("ranker-of-another-7", "candidate", None), ("sequence-of-another-7", "candidate", None),
    ]  # fmt: skip
    for one in bench.sent:
        bench.served.take(one)
    assert bench.served.candidates == {}


def test_after_a_candidate_that_was_held_the_next_one_stands_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what was learnt meanwhile would wait for another turn, which on a busy machine takes seconds."""
    put_up: list[Any] = []
    monkeypatch.setattr(bench.guarded, "put_up", put_up.append)
    monkeypatch.setattr(bench.guarded, "verdict", lambda: Verdict("hold", "worse", {}))
    bench.releasing = Releasing(
        Settings(learning={"interval_ms": 100}), bench.served.storage, bench.served, bench._announce
    )
    time.sleep(0.11)
    bench.guarded.candidate = Candidate("c", bench.served.learnt, {"ranker": {}}, (1, 1))
    bench.releasing.turn(bench.guarded, lambda: THROUGH)
    assert len(put_up) == 1
    time.sleep(0.11)
    bench.passes(model(16), monkeypatch)
    assert bench.sent, "it was released"
    assert len(put_up) == 1, "what serves now has to be read first"
