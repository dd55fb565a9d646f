"""Bytes of a Kafka record -> a valid record, or what is wrong with it. Never raises, whatever the bytes.

In: key and value as received. Out: an Event, an Item, a Withdrawn, or a Malformed (a dead letter). A plain interaction,
as nearly all records are, is read and checked in one pass (msgspec). Any other record, and any that it refuses, takes
one strict parse (orjson: UTF-8, no NaN, no lone surrogates) and one compiled validation (pydantic), which alone decide;
only what fails there is looked at again, slowly, to say why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec
import orjson
from pydantic import TypeAdapter, ValidationError

from schemas.events import EVENT, Event, Interaction
from schemas.items import Item, Withdrawn
from schemas.wire import MAX_DEPTH

KEY, VALUE = "(key)", "(value)"  # paths of what lies outside the record's fields
_OWN = b"?"  # stands for a key
_BOM = b"\xef\xbb\xbf"
_ITEM = TypeAdapter(Item)
_INTERACTION = msgspec.json.Decoder(Interaction)
# a string is one token and may lack its end, so that no input makes the scan start over (possessive)
_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Reason(StrEnum):
    """Why a record is malformed; the dead letter's `dlq_reason`."""

    NO_KEY = "no_key"
    NO_VALUE = "no_value"
    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    NOT_FINITE = "not_finite"
    LONE_SURROGATE = "lone_surrogate"
    MISSING_FIELD = "missing_field"
    WRONG_FIELD = "wrong_field"
    KEY_MISMATCH = "key_mismatch"


@dataclass(frozen=True, slots=True)
class Malformed:
    """What is wrong, where, and what was expected there. None of it repeats a value of the record."""

    reason: Reason
    path: str
    expected: str


ItemRecord: TypeAlias = Item | Withdrawn


def decode_event(key: bytes | None, value: bytes | None, max_bytes: int) -> Event | Malformed:
    """An event of the user whose id is `key`. `max_bytes`: the largest value accepted."""
    if value is None:
        return Malformed(Reason.NO_VALUE, VALUE, "an event; to erase a user send a `forget` event")
    event = (_plain_interaction(value, max_bytes) if key else None) or _decode(EVENT, key, value, max_bytes)
    if event.__class__ is not Malformed and event.user_id.encode() != key:
        return Malformed(Reason.KEY_MISMATCH, KEY, "the record's user_id")
    return event


def decode_item(key: bytes | None, value: bytes | None, max_bytes: int) -> ItemRecord | Malformed:
    """The item whose id is `key`, or its withdrawal where the value is null."""
    if value is None:
        return _withdrawn(key)
    item = _decode(_ITEM, key, value, max_bytes)
    if not isinstance(item, Malformed) and item.item_id.encode() != key:
        return Malformed(Reason.KEY_MISMATCH, KEY, "the record's item_id")
    return item


def decode_own_event(value: bytes, max_bytes: int) -> Event | Malformed:
    """As `decode_event` for a record that came without a key, as from a file: its own user_id is its key."""
    return _plain_interaction(value, max_bytes) or _decode(EVENT, _OWN, value, max_bytes)


def decode_own_item(value: bytes, max_bytes: int) -> Item | Malformed:
    """As `decode_item` for a record that came without a key, as from a file: its own item_id is its key."""
    return _decode(_ITEM, _OWN, value, max_bytes)


def _plain_interaction(value: bytes, max_bytes: int) -> Interaction | None:
    """`value`, if it is an interaction of the kinds that both ways take alike. Of fields that nobody knows msgspec sees
    to the grammar only, not to their UTF-8; and a number beyond a double passes there."""
    if not value.isascii() or len(value) > max_bytes or value.count(b"{") + value.count(b"[") > MAX_DEPTH:
        return None
    try:
        return _INTERACTION.decode(value)
    except msgspec.MsgspecError:
        return None


def _decode(adapter: TypeAdapter[Any], key: bytes | None, value: bytes, max_bytes: int) -> Any:
    if len(value) > max_bytes:
        return Malformed(Reason.TOO_LARGE, VALUE, f"at most {max_bytes} bytes")
    if not key:
        return Malformed(Reason.NO_KEY, KEY, "the record's id as key")
    if value.startswith(_BOM):
        value = value[3:]
    if value.count(b"{") + value.count(b"[") > MAX_DEPTH and _too_deep(value):
        return Malformed(Reason.TOO_DEEP, VALUE, f"at most {MAX_DEPTH} levels of nesting")
    try:
        data = orjson.loads(value)
    except ValueError:
        return _why_not_json(value)
    try:
        return adapter.validator.validate_python(data)  # past the adapter's own wrapper, a quarter of the time
    except ValidationError as error:
        return _why_not_valid(data, error, tagged=adapter is EVENT)


def _withdrawn(key: bytes | None) -> Withdrawn | Malformed:
    if not key:
        return Malformed(Reason.NO_KEY, KEY, "the item_id as key")
    try:
        item_id = key.decode()
    except UnicodeDecodeError as error:
        return _why_not_utf8(key, error, KEY)
    if len(item_id) > 128:
        return Malformed(Reason.WRONG_FIELD, KEY, "an item_id of 1 to 128 characters")
    return Withdrawn(item_id)


def _too_deep(value: bytes) -> bool:
    depth = 0
    for token in _BRACKETS.finditer(value):
        first = value[token.start()]
        if first in b"{[":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif first in b"}]":
            depth -= 1
    return False


def _why_not_utf8(raw: bytes, error: UnicodeDecodeError, path: str) -> Malformed:
    try:
        raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return Malformed(Reason.NOT_UTF8, path, f"UTF-8 (byte {error.start} is not)")
    return Malformed(Reason.LONE_SURROGATE, path, f"UTF-8 without surrogates (there is one at byte {error.start})")


def _why_not_json(value: bytes) -> Malformed:
    """The strict parser refused `value`; a lenient one tells the kinds apart."""
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        return _why_not_utf8(value, error, VALUE)
    try:
        data = json.loads(text, parse_int=float)
    except json.JSONDecodeError as error:
        return Malformed(Reason.NOT_JSON, VALUE, f"JSON (broken at character {error.pos})")
    except (ValueError, RecursionError):
        return Malformed(Reason.NOT_JSON, VALUE, "JSON")
    for path, leaf in _leaves(data):
        if isinstance(leaf, float) and not (float("-inf") < leaf < float("inf")):
            return Malformed(Reason.NOT_FINITE, path, "a finite number")
        if isinstance(leaf, str) and _SURROGATE.search(leaf):
            return Malformed(Reason.LONE_SURROGATE, path, "text without lone surrogates")
    return Malformed(Reason.NOT_JSON, VALUE, "JSON as RFC 8259 has it")


def _leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar with its path, and every field name as a scalar of its own. At most MAX_DEPTH deep."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield path or VALUE, name
            yield from _leaves(value, _join(path, name))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _leaves(value, _join(path, index))
    else:
        yield path or VALUE, data


def _why_not_valid(data: Any, error: ValidationError, tagged: bool) -> Malformed:
    """The first complaint, in the record's own terms. `tagged`: places begin with the type of event."""
    if not isinstance(data, dict):
        return Malformed(Reason.WRONG_FIELD, VALUE, "a JSON object")
    complaints = error.errors(include_url=False, include_context=True, include_input=False)
    first = complaints[0]
    kind = first["type"]
    if kind == "union_tag_not_found":
        return Malformed(Reason.MISSING_FIELD, "type", "the type of event")
    if kind == "union_tag_invalid":
        return Malformed(Reason.WRONG_FIELD, "type", f"one of {first['ctx']['expected_tags']}")
    skip = int(tagged)
    missing = kind == "missing"
    path = _path_in(data, first["loc"][skip:], missing)
    if missing:
        return Malformed(Reason.MISSING_FIELD, path, "this field")
    same = (c["msg"] for c in complaints if _path_in(data, c["loc"][skip:], c["type"] == "missing") == path)
    expected = dict.fromkeys(message.removeprefix("Input should be ") for message in same)
    return Malformed(Reason.WRONG_FIELD, path or VALUE, " or ".join(expected))


def _path_in(data: Any, loc: tuple[int | str, ...], missing: bool) -> str:
    """`loc` without the parts that are names of models and unions, found by walking the data itself."""
    path = ""
    names = loc[:-1] if missing else loc
    for part in names:
        in_list = isinstance(data, list) and isinstance(part, int) and 0 <= part < len(data)
        if in_list or (isinstance(data, dict) and part in data):
            data, path = data[part], _join(path, part)
    return _join(path, loc[-1]) if missing else path


def _join(path: str, part: int | str) -> str:
    return f"{path}.{part}" if path else str(part)
