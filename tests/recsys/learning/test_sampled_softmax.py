"""The sampled softmax is the full one in expectation; a learner of a large catalogue learns by it, and repeatably."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from recsys.learning.sampled import Sampler, sampled_softmax
from recsys.learning.sequence import Rates, SequenceLearner
from recsys.sequence import LENGTH, SequenceModel

ITEMS, TEXT = 40, 16
KEYS = np.arange(100, 100 + ITEMS, dtype=np.uint64)
RATES = Rates(fit=1e-2, update=1e-2, epochs=15, positions=256, sampled_from=ITEMS, negatives=16)
TEXTS = np.random.default_rng(5).standard_normal((ITEMS, TEXT)).astype(np.float32) / 4


def rounds(learner: SequenceLearner, step: int, since: int = 0, users: int = 60, n: int = 12) -> None:
    start = np.random.default_rng(since + 1).integers(ITEMS, size=users)
    for turn in range(n):
        rows, at = (start + turn * step) % ITEMS, np.full(users, since + turn * 60)
        learner.take(np.arange(users), rows, at, np.ones(users, np.float32))


def follows(model: SequenceModel, row: int) -> int:
    into, out, bias = model.items(KEYS, TEXTS)
    latest = np.full((1, LENGTH), -1, np.int32)
    latest[0, -1] = row
    return int(np.argmax(out @ model.users(into, latest, np.zeros(1, np.int64))[0] + bias))


def state_of(learner: SequenceLearner) -> dict[str, str]:
    return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in learner.dump()[0].items()}


def test_draws_stand_for_the_whole_catalogue_in_expectation() -> None:
    weights = 1 / np.arange(1, 201)
    sampler, random = Sampler(weights, 64), np.random.default_rng(2)
    values = random.random(200)
    sums = []
    for _ in range(4000):
        drawn = sampler.draw(random)
        assert (np.diff(drawn.rows) > 0).all()
        sums.append(float((np.exp(drawn.correction) * values[drawn.rows]).sum()))
    assert np.mean(sums) == pytest.approx(values.sum(), rel=0.01)


def test_with_all_others_drawn_it_is_the_full_softmax_and_its_gradient_is_right() -> None:
    torch.manual_seed(0)
    n, m, dim = 7, 11, 4

    def made(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    table, bias, states = made(m, dim), made(m), made(n, dim)
    given, which = torch.randn(3, m, dtype=torch.float64), torch.randint(3, (n,))
    target = torch.randint(m, (n,))
    same = torch.arange(n), target

    def loss(states: torch.Tensor, table: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return sampled_softmax(
            states, table[target], bias[target], table, bias, given[which, target], given, which, same
        )

    scores = states @ table.T + bias + given[which]
    torch.testing.assert_close(loss(states, table, bias), torch.nn.functional.cross_entropy(scores, target))
    assert torch.autograd.gradcheck(loss, (states, table, bias))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_a_large_catalogue_is_learnt_from_draws_and_goes_on_from_a_checkpoint_to_the_same_bits() -> None:
    learner = SequenceLearner(KEYS, TEXTS, RATES)
    assert learner.trainer.sampled
    rounds(learner, 7)
    learner.fit()
    model = learner.snapshot()
    assert np.mean([follows(model, row) == (row + 7) % ITEMS for row in range(ITEMS)]) > 0.9

    again = SequenceLearner.restore(*learner.dump(), RATES)
    again.stock(KEYS, TEXTS)
    for at, one in enumerate((learner, again)):
        torch.manual_seed(at)  # what else draws in a process is of no matter
        rounds(one, 9, since=10_000)
        one.update_users()
        one.update()
        one.fit()
    assert state_of(learner) == state_of(again)
    assert not np.array_equal(model.out, learner.snapshot().out)


def test_another_seed_draws_others() -> None:
    losses = []
    for seed in (1, 1, 2):
        learner = SequenceLearner(KEYS, TEXTS, RATES, seed)
        rounds(learner, 7)
        learner.fit()
        losses.append(learner.loss)
    assert losses[0] == losses[1] != losses[2]


def test_a_catalogue_that_grows_large_takes_along_what_was_learnt() -> None:
    few = ITEMS // 2
    learner = SequenceLearner(KEYS[:few], TEXTS[:few], RATES)
    users = np.repeat(np.arange(30), 8)
    rows = (users + np.tile(np.arange(8) * 3, 30)) % few
    learner.take(users, rows, np.arange(len(users)), np.ones(len(users), np.float32))
    learner.fit()
    assert not learner.trainer.sampled
    before = learner.snapshot()
    learner.stock(KEYS, TEXTS)
    assert learner.trainer.sampled
    after = learner.snapshot()
    assert np.array_equal(after.out[:few], before.out)
    rounds(learner, 7, since=10_000)
    learner.update()
    learner.fit()
    assert np.isfinite(learner.snapshot().out).all()


def test_the_user_side_alone_leaves_the_items_as_they_were() -> None:
    learner = SequenceLearner(KEYS, TEXTS, RATES)
    rounds(learner, 7)
    learner.fit()
    before = learner.snapshot()
    rounds(learner, 9, since=10_000)
    learner.update_users()
    after = learner.snapshot(before)
    assert after.out is before.out
    whole = learner.snapshot()
    assert np.array_equal(whole.out, before.out)
    assert all(np.array_equal(whole.user_side()[name], array) for name, array in after.user_side().items())
    assert not np.array_equal(before.user_side()["long.weight"], after.user_side()["long.weight"])
