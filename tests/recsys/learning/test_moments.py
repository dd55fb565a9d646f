"""What the ranker learns from is what stood before each choice, and nothing later."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.actions import code_weights
from recsys.learning.moments import REST, choices_of, moments_of
from recsys.policy import Policy

POLICY = Policy()
_ITEM = st.sampled_from(["dresses-00", "dresses-01", "laptops-10", "books-02", "games-21", "unknown"])
_ENTRY = st.tuples(st.sampled_from("uvw"), st.sampled_from(["click", "purchase", "dislike"]), _ITEM)


def _events(log, entries):
    return [log.event("interaction", user=u, action=action, item_id=item).event for u, action, item in entries]


@given(entries=st.lists(_ENTRY, min_size=2, max_size=12), at=st.integers(1, 11))
@settings(max_examples=30, deadline=None)
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


def test_what_was_seen_before_or_is_gone_is_no_choice(new_log, world):
    events = _events(
        new_log(world), [("u", "click", "books-02"), ("u", "click", "books-02"), ("u", "click", "unknown")]
    )
    moments = moments_of(world, {}, events, POLICY)
    assert sum(len(c.target) for c in choices_of(world, moments, POLICY, code_weights(POLICY), seed=1)) == 1
