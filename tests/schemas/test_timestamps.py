"""Times on the wire: milliseconds or RFC 3339 in, whole milliseconds inside."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.wire import MAX_TS, Timestamp, format_rfc3339, parse_rfc3339

TIMESTAMP = TypeAdapter(Timestamp)


@pytest.mark.parametrize(
    ("given_value", "milliseconds"),
    [
        (1_700_000_000_000, 1_700_000_000_000),
        (0, 0),
        (-1, -1),
        (1_700_000_000_000.75, 1_700_000_000_000),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00.1z", 100),
        ("1970-01-01 01:00:00.123456789+01:00", 123),
        ("1969-12-31T23:59:59.5Z", -500),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("9999-12-31T23:59:60Z", 253_402_300_800_000),
        (2**63, MAX_TS),
        (-(2**63), -MAX_TS),
        (1e300, MAX_TS),
    ],
)
def test_times_become_whole_milliseconds(given_value, milliseconds):
    stamp = TIMESTAMP.validate_python(given_value)
    assert stamp == milliseconds
    assert type(stamp) is int


@pytest.mark.parametrize(
    "value",
    [
        True, False, None, "", "1700000000000", "yesterday", "2024-01-01", "2024-01-01T00:00:00",
        "2024-02-30T00:00:00Z", "2024-01-01T24:01:00Z", "2024-01-01T00:00:61Z", "0000-01-01T00:00:00Z",
        "2024-01-01T00:00:00Z\n", "٢٠٢٤-01-01T00:00:00Z", "2024-W01-1T00:00:00Z", float("nan"), [1], {},
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValidationError, match="milliseconds since the epoch or an RFC 3339 date-time"):
        TIMESTAMP.validate_python(value)


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_text_and_number_name_the_same_instant(milliseconds):
    assert parse_rfc3339(format_rfc3339(milliseconds)) == milliseconds


@given(st.integers(-MAX_TS, MAX_TS))
def test_any_time_has_a_text(milliseconds):
    assert datetime.fromisoformat(format_rfc3339(milliseconds)).tzinfo == UTC
