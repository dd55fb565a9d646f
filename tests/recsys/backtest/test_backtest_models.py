"""The policies with something to learn: the full system by the real step, and the sequence models."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from recsys.backtest.items import ItemTable
from recsys.backtest.metrics import relevance
from recsys.backtest.policies.full import Full
from recsys.backtest.policies.sequence import SequencePolicy, Shape, windows_of
from recsys.backtest.protocol import Learning, successive
from recsys.counting import Counts
from recsys.learning.sequence import Rates
from recsys.learning.softmax import full_softmax
from recsys.statistics import Statistics
from recsys.step import Incoming, step
from recsys.user import User
from schemas.events import Request


def predicted(log, policy, cut, **options):
    return [found[policy.name] for _, found in successive(log, [policy], cut, 5, **options) if found]


def test_the_full_system_shows_what_the_step_shows_one_event_at_a_time(new_items, new_log, deeds):
    items, done = new_items(40), deeds(11, 260, 15, 40)
    log = new_log(items, done)
    policy = Full(items)
    policy.train(log.blocks(0, 200, 50))
    shown = np.concatenate([p.top for p in predicted(log, policy, 200, refresh=16)])

    # the same by hand: one step a record, statistics renewed at the start of each block
    settings, world, counts = policy.policy, Full(items).world, Counts(policy.policy)
    users: dict[str, User] = {}
    lists = []
    for at, event in enumerate(log.read(0, len(log))):
        if at == 200 or (at > 200 and (at - 200) % 16 == 0):
            fresh = log.read(0 if at == 200 else at - 16, at)
            counts.learn(fresh, [e.ts for e in fresh])
            world = world.advanced(statistics=Statistics.of(counts.tallies(), "s"))
        if at >= 200:
            asks = Request(event_id=f"?{event.event_id}", type="request", user_id=event.user_id, ts=event.ts, k=5)
            answer = step(world, users, [Incoming(asks, 0, at)], settings)
            users.update(answer.users)
            lists.append([items.row_of[i["item_id"]] for i in answer.messages[0].value["items"]])
        users.update(step(world, users, [Incoming(event, 0, at)], settings).users)
    repeat = log.block(200, len(log)).interactions.repeat
    assert not repeat.all()
    for ours, by_hand in zip(shown.tolist(), lists, strict=True):
        assert sorted(ours) == sorted(by_hand + [-1] * (5 - len(by_hand)))


def test_the_full_system_never_shows_what_was_seen_however_long_ago(new_items, new_log):
    items = new_items(620)
    done = [("u", f"i{n}", 1_700_000_000_000 + 60_000 * n) for n in range(600)]
    log = new_log(items, done)
    policy = Full(items)
    policy.train(log.blocks(0, 598, 64))
    top = np.concatenate([p.top for p in predicted(log, policy, 598)])
    assert set(top[0].tolist()) <= set(range(598, 620)) | {-1}
    assert set(top[1].tolist()) <= set(range(599, 620)) | {-1}


def test_a_pickled_full_system_goes_on_as_if_nothing_had_been(new_items, new_log, deeds):
    items, done = new_items(30), deeds(12, 300, 12, 30)
    log = new_log(items, done)
    whole = Full(items)
    whole.train(log.blocks(0, 200, 64))
    straight = predicted(log, whole, 200, refresh=20)
    again = Full(items)
    again.train(log.blocks(0, 200, 64))
    some = successive(log, [again], 200, 5, 20)
    first = [next(some)[1]["full"] for _ in range(2)]
    rest = predicted(log, pickle.loads(pickle.dumps(again)), 240, refresh=20)
    for a, b in zip(straight, first + rest, strict=True):
        assert a.top.tolist() == b.top.tolist()


def test_the_full_system_says_how_many_epochs_it_trained(new_items, new_log, deeds):
    plain = new_items(30)
    vectors = np.random.default_rng(3).standard_normal((30, 8)).astype(np.float32)
    items = ItemTable(plain.items, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    log = new_log(items, deeds(14, 300, 12, 30))
    with_texts, without = Full(items), Full(plain)
    for policy in (with_texts, without):
        policy.train(log.blocks(0, 200, 64))
    assert (with_texts.epochs_trained, without.epochs_trained) == (Rates().epochs, 0)


def test_frozen_counts_stand_still_and_users_do_not(new_items, new_log, deeds):
    items, done = new_items(30), deeds(13, 300, 12, 30)
    log = new_log(items, done)
    policies = {}
    for learning in Learning:
        policy = Full(items)
        policy.train(log.blocks(0, 200, 64))
        before = policy.counts.events
        predicted(log, policy, 200, learning=learning)
        policies[learning] = policy.counts.events - before
        assert len(policy.users["u0"].recent_ids) + len(policy.users["u0"].history) // 8 > 0
    assert policies == {Learning.ALL: 100, Learning.STATISTICS: 100, Learning.NONE: 0}


@pytest.mark.parametrize("body", ["sasrec", "gru4rec"])
def test_a_sequence_model_learns_what_follows_what(new_items, new_log, body):
    items = new_items(12)
    random = np.random.default_rng(0)
    done = []
    for n in range(260):
        start = int(random.integers(12))
        for stride in range(5):  # always the next but one
            done.append((f"u{n}", f"i{(start + 2 * stride) % 12}", 1_700_000_000_000 + 1000 * len(done)))
    log = new_log(items, done)
    policy = SequencePolicy(items, body, Shape(dim=16, epochs=25, dropout=0.1, rate=1e-2))
    policy.train(log.blocks(0, 1200, 64))
    found = [(block.interactions, policy.predict(block, 3)) for block in log.blocks(1200, 1300, 64)]
    later = np.concatenate([i.user_before > 0 for i, _ in found])
    rank = np.concatenate([p.rank for _, p in found])[later]
    assert relevance(rank, 1)["hr"].mean() > 0.9
    assert 0 < policy.epochs <= 25


def test_a_sequence_model_is_the_same_twice(new_items, new_log, deeds):
    items = new_items(15)
    log = new_log(items, deeds(14, 300, 20, 15))
    tops = []
    for _ in range(2):
        policy = SequencePolicy(items, "sasrec", Shape(dim=8, epochs=2))
        policy.train(log.blocks(0, 250, 64))
        tops.append(policy.predict(log.block(250, 300), 5).top.tolist())
    assert tops[0] == tops[1]


def test_windows_hold_each_step_of_each_user_once(new_items, new_log):
    items = new_items(130)
    done = [("a", f"i{n}", 1000 * n) for n in range(120)] + [("b", "i5", 200_000), ("b", "i7", 201_000)]
    windows = [w.tolist() for w in windows_of(new_log(items, done).blocks(0, 122, 16))]
    assert windows == [list(range(-1, 50)), list(range(49, 100)), list(range(99, 120)), [-1, 5, 7]]


@pytest.mark.parametrize(("half", "within"), [(False, 1e-6), (True, 2e-2)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("offset", [False, True])
def test_the_full_softmax_has_the_loss_and_the_gradients_of_the_plain_one(half, within, smoothing, offset):
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(50, (20,), generator=generator)
    offsets, which = torch.randn((3, 50), generator=generator), torch.randint(3, (20,), generator=generator)
    found = []
    for ours in (True, False):
        generator.manual_seed(1)
        states, table, bias = (
            torch.randn(shape, generator=generator).requires_grad_() for shape in ((20, 8), (50, 8), (50,))
        )
        if ours:
            given = (offsets, which) if offset else ()
            loss = full_softmax(states, table, bias, target, smoothing, half, *given)
        else:
            scores = states @ table.T + bias + (offsets[which] if offset else 0)
            loss = F.cross_entropy(scores, target, label_smoothing=smoothing)
        (3 * loss).backward()
        found.append([loss.detach(), states.grad, table.grad, bias.grad])
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, atol=within)


def test_what_was_shown_had_been_a_candidate_and_one_retriever_named_it_first(new_items, new_log, deeds):
    items = new_items(400)
    log = new_log(items, deeds(15, 900, 30, 400))
    policy = Full(items)
    policy.train(log.blocks(0, 500, 64))
    stages = [p.stages for p in predicted(log, policy, 500, refresh=16)]
    together = {name: np.concatenate([one[name] for one in stages]) for name in stages[0]}
    looked_at = together["candidates"] >= 0
    assert 20 < looked_at.sum() < len(looked_at) / 2
    assert (together["slate"][looked_at] <= together["candidates"][looked_at]).all()
    named = sum(column[looked_at] for name, column in together.items() if name.startswith("by "))
    assert (named == together["candidates"][looked_at]).all()
