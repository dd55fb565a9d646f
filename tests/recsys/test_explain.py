"""Reasons are parts of the score, and their evidence exists."""

from __future__ import annotations

import numpy as np

from recsys.actions import code_weights
from recsys.features import FEATURES
from recsys.policy import Policy
from recsys.query import Query, block_of
from recsys.retrieve import retrieve, search
from recsys.score import features_of, tastes_of

_FIELDS = {"categories", "brand", "price", "published_at", "available", "history"} | {
    f.name for f in FEATURES if f.group == "popular"
}


def _shopper(log):
    log.click("dresses-00", action="purchase")
    log.click("dresses-11")
    log.click("books-00", action="dislike")
    log.send("interaction", action="review", item_id="laptops-11", text="a quiet gaming laptop")
    return log


def test_evidence_names_events_of_the_user_or_known_fields(log):
    made = _shopper(log).send("request", k=40)[0]
    known = set(log.users["u"].recent_ids) | {w.event_id for w in log.users["u"].words}
    for item in made["items"]:
        assert 1 <= len(item["reasons"]) <= log.policy.reasons
        for reason in item["reasons"]:
            assert reason["weight"] > 0
            assert reason["evidence"]
            for evidence in reason["evidence"]:
                assert evidence.get("event") in known or evidence.get("field") in _FIELDS


def test_a_score_is_the_sum_of_its_features_contributions_and_reasons_are_among_them(new_log, world):
    policy = Policy(exploration=0, diversity=0)
    log = _shopper(new_log(world, policy))
    made = log.send("request", k=30)[0]
    user = log.users["u"]
    query = Query(0, user, made["trigger"]["event_id"], "request", made["trigger"]["ts"], k=30)
    block = block_of(world, [query], policy, code_weights(policy))
    candidates = retrieve(world, block, search(world, block, policy), policy)
    x = features_of(world, block, candidates, tastes_of(world, block))
    parts = world.ranker.contributions(x, block.context)[0]
    at = {world.catalogue.items[r].item_id: n for n, r in enumerate(candidates.rows[0]) if r >= 0}
    for item in made["items"]:
        mine = parts[at[item["item_id"]]]
        assert np.isclose(item["score"], mine.sum(), atol=2e-5)
        groups: dict[str, float] = {}
        for feature, value in zip(FEATURES, mine, strict=True):
            groups[feature.group] = groups.get(feature.group, 0.0) + float(value)
        left = sorted(round(v, 4) for v in groups.values() if v > 0)
        for reason in item["reasons"]:
            assert any(abs(reason["weight"] - v) < 2e-4 for v in left)
        assert sum(r["weight"] for r in item["reasons"]) <= sum(v for v in groups.values() if v > 0) + 1e-3


def test_the_reason_cites_what_the_user_did(new_log, world):
    log = new_log(world, Policy(exploration=0))
    made = log.click("laptops-10", action="purchase")
    texts = [r["text"] for i in made["items"] for r in i["reasons"] if r["evidence"] == [{"event": "e0"}]]
    assert any("red gaming laptop" in t and "bought" in t for t in texts)


def test_reasons_speak_the_users_language(log):
    log.send("chat", text="我想买一件红色的连衣裙")
    made = log.click("dresses-00")
    assert all(any("一" <= ch <= "鿿" for ch in r["text"]) for i in made["items"] for r in i["reasons"])


def test_whatever_weights_are_learnt_reasons_hold_and_say_what_there_is(new_log, build_world):
    """Learnt weights may be negative; a reason still names something that the item or the user has."""
    from recsys.features import CONTEXT, FEATURES
    from recsys.rank import AdditiveRanker, Ranker

    rng = np.random.default_rng(3)
    for _ in range(6):
        weights = rng.normal(0, 3, (len(CONTEXT), len(FEATURES))).astype(np.float32)
        world = build_world().with_models(Ranker(module=AdditiveRanker(weights)), None, "learnt")
        log = new_log(world)
        log.click("dresses-00")
        log.click("laptops-01", action="dislike")
        shown = [i["item_id"] for i in log.send("request", k=10)[0]["items"]]
        log.send("impression", rec_id="r", item_ids=shown)
        made = log.send("request", k=10, query="sea novel")[0]
        assert made["world"]["release_id"] == "learnt"
        for item in made["items"]:
            texts = " ".join(reason["text"] for reason in item["reasons"])
            assert all(reason["weight"] > 0 for reason in item["reasons"])
            if item["item_id"].startswith("laptops"):
                assert "often choose" not in texts, "a category that is disliked is none that is often chosen"
