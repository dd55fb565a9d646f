"""The generated documents say what the models do: one accepts exactly what the other accepts."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.documents import asyncapi, json_schemas
from schemas.events import EVENT
from schemas.items import Item
from schemas.topics import TOPICS
from schemas.wire import encode

SCHEMAS = json_schemas()
VALIDATORS = {name: jsonschema.Draft202012Validator(schema) for name, schema in SCHEMAS.items()}
MODELS = {f"{topic.name}.v1": TypeAdapter(topic.record) for topic in TOPICS.values() if topic.record is not None}

WORLD = {"release_id": "none", "statistics_id": "s1", "catalogue_version": "1f"}
GOOD = {
    "recommendations.v1": {
        "rec_id": "r1",
        "user_id": "u1",
        "kind": "ranking",
        "trigger": {"event_id": "e1", "type": "request", "ts": 5},
        "items": [
            {
                "item_id": "i1", "rank": 1, "score": 0.5, "propensity": 0.9, "source": "dense",
                "reasons": [{"text": "You liked it", "weight": 0.4, "evidence": [{"event": "e"}, {"field": "f"}]}],
            }
        ],
        "reply": None,
        "constraints": [{"name": "price", "op": "<=", "value": 500, "unit": "CNY", "event_id": "e", "expires": 9}],
        "world": WORLD,
        "arm": None,
        "surface": "home",
        "timing": {"event_ts": 5, "received_ts": 6, "emitted_ts": 7},
    },
    "training-examples.v1": {
        "example_id": "x1", "user_id": "u1", "rec_id": "r1", "item_id": "i1", "position": 1, "propensity": 1,
        "label": {"action": "click", "value": None, "delay_ms": 20}, "features": {"popularity": 0.5},
        "feature_schema": "1", "world": WORLD, "recommended_ts": 5, "labelled_ts": 25,
    },
    "item-vectors.v1": {
        "item_id": "i1", "encoder_id": "enc", "content_hash": "0123456789abcdef", "dim": 1, "vector": "AAA=",
    },
    "releases.v1": {
        "release_id": "rel1", "role": "statistics", "sequence": 3, "parent": None, "created_ts": 5,
        "trained_through": {"ts": 4, "offsets": {"0": 17}}, "metrics": {}, "uri": "file:///r",
        "sha256": "0" * 64, "size": 10, "schema_version": 1, "status": "serving",
        "base": {"uri": "file:///b", "sha256": "1" * 64, "size": 100},
    },
    "journal.v1": {"partition": 0, "offset": 7, "world": WORLD, "positions": {"items": {"0": 4}}, "ts": 5},
    "receipts.v1": {
        "receipt_id": "q1", "user_id": "u1", "event_id": "e9", "kind": "forget", "ts": 5,
        "removed": {"events": 12}, "statement_ids": ["s1"], "outcome": "done",
    },
    "alerts.v1": {
        "alert_id": "a1", "kind": "drift", "subject": "i1", "severity": "info", "text": "x", "ts": 5,
        "details": {},
    },
}  # fmt: skip

ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=128)
numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
texts = st.text(st.characters(codec="utf-8"), max_size=40)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
stamps = st.one_of(st.integers(0, 2**52), st.datetimes().map(lambda t: t.isoformat(timespec="seconds") + "Z"))
constraints = st.one_of(
    st.fixed_dictionaries({"name": ids, "op": st.sampled_from(["<=", ">="]), "value": numbers}),
    st.fixed_dictionaries({"name": ids, "op": st.just("=="), "value": numbers | texts}),
    st.fixed_dictionaries({"name": ids, "op": st.sampled_from(["in", "not_in"]), "value": st.lists(texts, max_size=3)}),
)


def events(kind, required, optional=None):
    """Records of one type of event."""
    common = {"event_id": ids, "type": st.just(kind), "user_id": ids, "ts": stamps}
    also = {
        "session_id": st.none() | ids,
        "context": st.none() | st.dictionaries(texts, anything, max_size=3),
    }
    return st.fixed_dictionaries(common | required, optional=also | (optional or {}))


any_event = st.one_of(
    events(
        "interaction",
        {"action": ids, "item_id": ids},
        {"value": st.none() | numbers, "text": st.none() | texts, "rec_id": st.none() | ids},
    ),
    events(
        "chat",
        {"text": texts},
        {"conversation_id": ids, "role": st.sampled_from(["user", "assistant", None])},
    ),
    events(
        "request",
        {},
        {
            "k": st.none() | st.integers(1, 100),
            "query": st.none() | texts,
            "surface": texts,
            "constraints": st.none() | st.lists(constraints, max_size=3),
            "exclude": st.none() | st.lists(ids, max_size=3),
            "candidates": st.none() | st.lists(ids, max_size=3),
            "like_items": st.none() | st.lists(ids, max_size=3),
        },
    ),
    events("impression", {"rec_id": ids, "item_ids": st.lists(ids, max_size=3)}),
    events("traits", {"attributes": st.dictionaries(ids, scalars, max_size=3)}),
    events(
        "profile_edit",
        {"op": st.just("add"), "statement": texts.filter(bool)},
        {"statement_id": st.none() | ids},
    ),
    events("profile_edit", {"op": st.sampled_from(["remove", "pin", "mute"]), "statement_id": ids}),
    events("forget", {"scope": st.sampled_from(["all", "session"])}, {"since": st.none()}),
    events("forget", {"since": stamps}, {"scope": st.sampled_from(["range", "since", None]), "until": stamps}),
    events("forget", {"scope": st.fixed_dictionaries({"until": stamps})}),
)
any_item = st.fixed_dictionaries(
    {"item_id": ids, "title": texts},
    optional={
        "description": st.none() | texts,
        "categories": st.none() | st.lists(texts, max_size=3),
        "price": st.none()
        | st.fixed_dictionaries({"amount": numbers.map(abs), "currency": st.sampled_from(["EUR", "cny"])}),
        "attributes": st.none() | st.dictionaries(texts, anything, max_size=3),
        "available": st.none() | st.booleans(),
        "published_at": st.none() | stamps,
        "sponsored": st.none() | st.fixed_dictionaries({"label": texts}, optional={"bid": numbers.map(abs)}),
    },
)
RECORDS = {"events.v1": any_event, "items.v1": any_item}


def both(name, record):
    """(the model accepts it, the schema accepts it), of the record as JSON."""
    record = json.loads(json.dumps(record))
    try:
        MODELS[name].validate_python(record)
    except ValidationError:
        return False, VALIDATORS[name].is_valid(record)
    return True, VALIDATORS[name].is_valid(record)


def places(record, path=()):
    """Paths of all values within a record."""
    children = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for name, value in children:
        yield (*path, name)
        yield from places(value, (*path, name))


def changed(record, path, value, drop):
    """A deep copy in which the value at `path` is another one, or gone."""
    copy = json.loads(json.dumps(record))
    target = copy
    for name in path[:-1]:
        target = target[name]
    if drop:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return copy


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_a_schema(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_every_topic_with_json_has_a_schema():
    assert set(SCHEMAS) == set(RECORDS) | set(GOOD)


@pytest.mark.parametrize("name", GOOD)
def test_examples_are_accepted_by_both_and_survive_a_round_trip(name):
    assert both(name, GOOD[name]) == (True, True)
    record = MODELS[name].validate_python(GOOD[name])
    assert MODELS[name].validate_python(json.loads(encode(record))) == record


@pytest.mark.parametrize("name", RECORDS)
@given(data=st.data())
def test_records_survive_a_round_trip(name, data):
    raw = data.draw(RECORDS[name])
    assert both(name, raw) == (True, True)
    record = MODELS[name].validate_python(raw)
    written = encode(record)
    assert MODELS[name].validate_python(json.loads(written)) == record
    assert encode(json.loads(written)) == written
    assert VALIDATORS[name].is_valid(json.loads(written))


@pytest.mark.parametrize("name", [*RECORDS, *GOOD])
@given(data=st.data())
def test_model_and_schema_agree_on_damaged_records(name, data):
    record = data.draw(RECORDS[name]) if name in RECORDS else GOOD[name]
    path = data.draw(st.sampled_from(list(places(record))))
    bad = changed(record, path, data.draw(anything), data.draw(st.booleans()))
    by_model, by_schema = both(name, bad)
    assert by_model == by_schema, bad


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("events.v1", ("ts",), True),
        ("events.v1", ("ts",), "yesterday"),
        ("events.v1", ("ts",), "2024-01-01"),
        ("events.v1", ("event_id",), ""),
        ("events.v1", ("user_id",), "x" * 129),
        ("events.v1", ("type",), "purchase"),
        ("events.v1", ("k",), 0),
        ("events.v1", ("k",), 101),
        ("events.v1", ("k",), "10"),
        ("events.v1", ("k",), True),
        ("events.v1", ("constraints",), [{"name": "price", "op": "<=", "value": "cheap"}]),
        ("events.v1", ("constraints",), [{"name": "brand", "op": "in", "value": 5}]),
        ("events.v1", ("constraints",), [{"name": "brand", "op": "==", "value": ["a"]}]),
        ("items.v1", ("price",), {"amount": -1, "currency": "EUR"}),
        ("items.v1", ("price",), {"amount": 1, "currency": "euro"}),
        ("items.v1", ("available",), "no"),
        ("recommendations.v1", ("items", 0, "propensity"), 0),
        ("recommendations.v1", ("items", 0, "rank"), 0),
        ("recommendations.v1", ("kind",), "guess"),
        ("releases.v1", ("sha256",), "ABC"),
        ("releases.v1", ("role",), "oracle"),
    ],
    ids=str,
)
def test_bad_values_are_refused_by_both(name, path, value):
    good = {
        "events.v1": {"event_id": "e", "type": "request", "user_id": "u", "ts": 1},
        "items.v1": {"item_id": "i", "title": "t"},
        **GOOD,
    }[name]
    assert both(name, good) == (True, True)
    assert both(name, changed(good, path, value, drop=False)) == (False, False)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "forget"},
        {"type": "forget", "scope": "all", "since": 1},
        {"type": "forget", "scope": "range"},
        {"type": "forget", "scope": {}},
        {"type": "profile_edit", "op": "add", "statement_id": "s"},
        {"type": "profile_edit", "op": "pin"},
        {"type": "profile_edit", "op": "pin", "statement": None},
    ],
    ids=str,
)
def test_rules_between_fields_stand_in_the_schema_too(fields):
    assert both("events.v1", {"event_id": "e", "user_id": "u", "ts": 1, **fields}) == (False, False)


def references(document):
    if isinstance(document, dict):
        if isinstance(document.get("$ref"), str):
            yield document["$ref"]
        for value in document.values():
            yield from references(value)
    elif isinstance(document, list):
        for value in document:
            yield from references(value)


def resolved(document, reference):
    assert reference.startswith("#/")
    for part in reference[2:].split("/"):
        document = document[part]
    return document


def test_the_asyncapi_document_holds_together():
    document = asyncapi("shop", 6, "1.2.3")
    assert document["asyncapi"] == "3.0.0"
    assert {channel["address"] for channel in document["channels"].values()} == {
        topic.full_name("shop") for topic in TOPICS.values()
    }
    found = set(references(document))
    assert found
    for reference in found:
        assert isinstance(resolved(document, reference), dict)
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        # as AsyncAPI 3 demands: an operation's messages are references into its own channel
        for message in operation["messages"]:
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")


def test_the_asyncapi_document_has_the_topics_as_they_are_made():
    channels = asyncapi("shop", 6, "1.2.3", max_record_bytes=2048)["channels"]
    for name, topic in TOPICS.items():
        kafka = channels[name]["bindings"]["kafka"]
        assert kafka["partitions"] == topic.partitions(6)
        assert kafka["topicConfiguration"]["cleanup.policy"] == [topic.config(2048)["cleanup.policy"]]
        assert kafka["topicConfiguration"]["max.message.bytes"] == topic.max_message_bytes(2048)


@given(any_event)
def test_the_schemas_inside_the_asyncapi_document_accept_what_the_models_accept(record):
    components = asyncapi("shop", 6, "1.2.3")["components"]
    schema = {"$ref": "#/components/schemas/EventsRecord", "components": components}
    assert jsonschema.Draft202012Validator(schema).is_valid(json.loads(json.dumps(record)))


def test_documents_are_json_and_the_same_each_time():
    first = json.dumps([json_schemas(), asyncapi("a", 1, "1")])
    assert json.dumps([json_schemas(), asyncapi("a", 1, "1")]) == first


def test_models_of_the_two_inputs_are_those_that_decoding_uses():
    assert MODELS["events.v1"].json_schema() == EVENT.json_schema()
    assert MODELS["items.v1"].json_schema() == Item.model_json_schema()
