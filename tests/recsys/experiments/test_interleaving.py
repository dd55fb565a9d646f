"""Team draft: whose items stand where, and with what chance."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.experiments.interleave import FIRST, SECOND, team_draft

RANKING = st.lists(st.integers(0, 6), max_size=6, unique=True)


def draft(a: list[int], b: list[int], coins: tuple[bool, ...], k: int) -> tuple[list[int], list[int], list[float]]:
    one, two = (np.array([[*row, -1]], np.int64) for row in (a, b))
    found = team_draft(one, two, np.array([coins]), np.array([k]))
    return found.items[0].tolist(), found.teams[0].tolist(), found.propensities[0].tolist()


def by_hand(a: list[int], b: list[int], coins: tuple[bool, ...], k: int) -> tuple[list[int], list[int]]:
    """The draft as its paper tells it."""
    slate: list[int] = []
    teams: list[int] = []
    for turn in range(k):
        heads = coins[turn // 2]
        first_turn = heads if turn % 2 == 0 else not heads
        for team in (FIRST, SECOND) if first_turn else (SECOND, FIRST):
            left = [item for item in (a if team == FIRST else b) if item not in slate]
            if left:
                slate.append(left[0])
                teams.append(team)
                break
    return slate, teams


@given(RANKING, RANKING, st.integers(1, 6), st.tuples(*[st.booleans()] * 3))
def test_it_is_the_draft_of_the_paper(a: list[int], b: list[int], k: int, coins: tuple[bool, ...]) -> None:
    items, teams, _ = draft(a, b, coins, k)
    slate, owners = by_hand(a, b, coins, k)
    assert items == slate + [-1] * (k - len(slate))
    assert teams == owners + [0] * (k - len(slate))


@given(RANKING, RANKING, st.integers(1, 6))
def test_propensities_are_the_chances_over_the_coins(a: list[int], b: list[int], k: int) -> None:
    all_coins = list(product([True, False], repeat=3))
    slates = [by_hand(a, b, coins, k)[0] for coins in all_coins]
    for coins in all_coins:
        items, _, chances = draft(a, b, coins, k)
        for place, chance in enumerate(chances):
            if items[place] < 0:
                continue
            same_above = [s for s in slates if s[:place] == items[:place]]
            here = sum(s[place : place + 1] == [items[place]] for s in same_above)
            assert abs(chance - here / len(same_above)) < 1e-12


def test_equal_rankings_stay_as_they_are_and_share_the_places() -> None:
    n = 2000
    same = np.tile(np.arange(6), (n, 1))
    coins = np.random.default_rng(1).random((n, 3)) < 0.5
    found = team_draft(same, same, coins, np.full(n, 6))
    assert (found.items == same).all()
    assert (found.propensities == 1).all()
    np.testing.assert_allclose((found.teams == FIRST).mean(axis=0), 0.5, atol=0.05)


def test_slates_of_different_lengths_in_one_call() -> None:
    a, b = np.array([[1, 2, 3]] * 2), np.array([[4, 5, 6]] * 2)
    found = team_draft(a, b, np.array([[True, True], [False, False]]), np.array([3, 1]))
    assert found.items.tolist() == [[1, 4, 2], [4, -1, -1]]
    assert found.teams.tolist() == [[1, 2, 1], [2, 0, 0]]
