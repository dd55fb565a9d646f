"""`gpu`: candidates scored a second by the Ranker, and searches, on the GPU, beside the bare matrix product.

Twice: with features and queries that lie on the device already, and from numpy arrays and back, as a step has them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from streams.bench.laboratory import Laboratory
from streams.bench.machine import gpu as gpu_name
from streams.bench.result import Comparison, Result
from streams.bench.rounds import by_turns

QUERIES = 256
CANDIDATES = 200
DIM = 384
NEAREST = 200


def gpu(lab: Laboratory) -> Result:
    """Rates on the GPU; says so where there is none."""
    about = "scoring and search on the GPU, against the bare matrix product"
    name = gpu_name()
    if name is None:
        return Result(
            "gpu", about, skipped="There is no GPU here: torch finds no CUDA device, so nothing was measured."
        )
    items, seconds, rounds = (40_000, 0.2, 2) if lab.quick else (1_000_000, 2.0, 5)
    result = Result("gpu", about, setting={"gpu": name, "items": items, "queries": QUERIES, "candidates": CANDIDATES})
    result.comparisons = [*_scoring(lab, seconds, rounds), *_searching(lab, items, seconds, rounds)]
    return result


def _scoring(lab: Laboratory, seconds: float, rounds: int) -> list[Comparison]:
    import torch

    from recsys.features import CONTEXT, FEATURES
    from recsys.rank import Ranker

    ranker = Ranker("cuda")
    x = np.random.default_rng(1).standard_normal((QUERIES, CANDIDATES, len(FEATURES)), np.float32)
    there = torch.from_numpy(x).cuda()
    weight = ranker.module.weight.detach()[0]
    moment = np.zeros((QUERIES, len(CONTEXT)), np.float32)
    moment[:, 0] = 1
    now = torch.from_numpy(moment).cuda()

    def bare_from_numpy() -> Any:
        return (torch.from_numpy(x).cuda() @ weight).cpu().numpy()

    pairs = (
        ("scored, on the device", lambda: ranker.module(there, now).sum(dim=-1), lambda: there @ weight),
        ("scored, from and to numpy", lambda: ranker.scores(x, moment), bare_from_numpy),
    )
    return [
        _compare(lab, measure, "candidates/s", QUERIES * CANDIDATES, ours, bare, seconds, rounds)
        for measure, ours, bare in pairs
    ]


def _searching(lab: Laboratory, items: int, seconds: float, rounds: int) -> list[Comparison]:
    import torch

    from recsys.index.dense import DenseIndex

    random = np.random.default_rng(2)
    vectors = random.standard_normal((items, DIM), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked = vectors[random.integers(items, size=QUERIES)]
    rows = np.arange(items, dtype=np.int32)
    index = DenseIndex.empty(DIM, "cuda").grown(items).with_vectors(rows, vectors).rebuilt(np.ones(items, bool))
    there = torch.from_numpy(vectors).cuda().T.contiguous()
    queries = torch.from_numpy(asked).cuda()

    def bare() -> Any:
        return torch.topk(queries @ there, NEAREST, dim=1).indices.cpu()

    pairs = (
        (f"searches in {items:,}, the World's", lambda: index.search(asked, NEAREST)),
        (f"searches in {items:,}, FAISS alone", lambda: index.main.search(asked, NEAREST)),
    )
    return [_compare(lab, name, "queries/s", QUERIES, ours, bare, seconds, rounds) for name, ours in pairs]


def _compare(
    lab: Laboratory,
    measure: str,
    unit: str,
    each: int,
    ours: Callable[[], Any],
    bare: Callable[[], Any],
    seconds: float,
    rounds: int,
) -> Comparison:
    for call in (ours, bare):
        _rate(call, each, seconds / 4)
    mine, other = by_turns(
        lambda: _rate(ours, each, seconds),
        lambda: _rate(bare, each, seconds),
        rounds,
        lambda line: lab.say(f"gpu: {line}"),
    )
    return Comparison(measure, unit, mine, other, "bare product")


def _rate(call: Callable[[], Any], each: int, seconds: float) -> float:
    """`each` times calls a second; the device has finished when the clock stops."""
    import torch

    torch.cuda.synchronize()
    calls, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(4):
            call()
        torch.cuda.synchronize()
        calls += 4
    return each * calls / (time.perf_counter() - started)
