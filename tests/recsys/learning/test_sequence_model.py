"""The sequence model learns what follows what, places new items by their words, and needs no company to say so."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from recsys.learning.sequence import Rates, SequenceLearner
from recsys.sequence import LENGTH, SequenceModel, idle_of

ITEMS, TEXT = 24, 16
KEYS = np.arange(100, 100 + ITEMS, dtype=np.uint64)[::-1].copy()
RATES = Rates(fit=1e-2, update=1e-2, epochs=25, positions=256)


def texts(rng):
    made = rng.standard_normal((ITEMS, TEXT)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def rounds(learner, step, users=60, n=12, since=0):
    """Users who go round the catalogue in steps of `step`."""
    rng = np.random.default_rng(since + 1)
    start = rng.integers(ITEMS, size=users)
    for turn in range(n):
        rows = (start + turn * step) % ITEMS
        at = np.full(users, since + turn * 60)
        learner.take(np.arange(users), rows, at, np.ones(users, np.float32))


def follows(model, vectors, row):
    """Rows by falling score after one item."""
    into, out, bias = model.items(KEYS, vectors)
    latest = np.full((1, LENGTH), -1, np.int32)
    latest[0, -1] = row
    user = model.users(into, latest, np.zeros(1, np.int64))[0]
    return np.argsort(-(out @ user + bias))


@pytest.fixture(scope="module")
def trained():
    vectors = texts(np.random.default_rng(5))
    learner = SequenceLearner(KEYS, vectors, RATES)
    rounds(learner, 5)
    learner.fit()
    return learner, vectors


def test_what_always_follows_comes_first(trained):
    learner, vectors = trained
    model = learner.snapshot()
    assert np.mean([follows(model, vectors, row)[0] == (row + 5) % ITEMS for row in range(ITEMS)]) > 0.9


def test_it_goes_on_learning_when_habits_change(trained):
    learner, vectors = pickle.loads(pickle.dumps(trained))
    for turn in range(8):
        rounds(learner, 7, since=10_000 * (turn + 1))
        learner.update()
    model = learner.snapshot()
    assert np.mean([(row + 7) % ITEMS in follows(model, vectors, row)[:2] for row in range(ITEMS)]) > 0.8


def test_a_users_vector_does_not_depend_on_company(trained):
    learner, vectors = trained
    model = learner.snapshot()
    into, _, _ = model.items(KEYS, vectors)
    rng = np.random.default_rng(7)
    rows = np.full((40, LENGTH), -1, np.int32)
    for line, n in enumerate(rng.integers(0, LENGTH + 1, 40)):
        if n:
            rows[line, -n:] = rng.integers(ITEMS, size=n)
    idle = rng.integers(0, 10**7, 40)
    whole = model.users(into, rows, idle)
    for some in ([3], [5, 1], list(range(39, -1, -1))):
        assert (model.users(into, rows[some], idle[some]) == whole[some]).all()
    assert (whole[(rows >= 0).sum(axis=1) == 0] == 0).all()


def test_an_item_without_a_history_is_placed_by_its_words(trained):
    learner, vectors = trained
    model = learner.snapshot()
    into, out, bias = model.items(np.array([7], np.uint64), vectors[3:4])
    placed = vectors[3:4] @ model.adapter.T * 4
    np.testing.assert_allclose(into, placed, rtol=1e-5)
    np.testing.assert_allclose(out, placed, rtol=1e-5)
    assert bias[0] == 0


def test_a_snapshot_stays_as_it_was(trained):
    learner, vectors = pickle.loads(pickle.dumps(trained))
    model = learner.snapshot()
    before = model.items(KEYS, vectors)[1].copy()
    rounds(learner, 3, since=50_000)
    learner.update()
    assert isinstance(model, SequenceModel)
    assert (model.items(KEYS, vectors)[1] == before).all()
    assert not (learner.snapshot().items(KEYS, vectors)[1] == before).all()


def test_idleness_is_told_in_powers_of_two_of_days():
    days = np.array([-5, 0, 0.5, 1, 3, 7, 1000])
    assert idle_of((days * 86_400).astype(np.int64)).tolist() == [0, 0, 0, 1, 2, 3, 7]
