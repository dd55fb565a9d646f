"""What a request asks for is honoured exactly: candidates, exclude, like_items, query, constraints, k."""

from __future__ import annotations

import pytest

from recsys.policy import Policy
from schemas.items import Item, Withdrawn
from schemas.recommendations import Recommendation


def ids(recommendation):
    return [item["item_id"] for item in recommendation["items"]]


def test_every_recommendation_is_a_valid_record(log):
    for made in (
        log.click("dresses-00"),
        log.send("request", query="red dress", surface="home")[0],
        log.send("chat", text="a laptop under 200 yuan")[0],
        log.send("request", "newcomer")[0],
    ):
        record = Recommendation.model_validate_json(__import__("orjson").dumps(made))
        assert [i.rank for i in record.items] == list(range(1, len(record.items) + 1))
        assert all(i.reasons for i in record.items)


def test_a_ranking_has_k_items_and_none_that_was_seen(log):
    seen = ["dresses-00", "laptops-11", "books-22"]
    for item in seen:
        made = log.click(item)
    assert len(made["items"]) == log.policy.k
    assert not set(ids(made)) & set(seen)


def test_what_keeps_an_item_out_is_a_setting(new_log, world):
    log = new_log(world, Policy(keep_out_actions=["purchase"], exploration=0, diversity=0))
    log.click("dresses-00", action="purchase")
    log.click("dresses-01", action="click")
    made = log.send("request", k=100)[0]
    assert "dresses-00" not in ids(made)
    assert "dresses-01" in ids(made)


def test_fewer_than_k_only_where_fewer_remain(log, shop_items):
    made = log.send("request", k=100)[0]
    assert len(made["items"]) == sum(1 for i in shop_items if i.answer is None)
    for item in shop_items[:40]:
        log.send("interaction", action="view", item_id=item.item_id)
    assert len(log.send("request", k=100)[0]["items"]) == 8


def test_candidates_are_ranked_exactly_seen_ones_too(new_log, build_world, shop_items):
    items = [i.model_copy(update={"available": i.item_id != "books-00"}) for i in shop_items]
    log = new_log(build_world(items))
    log.click("dresses-00")
    wanted = ["dresses-00", "laptops-11", "books-00", "no-such", "games-21", "games-21"]
    made = log.send("request", candidates=wanted)[0]
    assert sorted(ids(made)) == ["dresses-00", "games-21", "laptops-11"]
    assert log.send("request", candidates=[])[0]["items"] == []
    assert {i["source"] for i in made["items"]} == {"named"}


def test_more_candidates_than_a_ranking_usually_scores(new_log, build_world):
    many = [Item(item_id=f"i{n:04}", title=f"thing {n}") for n in range(700)]
    log = new_log(build_world(many))
    made = log.send("request", candidates=[i.item_id for i in many], k=100)[0]
    assert len(made["items"]) == 100


def test_excluded_items_stay_away(log):
    first = ids(log.send("request", k=20)[0])
    assert not set(first[:10]) & set(ids(log.send("request", k=20, exclude=first[:10])[0]))


def test_more_like_this_is_like_this_and_not_this(new_log, world):
    log = new_log(world, Policy(exploration=0))
    made = log.send("request", like_items=["laptops-00", "laptops-01"], k=5)[0]
    assert all(i.startswith("laptops") for i in ids(made))
    assert not {"laptops-00", "laptops-01"} & set(ids(made))


def test_a_query_finds_its_words(new_log, world):
    log = new_log(world, Policy(exploration=0))
    made = log.send("request", query="gaming laptop", k=4)[0]
    assert all(i.startswith("laptops-1") for i in ids(made))
    assert made["items"][0]["reasons"][0]["evidence"] == [{"event": made["trigger"]["event_id"]}]


@pytest.mark.parametrize(
    ("constraint", "holds"),
    [
        ({"name": "price", "op": "<=", "value": 100, "unit": "CNY"}, lambda i: i.price.amount <= 100),
        ({"name": "price", "op": ">=", "value": 150, "unit": "CNY"}, lambda i: i.price.amount >= 150),
        (
            {"name": "category", "op": "in", "value": ["books", "games"]},
            lambda i: i.categories[0] in ("books", "games"),
        ),
        ({"name": "category", "op": "not_in", "value": ["books"]}, lambda i: "books" not in i.categories),
        ({"name": "brand", "op": "==", "value": "Acorn"}, lambda i: i.brand == "Acorn"),
        ({"name": "colour", "op": "in", "value": ["red"]}, lambda i: i.attributes["colour"] == "red"),
        ({"name": "word", "op": "not_in", "value": ["silk"]}, lambda i: "silk" not in i.title),
    ],
)
def test_a_requests_conditions_hold_and_leave_nothing_out(log, shop_items, constraint, holds):
    made = log.send("request", constraints=[constraint], k=100)[0]
    expected = {i.item_id for i in shop_items if i.answer is None and holds(i)}
    assert set(ids(made)) == expected
    assert made["constraints"][0]["name"] == constraint["name"]
    after = log.send("request", k=100)[0]
    assert after["constraints"] == []


def test_a_condition_from_a_chat_binds_until_it_is_taken_back_or_expires(new_log, world, shop_items):
    by_id = {i.item_id: i for i in shop_items}
    log = new_log(world, Policy(constraint_days=1))
    said = log.send("chat", text="a laptop under 160 yuan")[0]
    assert said["kind"] == "dialogue"
    assert said["reply"]
    for made in (said, log.click("books-00"), log.send("request", k=50)[0]):
        assert made["items"]
        assert all(by_id[i].price.amount <= 160 and by_id[i].categories == ["laptops"] for i in ids(made))
    log.offset += 2 * 24 * 60
    assert log.send("request", k=50)[0]["constraints"] == []


def test_nothing_satisfies_an_impossible_condition_and_the_reply_says_so(log):
    made = log.send("chat", text="a laptop under 2 yuan")[0]
    assert made["items"] == []
    assert made["reply"]


def test_an_assistants_words_are_never_answered(log):
    assert log.send("chat", text="Shall it be red?", role="assistant") == []


def test_withdrawn_unavailable_and_expired_items_are_not_offered(new_log, world):
    gone = world.advanced([Withdrawn("games-00"), *_changed(world, "games-01", available=False)])
    gone = gone.advanced(_changed(gone, "games-02", expires_at=1_760_000_000_000))
    log = new_log(gone)
    made = log.send("request", k=100)[0]
    assert not {"games-00", "games-01", "games-02"} & set(ids(made))
    assert len(made["items"]) == 45
    assert "games-00" in ids(new_log(world).send("request", k=100)[0])  # the World before still serves what it held


def _changed(world, item_id, **update):
    item = world.catalogue.items[world.catalogue.row_of[item_id]]
    return [item.model_copy(update=update)]


def test_an_item_that_appears_later_counts_from_then_on(new_log, build_world, shop_items):
    log = new_log(build_world([i for i in shop_items if i.item_id != "dresses-00"]))
    log.click("dresses-00")
    assert "Likes dresses" not in log.users["u"].profile
    log.world = build_world(shop_items)
    log.send("request")
    assert "Likes dresses" in log.users["u"].profile


def test_an_empty_world_answers_with_an_empty_slate(new_log, build_world):
    log = new_log(build_world([]))
    assert log.click("anything")["items"] == []
    assert log.send("chat", text="a red dress under 500 yuan")[0]["items"] == []
    assert log.send("request", candidates=["x"], query="dress")[0]["items"] == []


def test_without_vectors_words_and_counts_still_rank(new_log, build_world):
    log = new_log(build_world(dim=0), Policy(exploration=0))
    assert all(i.startswith("laptops-1") for i in ids(log.send("request", query="gaming laptop", k=4)[0]))
    assert len(log.click("dresses-00")["items"]) == 10
