"""Label join: what becomes of a recommendation is told once, with the features as they were."""

from __future__ import annotations

import pytest

from recsys.features import SCHEMA_VERSION
from recsys.opened import pack_opened, unpack_opened
from recsys.policy import Policy
from recsys.user import LATE, OPEN
from schemas.training import TrainingExample

HOUR = 3_600_000


@pytest.fixture
def shop(new_log, world):
    return new_log(world, Policy(label_window_hours=1, late_label_days=1, exploration=0.2))


def ask(log, user="u", k=5, **fields):
    return next(m for m in log.send("request", user, k=k, **fields) if "items" in m)


def examples(messages):
    found = [m for m in messages if "example_id" in m]
    for one in found:
        TrainingExample.model_validate(one)
    return found


def act(log, item, user="u", action="click", **fields):
    return examples(log.send("interaction", user, action=action, item_id=item, **fields))


def later(log, hours, user="u"):
    """An event of the user that means nothing but that time has passed."""
    return examples(log.send("traits", user, attributes={"seen": 1}, ts=after(log, hours, user)))


def after(log, hours, user="u"):
    return log.users[user].last_s * 1000 + int(hours * HOUR)


def test_an_act_is_an_example_with_the_features_as_they_were(shop):
    made = ask(shop)
    item = made["items"][2]
    (one,) = act(shop, item["item_id"], rec_id=made["rec_id"], value=3.5)
    assert (one["rec_id"], one["item_id"], one["position"]) == (made["rec_id"], item["item_id"], 3)
    assert one["label"] == {"action": "click", "value": 3.5, "delay_ms": 60_000}
    assert one["propensity"] == pytest.approx(item["propensity"], rel=1e-3)
    assert one["world"] == made["world"]
    assert one["feature_schema"] == str(SCHEMA_VERSION)
    assert one["features"]["available"] == 1
    assert one["features"]["moment.always"] == 1
    assert one["features"]["moment.stranger"] == 1, "as of the recommendation, not of the act"
    assert [b["item_id"] for b in one["beside"]] == [
        i["item_id"] for i in made["items"] if i["item_id"] != item["item_id"]
    ]
    assert all(b["features"] for b in one["beside"])


def test_features_of_an_example_add_up_to_the_score_that_was_given(shop, world):
    from recsys.features import FEATURES

    shop.click("dresses-00")
    made = ask(shop)
    item = made["items"][0]
    (one,) = act(shop, item["item_id"])
    score = sum(f.weight * one["features"].get(f.name, 0.0) for f in FEATURES)
    assert score == pytest.approx(item["score"], abs=0.01)


def test_without_a_rec_id_the_newest_open_recommendation_with_the_item_counts(shop):
    first = ask(shop)
    second = ask(shop)
    item = first["items"][0]["item_id"]
    assert item in [i["item_id"] for i in second["items"]]
    assert act(shop, item)[0]["rec_id"] == second["rec_id"]
    assert act(shop, item, action="purchase", rec_id=first["rec_id"])[0]["rec_id"] == first["rec_id"]
    assert act(shop, "books-00" if item != "books-00" else "books-01", rec_id="rec-of-somebody-else") == []


def test_each_kind_of_act_counts_once(shop):
    made = ask(shop)
    item = made["items"][0]["item_id"]
    assert len(act(shop, item)) == 1
    assert act(shop, item) == [] or act(shop, item)[0]["rec_id"] != made["rec_id"]
    (bought,) = act(shop, item, action="purchase", rec_id=made["rec_id"])
    assert bought["label"]["action"] == "purchase"
    ids = {bought["example_id"]}
    assert act(shop, item, action="purchase", rec_id=made["rec_id"]) == []
    assert len(ids) == 1


def test_when_the_window_closes_the_rest_is_negative(shop):
    made = ask(shop)
    chosen = made["items"][1]["item_id"]
    act(shop, chosen, rec_id=made["rec_id"])
    assert later(shop, 0.5) == []
    closed = [e for e in later(shop, 1.0) if e["rec_id"] == made["rec_id"]]
    assert {e["item_id"] for e in closed} == {i["item_id"] for i in made["items"]} - {chosen}
    assert all(e["label"] is None and e["beside"] == [] for e in closed)
    assert later(shop, 1.0) == [], "told once"


def test_where_impressions_are_sent_only_what_was_shown_is_negative(shop):
    made = ask(shop)
    shown = [i["item_id"] for i in made["items"][:3]]
    shop.send("impression", rec_id=made["rec_id"], item_ids=shown)
    ask(shop)  # asked for, and never shown
    (one,) = act(shop, shown[0], rec_id=made["rec_id"])
    assert [b["item_id"] for b in one["beside"]] == shown[1:]
    assert {e["item_id"] for e in later(shop, 2)} == set(shown[1:])


def test_a_ranking_that_nobody_asked_for_saw_or_touched_says_nothing(shop):
    shop.click("dresses-00")
    assert later(shop, 2) == []


def test_a_late_act_on_an_item_that_had_one_is_a_label_of_its_own(shop):
    made = ask(shop)
    item, other = (made["items"][n]["item_id"] for n in (0, 1))
    act(shop, item, rec_id=made["rec_id"])
    later(shop, 2)
    (bought,) = act(shop, item, action="purchase", rec_id=made["rec_id"], ts=after(shop, 3))
    assert bought["label"]["delay_ms"] >= HOUR
    assert bought["position"] == 1
    assert act(shop, other, action="purchase", rec_id=made["rec_id"]) == [], "it is a negative already"
    assert act(shop, item, action="review", rec_id=made["rec_id"], ts=after(shop, 48)) == [], "too late"


def test_a_dislike_is_a_label_and_no_negative(shop):
    made = ask(shop)
    item = made["items"][0]["item_id"]
    assert act(shop, item, action="dislike", rec_id=made["rec_id"])[0]["label"]["action"] == "dislike"
    assert item not in {e["item_id"] for e in later(shop, 2)}


def test_what_is_kept_is_bounded_and_what_was_seen_is_told_when_it_has_to_go(shop):
    seen = ask(shop)
    shop.send("impression", rec_id=seen["rec_id"], item_ids=[seen["items"][0]["item_id"]])
    told = []
    for n in range(3 * OPEN):
        told += act(shop, f"x{n}")
    assert told == [], "rankings that nobody saw go first"
    for _ in range(OPEN + LATE + 2):
        made = ask(shop)
        shop.send("impression", rec_id=made["rec_id"], item_ids=[made["items"][0]["item_id"]])
        told += examples(shop.send("interaction", action="view", item_id=made["items"][0]["item_id"]))
    assert seen["items"][0]["item_id"] in {e["item_id"] for e in told if e["rec_id"] == seen["rec_id"]}
    assert len(shop.users["u"].open) <= OPEN + LATE
    assert all(len(packed) < 2_000 for packed in shop.users["u"].open)


def test_items_that_are_gone_teach_nothing(new_log, build_world, shop_items):
    from schemas.items import Withdrawn

    log = new_log(build_world(), Policy(label_window_hours=1))
    made = ask(log)
    gone = made["items"][0]["item_id"]
    log.world = log.world.advanced([Withdrawn(item_id=gone)])
    told = {e["item_id"] for e in later(log, 2)}
    assert gone not in told
    assert len(told) == len(made["items"]) - 1


def test_an_erasure_takes_open_recommendations_with_it(shop):
    made = ask(shop)
    (receipt,) = shop.send("forget", scope="all")
    assert receipt["removed"]["open_recommendations"] == 1
    assert act(shop, made["items"][0]["item_id"], rec_id=made["rec_id"]) == []


def test_packing_keeps_everything(shop):
    ask(shop)
    packed = shop.users["u"].open[0]
    assert pack_opened(unpack_opened(packed)) == packed


def test_a_stamp_from_far_ahead_closes_what_is_open_once_and_later_windows_last_as_long_as_ever(shop):
    made, now = ask(shop), after(shop, 0)
    shop.send("impression", rec_id=made["rec_id"], item_ids=[made["items"][0]["item_id"]], ts=now)
    (told,) = act(shop, "elsewhere", ts=now + 90 * 24 * HOUR)  # by a clock that is three months ahead
    assert told["label"] is None
    fresh = next(m for m in shop.send("request", k=5, ts=now + HOUR) if "items" in m)
    item = fresh["items"][0]["item_id"]
    shop.send("impression", rec_id=fresh["rec_id"], item_ids=[item], ts=now + HOUR + 1000)
    (label,) = examples(shop.send("interaction", action="click", item_id=item, ts=now + HOUR + 60_000))
    assert (label["label"]["action"], label["label"]["delay_ms"]) == ("click", 60_000)


@pytest.mark.parametrize(("behind_h", "delay_h"), [(5, 0), (-0.5, 0.5)])
def test_a_users_clock_that_is_hours_off_never_makes_a_delay_negative(shop, behind_h, delay_h):
    made, now = ask(shop), after(shop, 0)
    stamp = now - int(behind_h * HOUR)
    (label,) = act(shop, made["items"][0]["item_id"], rec_id=made["rec_id"], ts=stamp)
    assert label["label"]["delay_ms"] == delay_h * HOUR


def test_what_is_beside_an_act_is_told_without_the_items_that_are_gone(new_log, build_world, shop_items):
    from schemas.items import Withdrawn

    log = new_log(build_world(), Policy(label_window_hours=1))
    made = ask(log)
    chosen, gone, *others = [item["item_id"] for item in made["items"]]
    log.world = log.world.advanced([Withdrawn(item_id=gone), Withdrawn(item_id=chosen)])
    (label,) = act(log, chosen, rec_id=made["rec_id"])
    assert label["item_id"] == chosen, "that it was chosen is told by its features, whether or not it is still there"
    assert [one["item_id"] for one in label["beside"]] == others
