"""Where memory ends the sequence lane goes on in smaller steps, on the CPU, or not at all; the learner goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recsys.learning.guarded import GuardedLearner
from recsys.learning.learner import Bounds, Learner
from recsys.learning.sequence import Rates, SequenceLearner
from recsys.learning.trainer import HALVINGS, Trainer
from recsys.learning.windows import Batch
from recsys.memory import MemoryEnded, memory_ended
from recsys.policy import Policy
from recsys.world import World
from schemas.events import EVENT
from schemas.items import Item

ITEMS, DIM, START = 30, 8, 1_760_000_000_000
RATES = Rates(epochs=2, positions=256)
ON_A_CPU = "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"
CATALOGUE = [Item(item_id=f"i{n}", title=f"thing {n}", categories=["things"]) for n in range(ITEMS)]


def world() -> World:
    vectors = np.random.default_rng(1).standard_normal((ITEMS, DIM)).astype(np.float32)
    return World.empty(DIM).advanced(CATALOGUE, [(i.item_id, v) for i, v in zip(CATALOGUE, vectors, strict=True)])


def clicks(since: int = 0) -> list[Any]:
    return [
        EVENT.validate_python({
            "event_id": f"e{since}-{user}-{turn}", "type": "interaction", "user_id": f"u{user}", "action": "click",
            "ts": START + since + turn * 60_000, "item_id": f"i{(user * 3 + turn + since // 10**7 * 6) % ITEMS}",
        })
        for turn in range(6)
        for user in range(ITEMS)
    ]  # fmt: skip


@pytest.fixture(params=[1, 10**9], ids=["sampled", "full"])
def learner(request: pytest.FixtureRequest) -> SequenceLearner:
    rates = Rates(epochs=2, positions=256, sampled_from=request.param)
    made = SequenceLearner(np.arange(1, 31, dtype=np.uint64), np.eye(30, DIM, dtype=np.float32), rates)
    users = np.repeat(np.arange(40), 9)
    rows = np.random.default_rng(1).integers(30, size=len(users))
    made.take(users, rows, np.arange(len(users)), np.ones(len(users), np.float32))
    return made


def scarce(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception, device: str = "") -> list[int]:
    """Memory for steps of at most so many predictions, on this device alone where one is named. Sizes of those that
    were taken."""
    step, sizes = Trainer._step, []

    def taken(self: Trainer, batch: Batch, *rest: Any) -> float | None:
        if int(batch.many.sum()) > most and device in ("", self.device.type):
            raise error
        sizes.append(int(batch.many.sum()))
        return step(self, batch, *rest)

    monkeypatch.setattr(Trainer, "_step", taken)
    return sizes


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError(ON_A_CPU), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_memory_says_in_many_words_that_it_has_ended(error: Exception, ended: bool) -> None:
    assert memory_ended(error) is ended


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(ON_A_CPU), MemoryError()])
def test_steps_are_halved_until_they_fit(
    learner: SequenceLearner, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    sizes = scarce(monkeypatch, 64, error)
    learner.fit()
    assert learner.fitted
    assert 0 < max(sizes) <= 64
    assert sum(sizes) == RATES.epochs * 40 * 8, "each window once an epoch"
    done = learner.trainer.relieved
    assert [one.partition(" (")[0] for one in done] == [f"taking steps of {n} predictions" for n in (128, 64)]


def test_what_does_not_fit_on_a_gpu_goes_on_on_the_cpu(
    learner: SequenceLearner, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = scarce(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"), "cuda")
    learner.trainer.device = torch.device("cuda")  # no step comes as far as that
    learner.fit()
    assert learner.trainer.device.type == "cpu"
    assert learner.fitted
    assert max(sizes) > 128, "the CPU has memory of its own"
    assert len(learner.trainer.relieved) == HALVINGS + 1
    assert "on the CPU" in learner.trainer.relieved[-1]


def test_without_any_memory_it_says_so(learner: SequenceLearner, monkeypatch: pytest.MonkeyPatch) -> None:
    scarce(monkeypatch, 0, RuntimeError(ON_A_CPU))
    with pytest.raises(MemoryEnded, match="can't allocate"):
        learner.fit()


def test_a_step_that_breaks_off_half_way_leaves_nothing_half_made(
    learner: SequenceLearner, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = [torch.OutOfMemoryError("CUDA out of memory")]
    zeros = torch.zeros_like

    def starved(tensor: torch.Tensor, **options: Any) -> torch.Tensor:
        if once and tensor is learner.trainer.net.long.weight:
            raise once.pop()
        return zeros(tensor, **options)

    monkeypatch.setattr(torch, "zeros_like", starved)
    learner.fit()
    assert not once
    assert learner.fitted
    assert np.isfinite(learner.snapshot().out).all()


def take(guarded: GuardedLearner, events: list[Any]) -> None:
    guarded.take(world(), events, [event.ts for event in events], [], 1000)


def seen(learner: Learner) -> int:
    """Choices that the ranker has taken in, the first by their spread alone."""
    return learner.ranker.measured + learner.ranker.choices


def test_the_lane_ends_and_the_learner_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Learner(Policy(), Bounds(first_fit=100), RATES)
    guarded = GuardedLearner(learner)
    take(guarded, clicks())
    while not learner.work(lambda: True, items=True):
        pass
    assert learner.learnt().sequence is not None
    scarce(monkeypatch, 0, RuntimeError(ON_A_CPU))
    before = seen(learner)
    take(guarded, clicks(10**7))
    assert not learner.work(lambda: True, items=True)
    assert learner.without is not None
    assert "leaving the lane off" in learner.relieved()[-1]
    assert learner.relieved() == [], "it is told once"
    assert (learner.sequence, learner.learnt().sequence, learner.training) == (None, None, False)

    take(guarded, clicks(2 * 10**7))
    assert seen(learner) > before
    assert not learner.work(lambda: True, items=True)
    assert learner.sequence is None, "it is not begun again"
    assert guarded.put_up(learner.learnt()) is None
    again = GuardedLearner.restore(*guarded.dump(), GuardedLearner(Learner(Policy(), Bounds(first_fit=100), RATES)))
    assert again.learner.without is None, "another process tries again"


def test_no_memory_for_the_items_ends_the_lane_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Trainer, "_make_room", starved)
    learner = Learner(Policy(), Bounds(first_fit=100), RATES)
    assert learner.follow(world(), clicks())
    assert (learner.sequence, learner.without) == (None, "MemoryError")
