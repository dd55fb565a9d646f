"""What the ranker learns from is what stood before each choice, and nothing later."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.actions import code_weights
from recsys.learning import moments as learning_moments
from recsys.learning.guarded import skill_of
from recsys.learning.moments import REST, choices_of, moments_of
from recsys.policy import Policy
from recsys.rank import prior_weights

POLICY = Policy()
_ITEM = st.sampled_from(["dresses-00", "dresses-01", "laptops-10", "books-02", "games-21", "unknown"])
_ENTRY = st.tuples(st.sampled_from("uvw"), st.sampled_from(["click", "purchase", "dislike"]), _ITEM)


def _events(log, entries):
    return [log.event("interaction", user=u, action=action, item_id=item).event for u, action, item in entries]


@given(entries=st.lists(_ENTRY, min_size=2, max_size=12), at=st.integers(1, 11))
@settings(max_examples=30)
def test_later_events_change_no_earlier_moment(new_log, world, entries, at):
    events = _events(new_log(world), entries)
    whole = moments_of(world, {}, events, POLICY)
    part = moments_of(world, {}, events[:at], POLICY)
    assert [m.row for m in whole[: len(part)]] == [m.row for m in part]
    assert [m.query.user for m in whole[: len(part)]] == [m.query.user for m in part]


def test_a_moment_is_the_user_right_before_the_choice(new_log, world):
    log = new_log(world)
    events = _events(log, [("u", "click", "books-02"), ("u", "dislike", "games-21"), ("u", "purchase", "laptops-10")])
    first, second = moments_of(world, {}, events, POLICY)
    assert first.query.user.recent_ids == ()
    assert second.query.user.recent_ids == (events[0].event_id, events[1].event_id)
    assert world.catalogue.items[second.row].item_id == "laptops-10"
    log.run([])
    assert moments_of(world, log.users, [], POLICY) == []


def test_the_chosen_item_stands_once_among_what_it_is_compared_with(new_log, world):
    events = _events(
        new_log(world), [("u", "click", "books-02"), ("v", "click", "games-21"), ("u", "click", "games-21")]
    )
    moments = moments_of(world, {}, events, POLICY)
    made = choices_of(world, moments, POLICY, code_weights(POLICY), seed=1)[0]
    assert made.x.shape[:2] == made.there.shape == made.many.shape
    assert made.there[np.arange(3), made.target].all()
    assert (made.many[np.arange(3), made.target] == 0).all()
    # retrieved, and drawn for the rest: together they stand for the whole catalogue but what was seen
    stands_for = np.where(made.there, np.exp(made.many), 0).sum(axis=1)
    assert (stands_for <= len(world.catalogue) + 1).all()
    assert made.there.shape[1] == POLICY.candidates + 1 + REST


def test_a_help_article_is_no_choice_among_what_the_shop_offers(new_log, world):
    moments = moments_of(world, {}, _events(new_log(world), [("u", "click", "help-returns")]), POLICY)
    assert sum(len(c.target) for c in choices_of(world, moments, POLICY, code_weights(POLICY), seed=1)) == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_choices_at_random_show_no_skill_whatever_ranks_them(new_log, world, shop_items, monkeypatch, sign):
    """What puts first all that serves would offer, and what puts it last."""
    monkeypatch.setattr(learning_moments, "REST", 8)  # of fifty: what was drawn stands for more, as in a real shop
    random, log, policy = np.random.default_rng(4), new_log(world), Policy(candidates=20)
    ids = [item.item_id for item in shop_items]
    entries = [(f"u{n % 150}", "click", ids[random.integers(len(ids))]) for n in range(900)]
    moments = moments_of(world, {}, _events(log, entries), policy)
    blocks = [
        block
        for at in range(0, len(moments), 20)
        for block in choices_of(world, moments[at : at + 20], policy, code_weights(policy), seed=at)
    ]
    weights = np.zeros_like(prior_weights())
    weights[0, 0] = 1  # the first moment is any, and the first feature is made up here
    for block in blocks:
        block.x[:, :, 0] = random.random(block.there.shape) + 2 * sign * (np.arange(block.there.shape[1]) < 20)
    skill = np.concatenate([skill_of(block, weights) for block in blocks])
    assert len(skill) > 700
    assert skill.mean() <= 3 * skill.std() / np.sqrt(len(skill))
    chosen = np.concatenate([block.alike[np.arange(len(block)), block.target] for block in blocks])
    assert chosen.all()


def test_what_was_seen_before_or_is_gone_is_no_choice(new_log, world):
    events = _events(
        new_log(world), [("u", "click", "books-02"), ("u", "click", "books-02"), ("u", "click", "unknown")]
    )
    moments = moments_of(world, {}, events, POLICY)
    assert sum(len(c.target) for c in choices_of(world, moments, POLICY, code_weights(POLICY), seed=1)) == 1
