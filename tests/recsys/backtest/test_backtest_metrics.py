"""Metrics against ranx, a library of others, on the same lists; and what it does not have by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from recsys.backtest.metrics import diversity, novelty, relevance

_BY_RANX = """
import json, sys
import ranx
lists, right, names = json.load(sys.stdin)
qrels = ranx.Qrels({f"q{q}": {f"i{item}": 1} for q, item in enumerate(right)})
run = ranx.Run(
    {f"q{q}": {f"i{item}": 1.0 - place / 100 for place, item in enumerate(shown)} for q, shown in enumerate(lists)}
)
print(json.dumps([float(ranx.evaluate(qrels, run, [name])) for name in names]))
"""


@pytest.mark.parametrize("k", [1, 5, 10])
def test_hr_ndcg_and_mrr_are_those_of_ranx(k):
    random = np.random.default_rng(3)
    lists = [random.permutation(40)[:15] for _ in range(60)]
    right = random.integers(40, size=60)
    rank = np.array(
        [
            1 + int(np.flatnonzero(shown == item)[0]) if item in shown else 0
            for shown, item in zip(lists, right, strict=True)
        ]
    )
    ours = {name: float(column.mean()) for name, column in relevance(rank, k).items()}
    names = {"hr": f"hit_rate@{k}", "ndcg": f"ndcg@{k}", "mrr": f"mrr@{k}"}
    asked = json.dumps([[shown.tolist() for shown in lists], right.tolist(), list(names.values())])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _BY_RANX], input=asked, text=True, capture_output=True, check=True,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},  # it would compile for a minute
    )  # fmt: skip
    theirs = dict(zip(names, json.loads(done.stdout), strict=True))
    for name in names:
        assert ours[name] == pytest.approx(theirs[name], abs=1e-12)


def test_novelty_is_the_mean_surprise_of_a_slate():
    counts = np.array([8.0, 4.0, 0.0, 4.0])
    assert novelty(np.array([[0, 1], [1, -1], [-1, -1]]), counts)[:2].tolist() == [1.5, 2.0]
    assert novelty(np.array([[2]]), counts).tolist() == [5.0]  # half an event of sixteen
    assert np.isnan(novelty(np.array([[-1, -1]]), counts)).all()


def test_diversity_is_the_mean_distance_of_all_pairs():
    random = np.random.default_rng(0)
    vectors = random.standard_normal((6, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    top = np.array([[0, 1, 2, 3], [4, 5, -1, -1], [2, -1, -1, -1]])
    found = diversity(top, vectors)
    pairs = [1 - float(vectors[a] @ vectors[b]) for a in range(4) for b in range(a)]
    assert found[0] == pytest.approx(np.mean(pairs), abs=1e-6)
    assert found[1] == pytest.approx(1 - float(vectors[4] @ vectors[5]), abs=1e-6)
    assert np.isnan(found[2])
