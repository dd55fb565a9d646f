"""Headers are bytes, complete, and bounded whatever the sender wrote."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.decode import Malformed, Reason
from schemas.headers import CLOUDEVENT_HEADERS, DEAD_LETTER_HEADERS, cloudevent_headers, dead_letter_headers


def test_a_dead_letter_says_why_and_from_where():
    malformed = Malformed(Reason.WRONG_FIELD, "price.amount", "a valid number")
    headers = dict(dead_letter_headers(malformed, "shop.items.v1", 3, 17, 1_700_000_000_123))
    assert tuple(headers) == DEAD_LETTER_HEADERS
    assert headers["dlq_reason"] == b"wrong_field"
    assert headers["dlq_path"] == b"price.amount"
    assert headers["dlq_expected"] == b"a valid number"
    assert headers["dlq_topic"] == b"shop.items.v1"
    assert (headers["dlq_partition"], headers["dlq_offset"]) == (b"3", b"17")
    assert headers["dlq_time"] == b"2023-11-14T22:13:20.123Z"


@given(st.text(max_size=2000))
def test_field_names_of_any_length_and_kind_fit_into_headers(path):
    headers = dict(dead_letter_headers(Malformed(Reason.WRONG_FIELD, path, "x"), "t", 0, 0, 0))
    assert len(headers["dlq_path"]) <= 512
    headers["dlq_path"].decode()


def test_messages_carry_cloudevents_in_binary_mode():
    headers = dict(cloudevent_headers("r-1", "headwater.recommendation", "/headwater/worker", 0))
    assert tuple(headers) == CLOUDEVENT_HEADERS
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_id"] == b"r-1"
    assert headers["ce_time"] == b"1970-01-01T00:00:00.000Z"
    assert headers["content-type"] == b"application/json"
