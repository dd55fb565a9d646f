"""Which interaction is the reward of which place: against a plain loop, and the cases one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.counterfactual.attribution import Acts, Shown, rewards_of

WINDOW = 10


def arrays(shown: list[tuple[int, list[int], int]], acts: list[tuple[int, int, int, int]]) -> tuple[Shown, Acts]:
    """shown: (user, items, order); acts: (user, item, order, rec or -1). Time goes with the order."""
    width = max((len(items) for _, items, _ in shown), default=1)
    items = np.full((len(shown), width), -1, np.int64)
    for n, (_, row, _) in enumerate(shown):
        items[n, : len(row)] = row
    users, order = (np.array([row[i] for row in shown], np.int64) for i in (0, 2))
    columns = [np.array([row[i] for row in acts], np.int64) for i in range(4)]
    return Shown(users, items, order, order), Acts(columns[0], columns[1], columns[2], columns[2], columns[3])


def plain(shown: list[tuple[int, list[int], int]], acts: list[tuple[int, int, int, int]], width: int) -> np.ndarray:
    out = np.zeros((len(shown), width))
    for user, item, order, rec in acts:
        if rec >= 0:
            if item in shown[rec][1] and order > shown[rec][2]:
                out[rec, shown[rec][1].index(item)] = 1
            continue
        earlier = [
            (when, n) for n, (who, items, when) in enumerate(shown) if who == user and item in items and when < order
        ]
        if earlier and order - max(earlier)[0] <= WINDOW:
            n = max(earlier)[1]
            out[n, shown[n][1].index(item)] = 1
    return out


@given(st.data())
def test_it_is_what_a_plain_loop_finds(data: st.DataObject) -> None:
    orders = data.draw(st.permutations(range(40)))
    n = data.draw(st.integers(1, 15))
    slate = st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True)
    shown = [(data.draw(st.integers(0, 2)), data.draw(slate), orders[i]) for i in range(n)]
    acts = [
        (data.draw(st.integers(0, 2)), data.draw(st.integers(0, 5)), order, data.draw(st.integers(-1, n - 1)))
        for order in orders[n : n + data.draw(st.integers(0, 20))]
    ]
    one, other = arrays(shown, acts)
    np.testing.assert_array_equal(rewards_of(one, other, WINDOW), plain(shown, acts, one.items.shape[1]))


@pytest.mark.parametrize(
    ("act", "rewards"),
    [
        ((0, 7, 3, -1), [[0, 1], [0, 0]]),  # the last earlier slate that holds the item
        ((0, 8, 5, -1), [[0, 0], [1, 0]]),
        ((0, 7, 30, -1), [[0, 0], [0, 0]]),  # later than the window
        ((0, 7, 30, 0), [[0, 1], [0, 0]]),  # unless it names the recommendation
        ((1, 7, 3, -1), [[0, 0], [0, 0]]),  # another user
        ((0, 7, 0, -1), [[0, 0], [0, 0]]),  # the event that caused the slate is no answer to it
        ((0, 7, 5, 1), [[0, 0], [0, 0]]),  # it names one that does not hold the item
    ],
)
def test_an_act_belongs_to(act: tuple[int, int, int, int], rewards: list[list[int]]) -> None:
    one, other = arrays([(0, [6, 7], 1), (0, [8, 9], 4)], [act])
    np.testing.assert_array_equal(rewards_of(one, other, WINDOW), rewards)
