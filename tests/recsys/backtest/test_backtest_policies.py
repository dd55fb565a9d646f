"""The protocol and its policies, against plain loops over the same log."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import log2

import numpy as np
import pytest

from recsys.backtest.policies.covisitation import CoVisitation
from recsys.backtest.policies.ease import Ease
from recsys.backtest.policies.popular import Popular, Trending
from recsys.backtest.policies.text import Text
from recsys.backtest.protocol import Learning, cut_at, successive


def run(log, policies, cut, **options):
    for policy in policies:
        policy.train(log.blocks(0, cut, 32))
    ranks = defaultdict(list)
    for _, found in successive(log, policies, cut, 5, **options):
        for name, predicted in found.items():
            ranks[name] += predicted.rank.tolist()
    return ranks


def test_popular_one_by_one_is_what_a_plain_loop_counts(new_items, new_log, deeds):
    items, done = new_items(25), deeds(4, 500, 12, 25)
    cut = cut_at(len(done), 0.6)
    ranks = run(new_log(items, done), [Popular(items)], cut, refresh=1)["popular"]
    counts, seen, expected = Counter(), defaultdict(set), []
    for at, (user, item, _) in enumerate(done):
        if at >= cut:
            rivals = [i for i in items.ids if i not in seen[user] and counts[i] >= counts[item] and i != item]
            expected.append(0 if item in seen[user] else len(rivals) + 1)
        counts[item] += 1
        seen[user].add(item)
    assert ranks == expected


def test_within_a_block_counts_stand_still_and_the_users_own_past_does_not(new_items, new_log):
    items = new_items(3)
    log = new_log(items, [("a", "i0", 1000), ("b", "i1", 2000), ("c", "i1", 3000), ("b", "i0", 4000)])
    together = run(log, [Popular(items)], 1, refresh=64)["popular"]
    # i1 is not counted yet when c takes it, but b has seen i1 when b takes i0
    assert together == [3, 3, 1]
    apart = run(log, [Popular(items)], 1, refresh=1)["popular"]
    assert apart == [3, 2, 1]


def test_trending_forgets(new_items, new_log):
    items = new_items(3)
    day = 86_400_000
    old = [(f"u{n}", "i0", 1_000_000_000_000 + n) for n in range(8)]
    new = [(f"v{n}", "i1", 1_000_000_000_000 + 150 * day + n) for n in range(2)]
    log = new_log(items, [*old, *new, ("w", "i1", 1_000_000_000_000 + 151 * day)])
    ranks = run(log, [Popular(items), Trending(items)], 10)
    assert ranks["popular"] == [2]
    assert ranks["trending"] == [1]


def test_trending_is_a_plain_decayed_sum(new_items, new_log, deeds):
    items, done = new_items(20), deeds(5, 300, 200, 20)
    done = [(user, item, ts * 2000) for user, item, ts in done]  # stretched over years
    cut = 200
    ranks = run(new_log(items, done), [Trending(items)], cut, refresh=1)["trending"]
    half_life, seen, expected = 30 * 86_400_000, defaultdict(set), []
    for at, (user, item, _) in enumerate(done):
        if at >= cut:
            now = done[at - 1][2]
            sums = np.zeros(len(items))
            for _, other, ts in done[:at]:
                sums[items.row_of[other]] += 2.0 ** ((ts - now) / half_life)
            mine = sums[items.row_of[item]]
            rivals = [r for r in range(len(items)) if items.ids[r] not in seen[user] and sums[r] >= mine * (1 - 1e-6)]
            expected.append(0 if item in seen[user] else len(rivals))
        seen[user].add(item)
    assert ranks == expected


def test_covisitation_follows_who_came_after(new_items, new_log):
    items = new_items(6)
    path = [(f"u{n}", f"i{item}", 1000 * (10 * n + step)) for n in range(3) for step, item in enumerate((0, 1, 2))]
    log = new_log(
        items, [*path, ("x", "i0", 900_000), ("x", "i1", 901_000), ("y", "i5", 902_000), ("y", "i4", 903_000)]
    )
    ranks = run(log, [CoVisitation(items)], 10)["covisitation"]
    assert ranks[0] == 1  # i1 comes right after i0
    assert ranks[2] == 5  # y has one unknown neighbour: all but the seen one are equal, and ties count against it


def test_ease_solves_what_its_paper_states(new_items, new_log, deeds):
    items, done = new_items(12), deeds(6, 400, 40, 12)
    log = new_log(items, done)
    policy = Ease(items, ridge=5.0)
    policy.train(log.blocks(0, 300, 64))
    x = np.zeros((40, 12))
    for user, item, _ in done[:300]:
        x[int(user[1:]), items.row_of[item]] = 1
    inverse = np.linalg.inv(x.T @ x + 5.0 * np.eye(12))
    weights = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0)
    assert policy._weights == pytest.approx(weights, abs=1e-4)


def test_text_finds_what_reads_alike(new_items, new_log):
    items = new_items(4)
    vectors = np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    object.__setattr__(items, "vectors", vectors)
    log = new_log(items, [("a", "i0", 1000), ("a", "i1", 2000), ("b", "i3", 3000)])
    assert run(log, [Text(items)], 1)["text"] == [1, 4]


@pytest.mark.parametrize("learning", list(Learning))
def test_what_is_frozen_learns_nothing_after_the_cut(new_items, new_log, deeds, learning):
    items, done = new_items(25), deeds(7, 400, 30, 25)
    ranks = run(new_log(items, done), [Popular(items)], 200, refresh=16, learning=learning)["popular"]
    counts, seen, still = Counter(item for _, item, _ in done[:200]), defaultdict(set), []
    for at, (user, item, _) in enumerate(done):
        if at >= 200:
            rivals = [i for i in items.ids if i not in seen[user] and counts[i] >= counts[item] and i != item]
            still.append(0 if item in seen[user] else len(rivals) + 1)
        seen[user].add(item)
    assert (ranks == still) == (learning is Learning.NONE)


def test_a_cut_leaves_something_on_both_sides():
    assert cut_at(10, 0.9) == 9
    assert cut_at(126_824, 0.9) == 114_141
    for events, split in ((1, 0.9), (0, 0.5), (10, 0.05)):
        with pytest.raises(ValueError, match="nothing to"):
            cut_at(events, split)
    for split in (0, 1, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            cut_at(10, split)


def test_gains_fall_with_the_logarithm_of_the_rank():
    from recsys.backtest.metrics import ndcg

    assert ndcg(np.array([1, 2, 3, 10, 11, 0]), 10).tolist() == pytest.approx([1, 1 / log2(3), 0.5, 1 / log2(11), 0, 0])
