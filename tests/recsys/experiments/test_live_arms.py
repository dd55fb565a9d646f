"""An experiment inside the step: users keep their arm, arms do what they say, and the step's laws hold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recsys.experiments.assign import arm_of
from recsys.policy import Arm, Policy
from recsys.step import step
from schemas.recommendations import Recommendation

POLICY = Policy(
    arms={
        "bold": Arm(share=0.3, exploration=0.6, diversity=0.5),
        "fresh": Arm(share=0.2, weights={"newness": 40.0, "popularity_year": 0.0}),
        "both": Arm(share=0.3, interleave=("main", "fresh")),
    },
    arms_salt="spring",
)
SHARES = {name: arm.share for name, arm in POLICY.arms.items()}
USERS = [f"user-{n}" for n in range(60)]


def made(new_log, world, policy, users=USERS):
    """One ranking a user."""
    log = new_log(world, policy)
    events = [log.event("interaction", user, action="click", item_id="books-00") for user in users]
    return [m.value for m in log.run(events).messages if m.topic == "recommendations"]


def test_a_recommendation_says_its_arm_and_is_what_the_schema_allows(new_log, world):
    found = made(new_log, world, POLICY)
    assert [r["arm"] for r in found] == [arm_of(user, "spring", SHARES) for user in USERS]
    assert {r["arm"] for r in found} == {"main", "bold", "fresh", "both"}
    for record in found:
        Recommendation.model_validate_json(orjson.dumps(record))
        assert ("interleaved" in record) == (record["arm"] == "both")


def test_main_is_as_if_there_were_no_experiment(new_log, world):
    with_arms = {r["user_id"]: r for r in made(new_log, world, POLICY)}
    for record in made(new_log, world, Policy()):
        if with_arms[record["user_id"]]["arm"] == "main":
            assert with_arms[record["user_id"]] == record


def test_an_arm_is_the_policy_that_it_describes(new_log, world):
    with_arms = {r["user_id"]: r for r in made(new_log, world, POLICY)}
    for record in made(new_log, world, Policy(exploration=0.6, diversity=0.5)):
        other = with_arms[record["user_id"]]
        if other["arm"] == "bold":
            assert other["items"] == record["items"]


def test_factors_of_weights_move_items_and_their_reasons(new_log, world):
    plain = {r["user_id"]: r for r in made(new_log, world, Policy(exploration=0))}
    arm = Policy(exploration=0, arms={"fresh": Arm(share=1.0, weights={"newness": 40.0})})
    found = made(new_log, world, arm)
    assert any(
        [i["item_id"] for i in r["items"]] != [i["item_id"] for i in plain[r["user_id"]]["items"]] for r in found
    )
    top = found[0]["items"][0]
    assert any("field" in e and "published" in e["field"] for r in top["reasons"] for e in r["evidence"]) or any(
        "new" in r["text"].lower() for r in top["reasons"]
    )


def test_an_interleaved_slate_holds_both_rankings_with_their_teams(new_log, world):
    policy = Policy(exploration=0.2, arms=dict(POLICY.arms) | {"both": Arm(share=0.5, interleave=("main", "fresh"))})
    lists = {}
    for name, own in (("main", {}), ("fresh", POLICY.arms["fresh"].weights)):
        arms = {"one": Arm(share=1.0, exploration=0.0, weights=own)}
        lists[name] = {
            r["user_id"]: [i["item_id"] for i in r["items"]] for r in made(new_log, world, Policy(arms=arms))
        }
    teams = []
    for record in made(new_log, world, policy):
        if record["arm"] != "both":
            continue
        assert record["interleaved"] == ["main", "fresh"]
        for item in record["items"]:
            assert item["item_id"] in lists[item["team"]][record["user_id"]]
            assert item["propensity"] in (0.5, 1.0) or 0 < item["propensity"] < 1
        counts = [sum(i["team"] == name for i in record["items"]) for name in ("main", "fresh")]
        assert abs(counts[0] - counts[1]) <= 1
        teams += [record["items"][0]["team"]]
        for above, below in zip(record["items"], record["items"][1:], strict=False):
            assert below["score"] <= above["score"] or below.get("moved")
    assert set(teams) == {"main", "fresh"}


@settings(max_examples=15)
@given(
    users=st.lists(st.sampled_from(USERS[:9]), min_size=2, max_size=12),
    cuts=st.sets(st.integers(1, 11), max_size=4),
    ks=st.lists(st.integers(1, 30), min_size=12, max_size=12),
)
def test_where_a_batch_is_cut_changes_nothing(new_log, world, users, cuts, ks):
    whole, parts = new_log(world, POLICY), new_log(world, POLICY)
    events = [whole.event("request", user, k=k) for user, k in zip(users, ks, strict=False)]
    ends = [0, *sorted(c for c in cuts if c < len(events)), len(events)]
    once = [m.value for m in whole.run(events).messages]
    again = [m.value for a, b in pairwise(ends) for m in parts.run(events[a:b]).messages]
    assert once == again


def test_the_arm_of_an_erased_user_is_the_same_again(new_log, world):
    log = new_log(world, POLICY)
    first = log.run([log.event("request", "user-3")]).messages[0].value["arm"]
    log.run([log.event("forget", "user-3", scope="all")])
    assert log.run([log.event("request", "user-3")]).messages[0].value["arm"] == first


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ({"a": {"share": 0.7}, "b": {"share": 0.7}}, "at most 1"),
        ({"main": {"share": 0.5}}, "users that are left"),
        ({"a": {"share": 0.1, "weights": {"beauty": 2.0}}}, "no feature"),
        ({"a": {"share": 0.1, "weights": {"newness": -1.0}}}, "0 or more"),
        ({"a": {"share": 0.1, "interleave": ["main", "b"]}}, "two arms"),
        ({"a": {"share": 0.1, "interleave": ["main", "main"]}}, "two arms"),
        ({"a": {"share": 0.1, "interleave": ["main", "b"], "diversity": 0.2}, "b": {}}, "nothing else"),
        ({"a": {"share": 0.1, "colour": 1}}, "Extra inputs"),
    ],
)
def test_arms_that_make_no_sense_are_refused(arms, said):
    with pytest.raises(ValidationError, match=said):
        Policy.model_validate({"arms": arms})


def test_propensities_of_an_interleaved_slate_are_the_chances_over_events(new_log, world):
    fresh = Arm(weights=POLICY.arms["fresh"].weights)
    policy = Policy(arms={"both": Arm(share=1.0, interleave=("main", "fresh")), "fresh": fresh})
    log = new_log(world, policy)
    events = [log.event("request", "u", k=4) for _ in range(400)]
    tops = []
    for event in events:  # each by itself on a new user: the same question 400 times, only the coins differ
        (message,) = step(world, {}, [event], policy).messages
        tops.append((message.value["items"][0]["item_id"], message.value["items"][0]["propensity"]))
    for item, claimed in set(tops):
        assert abs(np.mean([t[0] == item for t in tops]) - claimed) < 0.1
