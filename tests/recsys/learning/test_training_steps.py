"""Steps of training: the same again from the same seed, whoever else draws, and as good in mixed precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys.learning.sequence import Rates, SequenceLearner
from recsys.sequence import LENGTH, SequenceModel

ITEMS, TEXT, STEP = 40, 16, 7
KEYS = np.arange(1, ITEMS + 1, dtype=np.uint64)
TEXTS = np.random.default_rng(2).standard_normal((ITEMS, TEXT)).astype(np.float32) / 4


@pytest.fixture(params=[1, 10**9], ids=["sampled", "full"])
def rates(request: pytest.FixtureRequest) -> Rates:
    return Rates(fit=1e-2, update=1e-2, epochs=25, positions=256, sampled_from=request.param, negatives=16)


def rounds(learner: SequenceLearner, since: int) -> None:
    """Sixty users who go round the items in steps of STEP."""
    start = np.random.default_rng(since).integers(ITEMS, size=60)
    for turn in range(12):
        learner.take(
            np.arange(60), (start + turn * STEP) % ITEMS, np.full(60, since + turn * 60), np.ones(60, np.float32)
        )


def hits(model: SequenceModel) -> float:
    into, out, bias = model.items(KEYS, TEXTS)
    latest = np.full((ITEMS, LENGTH), -1, np.int32)
    latest[:, -1] = np.arange(ITEMS)
    found = model.users(into, latest, np.zeros(ITEMS, np.int64)) @ out.T + bias
    return float(np.mean(found.argmax(axis=1) == (np.arange(ITEMS) + STEP) % ITEMS))


def test_the_same_is_learnt_again_whoever_draws_meanwhile(rates: Rates) -> None:
    def learnt(others: int) -> SequenceModel:
        torch.manual_seed(others)
        learner = SequenceLearner(KEYS, TEXTS, rates)
        rounds(learner, 0)
        learner.fit()
        torch.rand(others)
        rounds(learner, 10_000)
        learner.update()
        learner.update_users()
        return learner.snapshot()

    one, other = learnt(1), learnt(2)
    assert np.array_equal(one.into, other.into)
    assert np.array_equal(one.out, other.out)
    mine, theirs = one.net.state_dict(), other.net.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_mixed_precision_learns_what_single_precision_does(rates: Rates) -> None:
    """As on a GPU, computed by the processor."""
    learner = SequenceLearner(KEYS, TEXTS, rates)
    learner.trainer._mixed = learner.trainer._half = True
    kinds = []

    def noted(_module: torch.nn.Module, _given: object, made: torch.Tensor) -> None:
        kinds.append(made.dtype)

    learner.trainer.net.adapter.register_forward_hook(noted)
    rounds(learner, 0)
    learner.fit()
    assert hits(learner.snapshot()) > 0.9
    assert kinds, "the adapter was used"
    assert set(kinds) == {torch.bfloat16}
    held = {p.dtype for p in learner.trainer.net.parameters()}
    held |= {v.dtype for one in learner.trainer.optimiser.state.values() for v in one.values() if v.ndim}
    assert held == {torch.float32}, "what is learnt is kept in single precision"
    rounds(learner, 10_000)
    learner.update()
    learner.update_users()
    assert hits(learner.snapshot()) > 0.9


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_gpu_learns_it_too_and_the_processor_goes_on_from_its_checkpoint(rates: Rates) -> None:
    learner = SequenceLearner(KEYS, TEXTS, rates, device="cuda")
    rounds(learner, 0)
    learner.fit()
    assert hits(learner.snapshot()) > 0.9
    rounds(learner, 10_000)
    learner.update()
    learner.update_users()
    again = SequenceLearner.restore(*learner.dump(), rates)
    assert np.array_equal(again.snapshot().out, learner.snapshot().out)
    again.stock(KEYS, TEXTS)
    rounds(again, 20_000)
    again.update()
    assert hits(again.snapshot()) > 0.9
    learner.adopt(again.snapshot())
    assert hits(learner.snapshot()) > 0.9
