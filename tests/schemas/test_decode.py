"""Bytes in: each kind of malformed record has its reason, place and expectation; all else is a record."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.decode import Malformed, Reason, decode_event, decode_item
from schemas.events import Chat, Event, Forget, Interaction, InteractionRecord, Request
from schemas.items import Item, Withdrawn

LIMIT = 1 << 20
EVENT = {
    "event_id": "e1",
    "type": "interaction",
    "user_id": "u1",
    "ts": 5,
    "action": "click",
    "item_id": "i1",
}
ITEM = {"item_id": "i1", "title": "A kettle"}


def event_bytes(**changes):
    return json.dumps({**EVENT, **changes}).encode()


def event(key=b"u1", **changes):
    return decode_event(key, event_bytes(**changes), LIMIT)


def item(key=b"i1", **changes):
    return decode_item(key, json.dumps({**ITEM, **changes}).encode(), LIMIT)


def without(*names):
    return json.dumps({name: value for name, value in EVENT.items() if name not in names}).encode()


def nested(levels):
    """An event whose deepest array stands at `levels`; the event itself is the first level."""
    value = []
    for _ in range(levels - 3):
        value = [value]
    return json.dumps({**EVENT, "context": {"deep": value}}).encode()


REQUEST = {"type": "request"}

MALFORMED = {
    "not utf-8": (b"\xff\xfe", "not_utf8", "(value)"),
    "latin-1 text": (event_bytes(text="x").replace(b'"x"', b'"\xe9"'), "not_utf8", "(value)"),
    "utf-16": (json.dumps(EVENT).encode("utf-16"), "not_utf8", "(value)"),
    "empty": (b"", "not_json", "(value)"),
    "cut off": (event_bytes()[:-1], "not_json", "(value)"),
    "two records": (event_bytes() * 2, "not_json", "(value)"),
    "comment": (b"// hi\n" + event_bytes(), "not_json", "(value)"),
    "a control character in a string": (b'{"event_id": "a\nb"}', "not_json", "(value)"),
    "a list": (b"[]", "wrong_field", "(value)"),
    "null": (b"null", "wrong_field", "(value)"),
    "a string": (b'"interaction"', "wrong_field", "(value)"),
    "33 levels": (nested(33), "too_deep", "(value)"),
    "100,000 levels": (b"[" * 100_000 + b"]" * 100_000, "too_deep", "(value)"),
    "100,000 levels, never closed": (b'{"a":' * 100_000, "too_deep", "(value)"),
    "nan": (event_bytes(value=float("nan")), "not_finite", "value"),
    "nan in the context": (
        event_bytes(context={"a": [1, {"b": float("nan")}]}),
        "not_finite",
        "context.a.1.b",
    ),
    "infinity": (event_bytes(value=float("-inf")), "not_finite", "value"),
    "infinity in a field nobody knows": (event_bytes(extra=float("inf")), "not_finite", "extra"),
    "a number beyond doubles": (
        event_bytes(value=0).replace(b'"value": 0', b'"value": 1e999'),
        "not_finite",
        "value",
    ),
    "an integer beyond doubles": (b'{"ts": ' + b"9" * 5000 + b"}", "not_finite", "ts"),
    "escaped lone surrogate": (event_bytes(text="a\ud800"), "lone_surrogate", "text"),
    "escaped lone surrogate in a field name": (
        event_bytes(context={"\udc00": 1}),
        "lone_surrogate",
        "context",
    ),
    "escaped lone surrogate in a field nobody knows": (
        event_bytes(extra=["\ud83d"]),
        "lone_surrogate",
        "extra.0",
    ),
    "surrogates in the wrong order": (event_bytes(text="\ude00\ud83d"), "lone_surrogate", "text"),
    "raw lone surrogate": (event_bytes(text="?").replace(b"?", b"\xed\xa0\x80"), "lone_surrogate", "(value)"),
    "no type": (without("type"), "missing_field", "type"),
    "unknown type": (event_bytes(type="purchase"), "wrong_field", "type"),
    "no event_id": (without("event_id"), "missing_field", "event_id"),
    "no user_id": (without("user_id"), "missing_field", "user_id"),
    "no ts": (without("ts"), "missing_field", "ts"),
    "no item_id": (without("item_id"), "missing_field", "item_id"),
    "no action": (without("action"), "missing_field", "action"),
    "empty event_id": (event_bytes(event_id=""), "wrong_field", "event_id"),
    "event_id of 129": (event_bytes(event_id="x" * 129), "wrong_field", "event_id"),
    "empty item_id": (event_bytes(item_id=""), "wrong_field", "item_id"),
    "user_id a number": (event_bytes(user_id=1), "wrong_field", "user_id"),
    "user_id null": (event_bytes(user_id=None), "wrong_field", "user_id"),
    "ts a boolean": (event_bytes(ts=True), "wrong_field", "ts"),
    "ts a numeral": (event_bytes(ts="5"), "wrong_field", "ts"),
    "ts no date": (event_bytes(ts="yesterday"), "wrong_field", "ts"),
    "ts null": (event_bytes(ts=None), "wrong_field", "ts"),
    "value a string": (event_bytes(value="5"), "wrong_field", "value"),
    "value a boolean": (event_bytes(value=True), "wrong_field", "value"),
    "context a list": (event_bytes(context=[1]), "wrong_field", "context"),
    "k of 0": (event_bytes(**REQUEST, k=0), "wrong_field", "k"),
    "k of 101": (event_bytes(**REQUEST, k=101), "wrong_field", "k"),
    "k of 1.5": (event_bytes(**REQUEST, k=1.5), "wrong_field", "k"),
    "k a boolean": (event_bytes(**REQUEST, k=True), "wrong_field", "k"),
    "k a string": (event_bytes(**REQUEST, k="10"), "wrong_field", "k"),
    "an empty id among candidates": (
        event_bytes(**REQUEST, candidates=["a", ""]),
        "wrong_field",
        "candidates.1",
    ),
    "a constraint without op": (
        event_bytes(**REQUEST, constraints=[{"name": "price", "value": 5}]),
        "missing_field",
        "constraints.0.op",
    ),
    "a constraint with an unknown op": (
        event_bytes(**REQUEST, constraints=[{"name": "price", "op": "<", "value": 5}]),
        "wrong_field",
        "constraints.0.op",
    ),
    "a price limit in words": (
        event_bytes(**REQUEST, constraints=[{"name": "price", "op": "<=", "value": "five"}]),
        "wrong_field",
        "constraints.0",
    ),
    "a limit that is a boolean": (
        event_bytes(**REQUEST, constraints=[{"name": "price", "op": "<=", "value": True}]),
        "wrong_field",
        "constraints.0.value",
    ),
    "a chat without text": (event_bytes(type="chat"), "missing_field", "text"),
    "a chat of a robot": (event_bytes(type="chat", text="hi", role="robot"), "wrong_field", "role"),
    "an impression without items": (event_bytes(type="impression", rec_id="r"), "missing_field", "item_ids"),
    "a trait that is a list": (
        event_bytes(type="traits", attributes={"a": [1]}),
        "wrong_field",
        "attributes.a",
    ),
    "traits without attributes": (event_bytes(type="traits"), "missing_field", "attributes"),
    "an edit of nothing": (event_bytes(type="profile_edit", op="pin"), "wrong_field", "(value)"),
    "an addition without words": (
        event_bytes(type="profile_edit", op="add", statement_id="s"),
        "wrong_field",
        "(value)",
    ),
    "an unknown edit": (event_bytes(type="profile_edit", op="burn", statement="x"), "wrong_field", "op"),
    "forgetting without scope": (event_bytes(type="forget"), "missing_field", "scope"),
    "forgetting all since": (event_bytes(type="forget", scope="all", since=1), "wrong_field", "(value)"),
    "forgetting a range without ends": (event_bytes(type="forget", scope="range"), "wrong_field", "(value)"),
}


@pytest.mark.parametrize(("value", "reason", "path"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_event_says_why_and_where(value, reason, path):
    found = decode_event(b"u1", value, LIMIT)
    assert isinstance(found, Malformed)
    assert (found.reason, found.path) == (reason, path)
    assert found.expected


@pytest.mark.parametrize(
    ("key", "value", "reason", "path"),
    [
        (None, event_bytes(), "no_key", "(key)"),
        (b"", event_bytes(), "no_key", "(key)"),
        (b"u2", event_bytes(), "key_mismatch", "(key)"),
        (b"\xff", event_bytes(), "key_mismatch", "(key)"),
        (b"i1", event_bytes(), "key_mismatch", "(key)"),
        (b"u1", None, "no_value", "(value)"),
        (None, None, "no_value", "(value)"),
    ],
)
def test_key_and_value_have_to_be_there_and_agree(key, value, reason, path):
    found = decode_event(key, value, LIMIT)
    assert isinstance(found, Malformed)
    assert (found.reason, found.path) == (reason, path)


def test_the_size_limit_is_the_last_size_accepted():
    value = event_bytes(text="é" * 1000)
    assert isinstance(decode_event(b"u1", value, len(value)), Interaction)
    found = decode_event(b"u1", value, len(value) - 1)
    assert found == Malformed(Reason.TOO_LARGE, "(value)", f"at most {len(value) - 1} bytes")


def test_what_was_expected_is_said_and_the_value_is_not_repeated():
    found = event(ts="my secret")
    assert "RFC 3339" in found.expected
    assert "secret" not in found.expected
    assert "'like'" not in event(type="purchase").expected
    assert "'interaction'" in event(type="purchase").expected
    assert "1 to 100" in event(type="request", k=0).expected


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "sniff"},
        {"item_id": "nobody knows this one"},
        {"ts": 0},
        {"ts": 9_999_999_999_999},
        {"ts": "2024-01-01T00:00:00+08:00"},
        {"a_field_of_tomorrow": {"x": [1]}},
        {"context": None, "value": None, "text": None, "session_id": None, "rec_id": None},
        {"text": "[{" * 500},
        {"text": '\\"[{' * 500},
        {"text": "NaN Infinity \\ud800"},
        {"text": "😀 \U0010ffff"},
        {"value": 12345678901234567890123},
        {"type": "request", "k": None, "constraints": None, "exclude": None, "candidates": None},
        {"type": "chat", "text": "", "role": None},
        {"type": "traits", "attributes": {"age": 31, "city": "Lima", "vip": True, "spend": 1.5, "old": None}},
    ],
    ids=str,
)
def test_unusual_events_are_accepted(changes):
    assert not isinstance(event(**changes), Malformed)


def test_defaults_of_a_request():
    found = event(type="request")
    assert isinstance(found, Request)
    assert (found.k, found.constraints, found.exclude, found.candidates) == (10, [], [], None)
    assert event(type="request", k=10.0).k == 10


def test_numbers_become_floats_and_traits_keep_their_kind():
    assert repr(event(value=4).value) == "4.0"
    traits = event(type="traits", attributes={"a": 1, "b": 1.0, "c": True}).attributes
    assert [type(value) for value in traits.values()] == [int, float, bool]


def test_a_byte_order_mark_is_dropped_once():
    assert event_bytes()[:1] == b"{"
    assert isinstance(decode_event(b"u1", b"\xef\xbb\xbf" + event_bytes(), LIMIT), Interaction)
    found = decode_event(b"u1", b"\xef\xbb\xbf" * 2 + event_bytes(), LIMIT)
    assert isinstance(found, Malformed)
    assert found.reason == "not_json"


def test_nesting_of_32_levels_is_accepted():
    assert isinstance(decode_event(b"u1", nested(32), LIMIT), Interaction)


def test_many_brackets_side_by_side_are_not_deep():
    assert isinstance(event(context={"flat": [[] for _ in range(500)]}), Interaction)


@pytest.mark.timeout(20)
def test_brackets_are_counted_in_one_pass_whatever_the_quotes():
    value = b"[" * 40 + b'"' + b'\\"' * 500_000
    assert decode_event(b"u1", b"{}" * 40 + value[40:], 1 << 21).reason == "not_json"


def test_keys_beyond_ascii_agree():
    assert isinstance(event(key="用户".encode(), user_id="用户"), Interaction)


@pytest.mark.parametrize("scope", ["since/until", "range", "since", None, {"since": 5, "until": 9}])
def test_a_range_to_forget_has_one_meaning_however_it_is_spelt(scope):
    ends = {} if isinstance(scope, dict) else {"since": 5, "until": 9}
    found = event(type="forget", scope=scope, **ends)
    assert isinstance(found, Forget)
    assert (found.scope, found.since, found.until) == ("range", 5, 9)


def test_one_string_in_a_list_condition_is_a_list_of_one():
    found = event(type="request", constraints=[{"name": "colour", "op": "in", "value": "red"}])
    assert found.constraints[0].value == ["red"]


def test_a_null_value_withdraws_an_item():
    assert decode_item("ключ".encode(), None, LIMIT) == Withdrawn("ключ")


@pytest.mark.parametrize(
    ("key", "reason"),
    [(None, "no_key"), (b"", "no_key"), (b"\xff", "not_utf8"), (b"\xed\xa0\x80", "lone_surrogate")],
)
def test_a_withdrawal_needs_an_id(key, reason):
    found = decode_item(key, None, LIMIT)
    assert isinstance(found, Malformed)
    assert (found.reason, found.path) == (reason, "(key)")
    assert decode_item(b"x" * 129, None, LIMIT).reason == "wrong_field"


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"price": {"amount": -0.01, "currency": "EUR"}}, "price.amount"),
        ({"price": {"amount": "5", "currency": "EUR"}}, "price.amount"),
        ({"price": {"amount": True, "currency": "EUR"}}, "price.amount"),
        ({"price": {"amount": 5, "currency": "€"}}, "price.currency"),
        ({"price": 5}, "price"),
        ({"title": None}, "title"),
        ({"categories": "shoes"}, "categories"),
        ({"categories": ["shoes", 1]}, "categories.1"),
        ({"available": "yes"}, "available"),
        ({"available": 1}, "available"),
        ({"published_at": "soon"}, "published_at"),
        ({"item_id": "x" * 129}, "item_id"),
        ({"sponsored": {"label": "ad", "bid": -1}}, "sponsored.bid"),
    ],
    ids=str,
)
def test_a_malformed_item_says_where(changes, path):
    found = item(**changes)
    assert isinstance(found, Malformed)
    assert (found.reason, found.path) == ("wrong_field", path)


def test_missing_parts_of_an_item_are_named():
    assert item(price={"amount": 1}).path == "price.currency"
    assert item(price={"amount": 1}).reason == "missing_field"
    assert decode_item(b"i1", b'{"item_id": "i1"}', LIMIT).path == "title"
    assert item(price={"amount": float("inf"), "currency": "EUR"}).reason == "not_finite"
    assert item(key=b"i2").reason == "key_mismatch"


def test_an_item_with_all_its_nulls_is_an_item_without_those_fields():
    names = set(Item.model_fields) - {"item_id", "title"}
    assert item(**dict.fromkeys(names)) == item()
    assert item().available is True


def test_currencies_are_in_capitals():
    assert item(price={"amount": 5, "currency": "cny"}).price.currency == "CNY"


@settings(max_examples=300)
@given(st.one_of(st.none(), st.binary(max_size=64)), st.one_of(st.none(), st.binary(max_size=200)))
def test_no_bytes_make_decoding_raise(key, value):
    for decode in (decode_event, decode_item):
        decode(key, value, 150)


@settings(max_examples=300)
@given(st.data())
def test_no_damage_to_a_good_record_makes_decoding_raise(data):
    raw = bytearray(event_bytes(text="a\\né", context={"a": [1.5, None]}))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    found = decode_event(b"u1", bytes(raw), LIMIT)
    if isinstance(found, Malformed):
        assert found.reason in set(Reason)


_TEXTS = [None, "", "x", "x" * 128, "x" * 129, "\u5174\u8da3", "\0", "2026-11-05T10:00:00Z"]
_NUMBERS = [True, False, 0, -1, 5.0, 5.5, -0.0, 1e300, 2**53, 2**53 + 1, -(2**53) - 1, 2**63, 2**64, 10**30]
_ODD = st.sampled_from([*_TEXTS, *_NUMBERS, [], ["x"], {}, {"a": [1.5, None, {"b": "c"}]}])
_FIELDS = [*EVENT, "session_id", "context", "value", "text", "rec_id", "unknown"]


@settings(max_examples=500)
@given(
    changes=st.dictionaries(st.sampled_from(_FIELDS), _ODD, max_size=3),
    left_out=st.sets(st.sampled_from(list(EVENT)), max_size=1),
    ascii_only=st.booleans(),
)
def test_a_plain_interaction_read_in_one_pass_is_what_its_model_says(changes, left_out, ascii_only):
    record = {name: value for name, value in {**EVENT, **changes}.items() if name not in left_out}
    raw = json.dumps(record, ensure_ascii=ascii_only).encode()
    try:
        by_model = TypeAdapter(Event).validate_python(orjson.loads(raw))
    except ValidationError:
        by_model = None
    found = decode_event(str(record.get("user_id") or "u1").encode(), raw, LIMIT)
    if by_model is None:
        assert isinstance(found, Malformed)
    else:
        assert found == by_model
        assert type(found.ts) is int
        assert repr(found) == repr(by_model)


def test_each_interaction_has_a_context_of_its_own():
    one, other = event(), event()
    one.context["a"] = 1
    assert other.context == {}


def test_in_memory_an_interaction_has_the_fields_of_its_record():
    assert set(Interaction.__struct_fields__) == set(InteractionRecord.model_fields)


def test_what_is_accepted_can_always_be_written_again():
    found = event(type="chat", text="\U0001f600", context={"big": 2**64 + 1, "deep": [[1e308]]})
    assert isinstance(found, Chat)
    assert orjson.loads(orjson.dumps(found.model_dump()))["text"] == "\U0001f600"
