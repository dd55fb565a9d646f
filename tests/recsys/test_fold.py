"""How events change a User: evidence and its bounds, sessions, traits, edits, erasure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.actions import code_weights
from recsys.evidence import evidence_of, seen_keys
from recsys.fold import fold_impression
from recsys.keys import item_key
from recsys.policy import Policy
from recsys.user import HISTORY, OPEN, RECENT, SHOWN_ROW, WORDS, User, decode_user, encode_user
from schemas.receipts import Receipt

DAY = 86_400_000


def evidence(log, now_ms, user="u"):
    return evidence_of([log.users[user]], np.array([now_ms // 1000]), log.policy, code_weights(log.policy))


def test_evidence_decays_by_half_lives_of_event_time(log):
    made = log.click("books-00", action="purchase")
    ts = made["trigger"]["ts"]
    half_life = int(log.policy.evidence_half_life_hours * 3_600_000)
    now, later = evidence(log, ts).weights[0, -1], evidence(log, ts + half_life).weights[0, -1]
    assert now == pytest.approx(3.0)
    assert later == pytest.approx(1.5, rel=1e-3)


@pytest.mark.parametrize(
    ("action", "value", "weight"),
    [
        ("purchase", None, 3.0),
        ("dislike", None, -2.5),
        ("rate", 5, 2.0),
        ("rate", 1, -2.0),
        ("rate", 3, 0.0),
        ("wink", None, 0.5),
    ],
)
def test_actions_weigh_what_the_policy_says(log, action, value, weight):
    made = log.click("books-00", action=action, value=value)
    assert evidence(log, made["trigger"]["ts"]).weights[0, -1] == pytest.approx(weight)


def test_everything_kept_of_a_user_is_bounded(log):
    for n in range(RECENT + HISTORY + 40):
        log.run([log.event("interaction", action="view", item_id=f"x{n}", text=f"text {n} " * 200)])
    log.send("impression", rec_id="r", item_ids=[f"y{n}" for n in range(100)])
    log.send("traits", attributes={f"t{n}": "v" * 1000 for n in range(100)})
    user = log.users["u"]
    assert len(user.recent_ids) == RECENT
    assert len(user.history) == 8 * HISTORY
    assert len(user.words) == WORDS
    assert len(user.open) == OPEN
    assert sum(map(len, encode_user(user).values())) < 16_000


def test_what_was_done_longer_ago_than_the_newest_events_still_counts_as_seen(log):
    for n in range(30):
        log.click(f"x{n}")
    seen = set((seen_keys(log.users["u"]) & np.uint64((1 << 48) - 1)).tolist())
    assert {item_key(f"x{n}") for n in range(30)} <= seen


def test_the_codec_returns_what_it_was_given(log):
    log.send("traits", attributes={"age": 31, "city": "Hangzhou", "member": True})
    log.send("chat", text="我想买一件红色的连衣裙，价格不超过500元", session_id="s1")
    log.click("books-00", text="a comment")
    log.send("profile_edit", op="add", statement="I like tea")
    log.send("impression", rec_id="r", item_ids=["books-00", "books-01"])
    user = log.users["u"]
    assert decode_user("u", {k.encode(): v for k, v in encode_user(user).items()}) == user
    assert user.constraints
    assert user.traits["age"] == 31


def test_a_trait_set_to_null_is_gone(log):
    log.send("traits", attributes={"age": 31, "city": "Hangzhou"})
    log.send("traits", attributes={"age": None})
    assert log.users["u"].traits == {"city": "Hangzhou"}
    assert "Hangzhou" in log.users["u"].profile
    assert "31" not in log.users["u"].profile


def test_a_gap_or_another_session_id_starts_a_session(log):
    log.click("books-00", session_id="a")
    start = log.users["u"].session_start_s
    log.click("books-01", session_id="a")
    assert log.users["u"].session_start_s == start
    log.click("books-02", session_id="b")
    second = log.users["u"].session_start_s
    assert second > start
    log.offset += 120
    log.click("books-03")
    assert log.users["u"].session_start_s > second


def test_the_profile_is_plain_sentences_that_cite_their_events(log):
    log.click("dresses-00", action="purchase")
    log.click("dresses-11", action="like")
    log.click("games-00", action="dislike")
    profile = log.users["u"].profile
    assert "Likes dresses [e0, e1]." in profile
    assert "Avoids games [e2]." in profile
    assert "e2" in profile.splitlines()[-1]


def test_the_owner_of_a_profile_can_add_mute_and_remove(log):
    log.click("dresses-00", action="purchase")
    added = log.send("profile_edit", op="add", statement="I collect sea novels")[0]
    assert Receipt.model_validate(added).outcome == "added"
    assert "I collect sea novels" in log.users["u"].profile
    log.send("profile_edit", op="mute", statement_id="category:dresses")
    assert "Likes dresses" not in log.users["u"].profile
    log.send("profile_edit", op="remove", statement_id=added["statement_ids"][0])
    assert "sea novels" not in log.users["u"].profile


def test_forgetting_all_leaves_nothing_and_says_what_went(log):
    log.click("dresses-00")
    log.send("chat", text="a red dress under 500 yuan")
    receipt = Receipt.model_validate(log.send("forget", scope="all")[0])
    assert receipt.removed["interactions"] == 1
    assert receipt.removed["texts"] == 1
    assert receipt.removed["open_recommendations"] == 2
    assert log.users == {}
    assert log.run(
        [log.event("interaction", action="click", item_id="books-00"), log.event("forget", scope="all")]
    ).users == {"u": None}


def test_forgetting_a_time_removes_what_lies_in_it(log):
    for at, item in enumerate(["books-00", "books-01", "books-02"]):
        log.send("interaction", action="click", item_id=item, ts=1_760_000_000_000 + at * DAY)
    log.send("forget", scope="range", since=1_760_000_000_000 + DAY // 2, until=1_760_000_000_000 + DAY + DAY // 2)
    assert log.users["u"].recent_ids == ("e0", "e2")


@pytest.mark.parametrize("ts", [0, 1, -5, 253_402_300_799_000, 2**53])
def test_a_stamp_from_1970_or_the_far_future_is_kept_and_harms_nothing(log, ts):
    log.click("books-00")
    log.click("books-01", ts=ts)
    made = log.click("books-02")
    assert len(made["items"]) == log.policy.k
    assert evidence(log, made["trigger"]["ts"]).weights[0, -1] == pytest.approx(1.0)


def test_items_shown_again_and_again_sink(new_log, world):
    log = new_log(world, Policy(exploration=0))
    first = log.send("request")[0]["items"][0]["item_id"]
    for _ in range(12):
        log.send("impression", rec_id="r", item_ids=[first])
    assert log.send("request")[0]["items"][0]["item_id"] != first


def test_impressions_count_by_item(log):
    user = log.users.setdefault("u", User.new("u"))
    fold_impression(user, log.event("impression", rec_id="r", item_ids=["a", "b"]).event)
    fold_impression(user, log.event("impression", rec_id="r", item_ids=["a"]).event)
    assert dict(SHOWN_ROW.iter_unpack(user.shown)) == {item_key("a") & 0xFFFFFFFF: 2, item_key("b") & 0xFFFFFFFF: 1}


@pytest.mark.parametrize(
    "ids",
    [
        ("e1", "e2"),
        ("0123456789abcdef", "fedcba9876543210"),
        ("0123456789ABCDEF", "fedcba9876543210"),
        ("7f3c1f8e-51d7-4c1b-9a55-0b8a4b1f3c2d", "00000000-0000-0000-0000-000000000000"),
        ("7f3c1f8e-51d7-4c1b-9a55-0b8a4b1f3c2-", "00000000-0000-0000-0000-000000000000"),
        ("ab", "abcd"),
        ("ä", "日本"),
        ("a" * 128, "b" * 128),
        ("0 ", "1 "),
    ],
)
def test_event_ids_of_any_kind_come_back_from_the_codec(ids):
    user = User("u", recent=bytes(28), recent_ids=ids)
    assert decode_user("u", {k.encode(): v for k, v in encode_user(user).items()}).recent_ids == ids


_LINES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
_HEXADECIMAL = st.text("0123456789abcdefABCDEF -", min_size=1, max_size=36)


@given(
    ids=st.lists(_LINES | _HEXADECIMAL | st.uuids().map(str), max_size=RECENT)
    | st.lists(st.uuids().map(str), max_size=RECENT)
    | st.integers(1, 20).flatmap(lambda n: st.lists(st.text("09af", min_size=n, max_size=n), max_size=RECENT))
)
def test_event_ids_of_any_shape_come_back_from_the_store(ids):
    fields = {name.encode(): value for name, value in encode_user(User("u", recent_ids=tuple(ids))).items()}
    assert decode_user("u", fields).recent_ids == tuple(ids)


def test_a_condition_that_has_expired_is_kept_no_longer(log):
    said = log.send("chat", text="a red dress under 200 yuan")[0]
    assert "Wants" in log.users["u"].profile
    later = said["trigger"]["ts"] + int(log.policy.constraint_days + 1) * DAY
    assert log.send("interaction", action="click", item_id="books-00", ts=later)[0]["constraints"] == []
    assert log.users["u"].constraints == ()
    assert "Wants" not in log.users["u"].profile
