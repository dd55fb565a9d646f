"""A canary inside the step: its share of the users, ranked and named as a World with its models alone does it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.experiments.assign import arm_of
from recsys.experiments.canary import Canary, is_dealt
from recsys.policy import Arm, Policy
from recsys.rank import AdditiveRanker, Ranker, prior_weights
from recsys.sequence import SequenceModel, SequenceNet
from schemas.items import Item

USERS = [f"user-{n}" for n in range(60)]
CLICKS = [(user, f"books-{n % 3}{n % 4}") for n, user in enumerate(USERS)]
ARMS = Policy(arms={"bold": Arm(share=0.4, exploration=0.6, diversity=0.5)}, arms_salt="spring")


def model_of(world, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SequenceNet(len(world.catalogue.keys), world.dense.dim, dim=16)
        for table in (net.into, net.out, net.bias):
            torch.nn.init.normal_(table, std=0.3)
    return SequenceModel.of(net, world.catalogue.keys)


def ranker(seed):
    noise = np.random.default_rng(seed).normal(0, 0.5, prior_weights().shape)
    return Ranker(module=AdditiveRanker(prior_weights() + noise.astype(np.float32)))


@pytest.fixture(scope="module", params=["ranker", "user side", "both sides"])
def trial(request, world):
    """(what serves, the canary alone, both with a canary of 30%)."""
    sequence = model_of(world, 1)
    other = sequence
    if request.param == "user side":
        other = sequence.with_users(model_of(world, 2).user_side())
    elif request.param == "both sides":
        other = model_of(world, 2)
    canary = Canary(0.3, "ranker-c-2", ranker(2), other, "ranker-c-2+its", "ranker-a-1+own")
    serving = world.with_models(ranker(1), sequence, "ranker-a-1+own")
    alone = world.with_models(canary.ranker, other, "ranker-c-2+its")
    return serving, alone, serving.with_models(serving.ranker, sequence, "ranker-a-1+own+canary", canary)


def made(new_log, world, policy, users=USERS):
    log = new_log(world, policy)
    log.run([log.event("interaction", user, action="click", item_id=item) for user, item in CLICKS])
    found = log.run([log.event("request", user) for user in users]).messages
    return {m.value["user_id"]: m.value for m in found if m.topic == "recommendations"}


@pytest.mark.parametrize("policy", [Policy(), ARMS], ids=["no arms", "arms"])
def test_each_user_s_record_is_that_of_a_world_with_its_models_alone(new_log, trial, policy):
    serving, alone, both = trial
    found, others, its_own = (made(new_log, one, policy) for one in (both, serving, alone))
    dealt = {user for user in USERS if both.canary.has(user)}
    assert 5 < len(dealt) < 40
    for user in USERS:
        assert found[user] == (its_own if user in dealt else others)[user]
    assert any(found[user]["items"] != others[user]["items"] for user in dealt)
    assert {r["world"]["release_id"] for r in found.values()} == {"ranker-a-1+own", "ranker-c-2+its"}
    assert both.names["release_id"] == "ranker-a-1+own+canary", "the journal names both"


def test_training_examples_name_what_ranked_them(new_log, trial):
    both = trial[2]
    log = new_log(both)
    slates = [m.value for m in log.run([log.event("request", user) for user in USERS]).messages]
    acts = [
        log.event(
            "interaction", r["user_id"], action="click", item_id=r["items"][0]["item_id"], rec_id=r["rec_id"]
        )
        for r in slates
    ]  # fmt: skip
    examples = [m.value for m in log.run(acts).messages if m.topic == "training-examples"]
    assert len(examples) == len(USERS)
    for one in examples:
        expected = "ranker-c-2+its" if both.canary.has(one["user_id"]) else "ranker-a-1+own"
        assert one["world"]["release_id"] == expected


@settings(max_examples=12)
@given(
    users=st.lists(st.sampled_from(USERS[:9]), min_size=2, max_size=12),
    cuts=st.sets(st.integers(1, 11), max_size=4),
)
def test_where_a_batch_is_cut_changes_nothing(new_log, trial, users, cuts):
    whole, parts = new_log(trial[2]), new_log(trial[2])
    events = [whole.event("request", user) for user in users]
    ends = [0, *sorted(c for c in cuts if c < len(events)), len(events)]
    once = [m.value for m in whole.run(events).messages]
    assert once == [m.value for a, b in pairwise(ends) for m in parts.run(events[a:b]).messages]


def test_a_world_that_goes_on_keeps_its_canary_as_if_made_at_once(new_log, trial):
    """Items that come while a canary is tried: what was worked out for its model is added to, not left behind."""
    both = trial[2]
    made(new_log, both, Policy())  # now everything is worked out
    new = [Item(item_id=f"new-{n}", title=f"red sea novel {n}", categories=["books"]) for n in range(5)]
    vectors = [(one.item_id, both.encode_query(one.title)) for one in new]
    after = both.advanced(new).advanced((), vectors)
    canary = after.canary
    fresh = after.with_models(canary.ranker, canary.sequence, canary.release_id)
    fresh.__dict__.pop("sequence_items", None)
    for ours, anew in zip(after.apart[1].sequence_items, fresh.sequence_items, strict=True):
        assert ours.tobytes() == anew.tobytes()
    assert "new-1" in {i["item_id"] for r in made(new_log, after, Policy()).values() for i in r["items"]}


def test_users_are_dealt_by_share_apart_from_arms_and_anew_for_each_canary():
    users = [f"u{n}" for n in range(20_000)]
    dealt = {u for u in users if is_dealt(u, "ranker-a-7", 0.1)}
    assert len(dealt) == pytest.approx(2000, abs=200)
    again = {u for u in users if is_dealt(u, "ranker-b-8", 0.1)}
    assert len(dealt & again) == pytest.approx(200, abs=60), "the next canary has other users"
    in_arm = [arm_of(u, "ranker-a-7", {"x": 0.5}) == "x" for u in dealt]
    assert sum(in_arm) / len(dealt) == pytest.approx(0.5, abs=0.06)
    behind = {u for u in users if is_dealt(u, "ranker-a-7", 0.4, 0.1)}
    assert not dealt & behind
    assert len(behind) == pytest.approx(8000, abs=400)
