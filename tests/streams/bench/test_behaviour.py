"""Rehearsals: after a flip of all tastes, what is learnt over all users brings the hit rate back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recsys.learning.learner import Bounds
from recsys.world import World
from streams.bench import behaviour, circles
from streams.bench.rehearsal import Rehearsal, shop_world
from streams.demo.catalogue import load
from streams.demo.market import Market


@pytest.fixture
def shop(monkeypatch) -> tuple[World, list[dict[str, Any]]]:
    """A fifth of the demo's shop, without an encoder: texts are told apart by their words."""
    monkeypatch.setattr(behaviour, "SHOPPERS", 60)
    monkeypatch.setattr(circles, "CIRCLES", 2)
    items = load()[::5]
    meaning = np.eye(8, dtype=np.float32)[0]
    return shop_world(items, [(item["item_id"], meaning) for item in items], lambda text: meaning), items


def test_what_ran_before_a_rehearsal_changes_nothing_of_it(shop):
    world, items = shop

    def learnt() -> list[np.ndarray]:
        torch.rand(3)
        play = Rehearsal(world, Market(items, 60, 3))
        play.guarded.learner.bounds = Bounds(first_fit=100)
        for _ in range(2):
            play.run(300)
        found = play.guarded.learner.learnt()
        assert found.sequence is not None
        return [found.ranker, *found.sequence.user_side().values()]

    for mine, other in zip(learnt(), learnt(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_after_a_flip_of_all_tastes_only_learning_over_all_users_comes_back(shop):
    world, items = shop
    sides = behaviour.flip(world, items, 600, 8, 2)
    assert sides["never"][0].rate < 0.7 * sides["learning"][0].rate  # there is something to learn at all
    back = {side: windows[-1].rate / windows[0].rate for side, windows in sides.items()}
    assert back["learning"] > back["frozen"] + 0.15


def test_choices_are_judged_by_statistics_that_do_not_count_them(shop, monkeypatch):
    world, items = shop
    play, named = Rehearsal(world, Market(items, 60, 3)), []
    take = play.guarded.take

    def judged(world, *rest):
        named.append((world.statistics.statistics_id, str(play.tick)))
        return take(world, *rest)

    monkeypatch.setattr(play.guarded, "take", judged)
    play.run(400)
    assert len({of for of, _ in named}) > 1, "statistics move on"
    assert not [tick for of, tick in named if of == tick]
