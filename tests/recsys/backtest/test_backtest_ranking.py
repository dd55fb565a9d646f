"""Dense scores to slates and ranks: against the plainest way to work them out."""

from __future__ import annotations

from itertools import chain

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.backtest.items import ItemTable
from recsys.backtest.log import Interactions
from recsys.backtest.ranking import ranked
from schemas.items import Item

N = 9


def interactions(rows: list[int], seen: list[list[int]], ts: int = 0) -> Interactions:
    m = len(rows)
    many = np.array([len(one) for one in seen], np.int64)
    return Interactions(
        user=np.arange(m), row=np.array(rows, np.int64), ts=np.full(m, ts), weight=np.ones(m, np.float32),
        place=np.arange(m), repeat=np.zeros(m, bool), user_before=many, item_before=np.zeros(m, np.int64),
        chain=np.array(list(chain.from_iterable(seen)), np.int32), first=np.cumsum(many) - many,
    )  # fmt: skip


def table(**more: dict[str, object]) -> ItemTable:
    return ItemTable([Item(item_id=str(n), title=str(n), **more.get(f"i{n}", {})) for n in range(N)])


cases = st.tuples(
    st.lists(
        st.lists(st.sampled_from([-2.5, -1.0, 0.0, 0.5, 0.50001, 3.0]), min_size=N, max_size=N), min_size=1, max_size=4
    ),
    st.integers(0, 2**30),
)


@settings(max_examples=150)
@given(cases, st.integers(1, 12))
def test_ranks_and_slates_are_those_of_the_plainest_sort_with_ties_worst(case, k):
    scores, seed = np.array(case[0], np.float32), case[1]
    random = np.random.default_rng(seed)
    rows = random.integers(-1, N, len(scores)).tolist()
    seen = [random.choice(N, random.integers(0, 4), replace=False).tolist() for _ in rows]
    found = ranked(scores, interactions(rows, seen), table(), k)
    for line, row in enumerate(rows):
        order = sorted((n for n in range(N) if n not in seen[line]), key=lambda n: (-scores[line, n], n == row, n))
        assert found.top[line].tolist() == (order + [-1] * k)[:k]
        assert found.rank[line] == (order.index(row) + 1 if row in order else 0)


def test_scores_that_differ_by_rounding_alone_are_equal():
    score = np.full((1, N), np.float32(0.1) + np.float32(0.2))
    score[0, 4] = np.nextafter(score[0, 0], np.float32(1))
    assert ranked(score, interactions([4], [[]]), table(), 3).rank.tolist() == [N]
    score[0, 4] *= np.float32(1.00001)
    assert ranked(score, interactions([4], [[]]), table(), 3).rank.tolist() == [1]


def test_what_is_not_on_offer_is_not_ranked():
    items = table(i0={"available": False}, i1={"expires_at": 1000}, i2={"answer": "in the menu"})
    score = np.arange(N, 0, -1, dtype=np.float32)[None]
    before, after = (ranked(score, interactions([3], [[]], ts), items, 2) for ts in (999, 1000))
    assert before.top.tolist() == [[1, 3]]
    assert before.rank.tolist() == [2]
    assert after.top.tolist() == [[3, 4]]
    assert after.rank.tolist() == [1]


def test_what_a_policy_never_shows_has_no_rank():
    score = np.full((1, N), -np.inf, np.float32)
    score[0, 2] = 1
    found = ranked(score, interactions([5], [[]]), table(), 3)
    assert found.rank.tolist() == [0]
    assert found.top.tolist() == [[2, -1, -1]]
