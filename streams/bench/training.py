"""Training rate: the lanes' own steps beside the bare torch loop over the same batches.

In: choices as arrays, windows of visits. Out: choices or predictions a second of ours and of the loop: parameters,
`cross_entropy`, backward, a stock optimiser's step, nothing else; no gate, no replay, no clipping, no checks.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from recsys.features import CONTEXT, FEATURES
from recsys.learning.moments import Choices
from recsys.learning.ranker import STEP, RankerLearner
from recsys.learning.sequence import Rates, SequenceLearner
from recsys.rank import prior_weights
from recsys.sequence import LENGTH, SequenceNet

WIDTH = 300


def choices(n: int, seed: int = 0) -> Choices:
    """Invented choices of the size that the lane meets: 200 candidates and 100 drawn items."""
    random = np.random.default_rng(seed)
    x = random.random((n, WIDTH, len(FEATURES)), np.float32)
    context = (random.random((n, len(CONTEXT))) < 0.4).astype(np.float32)
    context[:, 0] = 1
    there = random.random((n, WIDTH)) < 0.95
    there[:, 0] = True
    return Choices(x, context, there, np.zeros((n, WIDTH), np.float32), np.zeros(n, np.int64))


def ranker_rate(some: Choices) -> float:
    """Choices a second of the ranker lane."""
    learner = RankerLearner()
    learner.learn(some)  # the first only tell how far features spread
    started = time.perf_counter()
    learner.learn(some)
    return len(some) / (time.perf_counter() - started)


def bare_ranker_rate(some: Choices) -> float:
    """The same batches in a torch loop."""
    weights = torch.nn.Parameter(torch.from_numpy(prior_weights().copy()))
    optimiser = torch.optim.Adagrad([weights], lr=0.05)
    started = time.perf_counter()
    for at in range(0, len(some), STEP):
        part = slice(at, at + STEP)
        x, context = torch.from_numpy(some.x[part]), torch.from_numpy(some.context[part])
        there, target = torch.from_numpy(some.there[part]), torch.from_numpy(some.target[part])
        scores = torch.einsum("bcf,bf->bc", x, context @ weights).masked_fill(~there, -1e9)
        loss = torch.nn.functional.cross_entropy(scores, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return len(some) / (time.perf_counter() - started)


def sequence_rates(items: int, users: int, seed: int = 0) -> tuple[float, float]:
    """Predictions a second of one epoch over the same windows of full length: ours, and a bare torch loop."""
    random = np.random.default_rng(seed)
    texts = random.standard_normal((items, 128)).astype(np.float32)
    rows = random.integers(items, size=(users, LENGTH + 1))
    learner = SequenceLearner(np.arange(1, items + 1, dtype=np.uint64), texts, Rates(epochs=1), seed)
    who = np.repeat(np.arange(users), LENGTH + 1)
    learner.take(who, rows.ravel(), np.arange(rows.size) + 1_700_000_000, np.ones(rows.size, np.float32))
    started = time.perf_counter()
    learner.fit()
    ours = users * LENGTH / (time.perf_counter() - started)

    net = SequenceNet(items, texts.shape[1])
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3)
    vectors, windows = torch.from_numpy(texts), torch.from_numpy(rows)
    idle = torch.zeros((1, LENGTH), dtype=torch.long)
    each = max(1, Rates().positions // LENGTH)
    started = time.perf_counter()
    for at in range(0, users, each):
        part = windows[at : at + each]
        into, out = net.items(vectors)
        states = net.users(into[part[:, :-1]], idle.expand(len(part), -1))
        scores = states.reshape(-1, net.dim) @ out.T + net.bias
        loss = torch.nn.functional.cross_entropy(scores, part[:, 1:].reshape(-1))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return ours, users * LENGTH / (time.perf_counter() - started)
