"""What every record shares: the base model, the field types, and canonical JSON.

Flow: Kafka bytes -> `decode` -> the models built on this page -> the core; and back out through `encode`.
Numbers are strict (a boolean or a string is never one), floats are finite, unknown extra fields are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

import msgspec
import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MAX_DEPTH = 32  # deepest nesting of arrays and objects; the record itself is 1
MAX_TS = 2**53  # ms; beyond it a JSON number is no longer exact. Further stamps are moved here, not refused

# also the pattern in the JSON Schema: what one accepts the other does (but for days that no month has)
RFC3339 = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:)([0-9]{2})"
    r"(?:\.([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
_RFC3339 = re.compile(RFC3339)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = -62_135_596_800_000, 253_402_300_799_999  # ms: of the years 1 to 9999


class Wire(BaseModel):
    """Base of all records. Unknown fields are ignored; types are strict; NaN and infinities are refused."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")


def parse_rfc3339(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 date-time; a finer fraction is cut off.

    Raises ValueError for anything else: a date alone, a time without an offset, a 31st of April.
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError("not an RFC 3339 date-time with an offset")
    day, clock, second, fraction, offset = found.groups()
    leap = second == "60"
    stamp = datetime.fromisoformat(f"{day}T{clock}{'59' if leap else second}{'+00:00' if offset in 'Zz' else offset}")
    milliseconds = int((fraction or "0").ljust(3, "0")[:3])
    return (stamp - _EPOCH) // timedelta(milliseconds=1) + 1000 * leap + milliseconds


@lru_cache(maxsize=64)  # the messages of a step share theirs
def format_rfc3339(time_ms: int) -> str:
    """`2026-11-05T10:00:00.123Z`; years outside 1 to 9999 are moved to the nearest one that has a name."""
    stamp = _EPOCH + timedelta(milliseconds=min(max(time_ms, _EARLIEST), _LATEST))
    return stamp.isoformat(timespec="milliseconds")[:-6] + "Z"


def _to_timestamp(value: Any) -> int:
    """The slow path of `Timestamp`: strings, fractions of a millisecond, and numbers out of range."""
    if isinstance(value, str):
        try:
            return parse_rfc3339(value)
        except ValueError:
            raise PydanticCustomError("timestamp", "not a date-time") from None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        return int(min(max(value, -MAX_TS), MAX_TS))
    raise PydanticCustomError("timestamp", "not a number")


class _TimestampSchema:
    """Whole milliseconds go straight through in compiled code; only the rest calls Python."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.union_schema(
            [
                core_schema.int_schema(strict=True, ge=-MAX_TS, le=MAX_TS),
                core_schema.no_info_plain_validator_function(_to_timestamp),
            ],
            mode="left_to_right",
            custom_error_type="timestamp",
            custom_error_message="Input should be milliseconds since the epoch or an RFC 3339 date-time",
        )

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "anyOf": [{"type": "number"}, {"type": "string", "format": "date-time", "pattern": RFC3339}],
            "description": "milliseconds since the epoch, or an RFC 3339 date-time with an offset",
        }


class Whole:
    """Marks an int field between `least` and `most`; 10.0 counts as 10, true and "10" do not.

    `null`: what an explicit null stands for, where one is allowed.
    """

    def __init__(self, least: int, most: int, null: int | None = None) -> None:
        self.least, self.most, self.null = least, most, null

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        whole = core_schema.int_schema(strict=True, ge=self.least, le=self.most)
        return core_schema.union_schema(
            [
                whole,
                core_schema.chain_schema(
                    [core_schema.no_info_plain_validator_function(self._whole), whole],
                ),
            ],
            mode="left_to_right",
            custom_error_type="whole",
            custom_error_message=f"Input should be a whole number from {self.least} to {self.most}",
        )

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        kind = "integer" if self.null is None else ["integer", "null"]
        return {"type": kind, "minimum": self.least, "maximum": self.most}

    def _whole(self, value: Any) -> int:
        """The slow path. JSON knows one kind of number: 10.0 is the integer 10."""
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if value is None and self.null is not None:
            return self.null
        raise PydanticCustomError("whole", "not whole")


Id = Annotated[str, StringConstraints(min_length=1, max_length=128), msgspec.Meta(min_length=1, max_length=128)]
"""1 to 128 characters; also what a Kafka key has to be."""

Count = Annotated[int, Whole(0, MAX_TS)]
"""How many of something, a size in bytes, an offset, a sequence number."""

Timestamp = Annotated[int, _TimestampSchema(), msgspec.Meta(ge=-MAX_TS, le=MAX_TS)]
"""On the wire milliseconds since the epoch or RFC 3339; in Python always int milliseconds."""


class NullMeans:
    """Marks an optional field for which an explicit null is the same as leaving it out."""

    def __init__(self, default: Callable[[], Any]) -> None:
        self.default = default

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        return core_schema.no_info_before_validator_function(
            lambda value: self.default() if value is None else value,
            inner,
            json_schema_input_schema=core_schema.nullable_schema(inner),
        )


def encode(record: Any) -> bytes:
    """Canonical JSON: sorted keys, compact, UTF-8 unescaped. Takes a dict, a model or a struct.

    Raises orjson.JSONEncodeError (a TypeError) on what JSON cannot carry, a lone surrogate included.
    """
    if isinstance(record, BaseModel):
        record = record.model_dump(mode="json")
    elif isinstance(record, msgspec.Struct):
        record = msgspec.structs.asdict(record)
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
