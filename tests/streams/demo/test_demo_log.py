from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import orjson
import pytest

from schemas.decode import Malformed, decode_event, decode_item
from streams.demo.log import synthetic_items, synthetic_log

LIMIT = 1 << 20


def test_a_log_holds_valid_events_in_order_and_is_the_same_each_time():
    log = list(synthetic_log(500, 60_000, 1000, seed=3))
    assert len(log) == 60_000
    for event in log[::97]:
        assert not isinstance(decode_event(event["user_id"].encode(), orjson.dumps(event), LIMIT), Malformed)
    assert len({event["event_id"] for event in log}) == len(log)
    assert all(a["ts"] <= b["ts"] for a, b in pairwise(log))
    assert log == list(synthetic_log(500, 60_000, 1000, seed=3))
    assert log[:100] != list(islice(synthetic_log(500, 60_000, 1000, seed=4), 100))


def test_a_log_has_popular_items_and_users_with_an_interest():
    log = list(synthetic_log(300, 50_000, 2000, seed=1))
    items = Counter(event["item_id"] for event in log)
    top_tenth = sum(count for _, count in items.most_common(200))
    assert top_tenth > 0.3 * len(log)
    # two halves of one user's items have more in common than those of two users
    by_user: dict[str, list[str]] = {}
    for event in log:
        by_user.setdefault(event["user_id"], []).append(event["item_id"])
    users = [items for items in by_user.values() if len(items) > 60][:60]
    own = sum(len(set(user[::2]) & set(user[1::2])) for user in users)
    other = sum(len(set(a[::2]) & set(b[1::2])) for a, b in pairwise(users))
    assert own > 1.3 * other


def test_a_log_over_given_ids_uses_only_these():
    ids = ["a", "b", "c"]
    assert {event["item_id"] for event in synthetic_log(10, 500, ids)} == set(ids)


@pytest.mark.parametrize(("users", "items"), [(0, 5), (5, 0), (5, [])])
def test_a_log_of_nobody_or_of_nothing_is_refused(users, items):
    with pytest.raises(ValueError, match="at least one"):
        next(synthetic_log(users, 10, items))


def test_synthetic_items_are_valid_unique_and_match_the_log():
    items = list(synthetic_items(60_000, seed=2))
    assert len({item["item_id"] for item in items}) == len({item["title"] for item in items}) == 60_000
    for item in items[::97]:
        assert not isinstance(decode_item(item["item_id"].encode(), orjson.dumps(item), LIMIT), Malformed)
    known = {item["item_id"] for item in items}
    assert {event["item_id"] for event in synthetic_log(50, 5000, 60_000)} <= known
    assert list(islice(synthetic_items(60_000, seed=2), 50)) == items[:50]
