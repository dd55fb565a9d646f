"""Slates: propensities are the true chances, scores fall with rank unless `moved` says why, diversity spreads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from recsys.policy import Policy
from recsys.select import select


def _slates(world, policy, n=20_000, k=3, width=12):
    rows = np.tile(np.arange(width, dtype=np.int32), (n, 1))
    scores = np.tile(np.round(np.linspace(1, 0, width), 5), (n, 1))
    seeds = np.arange(n, dtype=np.uint64) * np.uint64(7_919)
    return rows, select(world, rows, scores, np.full(n, k), seeds, policy)


@pytest.mark.parametrize(
    "policy", [Policy(exploration=0.3, exploration_pool=5), Policy(exploration=0.5, diversity=0, exploration_pool=100)]
)
def test_an_item_is_shown_as_often_as_its_propensity_says(world, policy):
    n = 20_000
    _, slates = _slates(world, policy, n)
    for position in range(3):
        # among slates that agree above, each item's frequency is its propensity
        prefix = [tuple(c) for c in slates.chosen[:, :position].tolist()]
        commonest = Counter(prefix).most_common(1)[0][0]
        same = np.array([p == commonest for p in prefix])
        shown, stated = slates.chosen[same, position], slates.propensities[same, position]
        total = same.sum()
        for item in np.unique(shown):
            claims = np.unique(np.round(stated[shown == item], 9))
            assert len(claims) == 1
            spread = np.sqrt(claims[0] * (1 - claims[0]) / total)
            assert abs((shown == item).mean() - claims[0]) < 5 * spread + 1e-9


def test_without_exploration_all_is_certain(world):
    _, slates = _slates(world, Policy(exploration=0), n=50)
    assert (slates.propensities == 1).all()
    assert (slates.moved != 2).all()


def test_scores_fall_with_rank_unless_moved_says_so(log):
    for at in range(12):
        made = log.click(f"books-{at % 3}{at % 4}")
        for above, below in zip(made["items"], made["items"][1:], strict=False):
            if below["score"] > above["score"]:
                assert below.get("moved") or above.get("moved")


def test_diversity_spreads_a_slate(new_log, world):
    def kinds(diversity):
        log = new_log(world, Policy(diversity=diversity, exploration=0))
        log.click("laptops-00")
        made = log.click("laptops-01")
        return len({i["item_id"].split("-")[0] for i in made["items"]})

    assert kinds(0.9) > kinds(0.0)


def test_equal_scores_are_ordered_by_item_id(new_log, build_world, shop_items):
    same = [
        i.model_copy(
            update={
                "title": "thing",
                "categories": [],
                "brand": None,
                "price": None,
                "attributes": {},
                "published_at": None,
            }
        )
        for i in shop_items
        if i.answer is None
    ]
    log = new_log(build_world(same), Policy(exploration=0, diversity=0))
    made = log.send("request", k=10)[0]
    assert [i["item_id"] for i in made["items"]] == sorted(i.item_id for i in same)[:10]
