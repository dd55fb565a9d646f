"""The encoder role on a real broker: which items get a vector, when, and which are not encoded again."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.services, pytest.mark.model]

SHIRT = {"title": "Linen shirt", "categories": ["clothing"], "attributes": {"colour": "blue"}}


def item(topics: Any, item_id: str, **fields: Any) -> None:
    topics.send("items", item_id, {"item_id": item_id} | SHIRT | fields)


def vectors(topics: Any) -> dict[str, Any]:
    """The last record of each item."""
    return dict(topics.read("item-vectors"))


def written(topics: Any, item_id: str) -> list[Any]:
    return [value for key, value in topics.read("item-vectors") if key == item_id]


def test_items_get_vectors_by_their_text_and_lose_them_when_withdrawn(topics: Any, start: Any, wait_for: Any) -> None:
    first = start("encoding")
    item(topics, "a")
    item(topics, "twin")
    item(topics, "b", title="Red dress")
    topics.send("items", "broken", b'{"item_id": "other", "title": "x"}')
    topics.flush()
    wait_for(lambda: len(vectors(topics)) == 3, "three vectors")
    found = vectors(topics)
    assert found["a"]["vector"] == found["twin"]["vector"] != found["b"]["vector"]
    assert found["a"]["content_hash"] == found["twin"]["content_hash"]
    assert found["a"]["dim"] == 384

    item(topics, "a", price={"amount": 5, "currency": "EUR"}, available=False)
    item(topics, "b", title="Red dress, long")
    topics.send("items", "twin", None)
    topics.flush()
    wait_for(lambda: len(written(topics, "b")) == 2 and vectors(topics)["twin"] is None, "the changes")
    assert len(written(topics, "a")) == 1, "a price costs no encoding"
    assert vectors(topics)["b"]["vector"] != found["b"]["vector"]
    wait_for(lambda: len(topics.read("dead-letters")) == 1, "the dead letter")

    # while nobody encodes, one item goes and one comes; what is there is not made again
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    topics.send("items", "b", None)
    item(topics, "c", title="Green hat")
    topics.flush()
    second = start("encoding")
    wait_for(lambda: vectors(topics).get("c") and vectors(topics)["b"] is None, "what changed meanwhile")
    second.terminate()
    assert second.wait(30) == 0
    assert len(written(topics, "a")) == 1
    assert len(topics.read("dead-letters")) == 1, "a record is dead-lettered once"


def test_a_new_item_does_not_wait_behind_a_bulk_load(topics: Any, start: Any, wait_for: Any) -> None:
    for n in range(3000):
        item(topics, f"bulk{n}", title=f"Book number {n}", description=f"The story of {n} in {n % 7} parts")
    topics.flush()
    start("encoding")
    wait_for(lambda: topics.read("item-vectors"), "the first vectors")
    item(topics, "new", title="Just arrived")
    topics.flush()
    wait_for(lambda: "new" in vectors(topics), "the new item's vector")
    assert len(vectors(topics)) < 3001, "the bulk load is still being encoded"


def test_without_an_encoder_the_role_only_dead_letters(topics: Any, start: Any, wait_for: Any) -> None:
    start("encoding", HEADWATER_ENCODER="none")
    item(topics, "a")
    topics.send("items", "broken", b"nonsense")
    topics.flush()
    wait_for(lambda: topics.read("dead-letters"), "the dead letter")
    time.sleep(0.5)
    assert not topics.read("item-vectors")
