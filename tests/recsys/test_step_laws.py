"""Laws of the step: where a batch is cut, duplicates and load order change nothing; it is a function of its input."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.policy import Policy
from recsys.recommend import derived_id
from recsys.user import encode_user

_ITEMS = [f"{c}-{n}{k}" for c in ("dresses", "laptops", "books", "games") for n in range(3) for k in range(4)]
_ITEM = st.sampled_from([*_ITEMS, "unknown-1", "help-returns"])
_SAID = st.sampled_from(
    [
        "a red dress under 200 yuan",
        "not blue please",
        "我想买一件红色的连衣裙，价格不超过500元",
        "any colour is fine",
        "games?",
    ]
)
_EVENT = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("interaction"),
            "action": st.sampled_from(["click", "purchase", "dislike", "zoom"]),
            "item_id": _ITEM,
            "rec_id": st.none() | st.integers(1, 4),
        }
    ),
    st.fixed_dictionaries({"type": st.just("chat"), "text": _SAID, "role": st.sampled_from(["user", "assistant"])}),
    st.fixed_dictionaries(
        {
            "type": st.just("request"),
            "k": st.integers(1, 30),
            "query": st.none() | _SAID,
            "exclude": st.lists(_ITEM, max_size=3),
        }
    ),
    st.fixed_dictionaries({"type": st.just("request"), "candidates": st.lists(_ITEM, max_size=8)}),
    st.fixed_dictionaries(
        {
            "type": st.just("impression"),
            "rec_id": st.integers(1, 4),  # that of the event so many places before; see `_log_of`
            "item_ids": st.lists(_ITEM, max_size=6),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("traits"),
            "attributes": st.dictionaries(st.sampled_from(["age", "city"]), st.integers(1, 90) | st.none()),
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("profile_edit"), "op": st.sampled_from(["add", "mute"]), "statement": st.just("I like tea")}
    ),
    st.fixed_dictionaries({"type": st.just("forget"), "scope": st.sampled_from(["all", "session"])}),
)
_LOG = st.lists(st.tuples(st.sampled_from(["u", "v", "w"]), _EVENT), min_size=1, max_size=14)
_SLOW = settings(max_examples=40)


_POLICY = Policy(label_window_hours=0.07, late_label_days=0.004)  # events are a minute apart: windows close


def _log_of(log, spec):
    """The events; a rec_id given as a number is that of what the user's event so many places before caused."""
    made = []
    for at, (user, fields) in enumerate(spec):
        own = dict(fields)
        if isinstance(own.get("rec_id"), int):
            own["rec_id"] = derived_id("rec", user, f"e{at - own['rec_id']}")
        made.append(log.event(user=user, **{name: value for name, value in own.items() if value is not None}))
    return made


def _outcome(log, events, cuts):
    messages = []
    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        messages += [orjson.dumps(m.value, option=orjson.OPT_SORT_KEYS) for m in log.run(events[start:end]).messages]
    return messages, {user_id: encode_user(user) for user_id, user in log.users.items()}


@_SLOW
@given(spec=_LOG, data=st.data())
def test_a_batch_may_be_cut_anywhere(new_log, world, spec, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(spec) - 1)), max_size=4))) if len(spec) > 1 else []
    whole, cut = new_log(world, _POLICY), new_log(world, _POLICY)
    events = _log_of(whole, spec)
    assert _outcome(whole, events, []) == _outcome(cut, events, cuts)


@_SLOW
@given(spec=_LOG, data=st.data())
def test_a_repeated_event_changes_nothing(new_log, world, spec, data):
    spec = [(user, fields) for user, fields in spec if fields["type"] != "forget"]
    once, twice = new_log(world, _POLICY), new_log(world, _POLICY)
    events = _log_of(once, spec)
    again = list(events)
    places = data.draw(st.lists(st.integers(0, len(events) - 1), max_size=3)) if events else []
    for at in sorted(places, reverse=True):
        again.insert(data.draw(st.integers(at + 1, len(again))), events[at])
    assert _outcome(once, events, []) == _outcome(twice, again, [])


@settings(max_examples=15)
@given(seed=st.randoms(use_true_random=False), spec=_LOG)
def test_the_order_in_which_items_were_loaded_leaves_no_trace(new_log, build_world, world, shop_items, spec, seed):
    shuffled = list(shop_items)
    seed.shuffle(shuffled)
    one, other = new_log(world, _POLICY), new_log(build_world(shuffled), _POLICY)
    events = _log_of(one, spec)
    assert _outcome(one, events, []) == _outcome(other, events, [])


def test_the_step_changes_none_of_the_users_it_was_given(log):
    log.click("dresses-00")
    before = encode_user(log.users["u"])
    given_users = dict(log.users)
    from recsys.step import step

    step(log.world, given_users, [log.event("interaction", action="click", item_id="books-00")], log.policy)
    assert encode_user(given_users["u"]) == before


def test_messages_come_in_the_order_of_the_log(log):
    events = [
        log.event("request", "a"),
        log.event("forget", "b", scope="all"),
        log.event("interaction", "c", action="click", item_id="books-00"),
        log.event("profile_edit", "a", op="add", statement="I like tea"),
    ]
    assert [m.topic for m in log.run(events).messages] == ["recommendations", "receipts", "recommendations", "receipts"]


def test_a_thinned_ranking_depends_on_event_time_alone(new_log, world):
    log = new_log(world, Policy(throttle_ms=150_000))  # events are a minute apart
    made = [
        any(m.get("kind") == "ranking" for m in log.send("interaction", action="click", item_id=i)) for i in _ITEMS[:7]
    ]
    assert made == [True, False, False, True, False, False, True]
    assert log.send("request")
    assert log.send("chat", text="hello")
