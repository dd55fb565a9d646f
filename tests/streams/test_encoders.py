"""From one encoder's vectors to the next one's: never two in one World, never an item lost, never a long wait."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from recsys.encoder import content_hash, item_text, pack
from recsys.index.sketch import MEANING
from recsys.world import World
from schemas.items import Item, Withdrawn
from streams.encoders import Encoder, NextSet, VectorSets, adopted, complete, reencoded

DIM = 8
BASE = "frozen"
Floats = np.ndarray[Any, np.dtype[np.float32]]


def embed(encoder_id: str, text: str) -> Floats:
    """What an encoder makes of a text: each has its own directions."""
    seed = int.from_bytes(blake2b(f"{encoder_id}|{text}".encode(), digest_size=8).digest(), "big")
    vector = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    return (vector / np.linalg.norm(vector)).astype(np.float16).astype(np.float32)


def item(n: int, title: str = "") -> Item:
    return Item(item_id=f"i{n}", title=title or f"thing {n}")


def record(one: Item, encoder_id: str, dim: int = DIM) -> tuple[bytes, bytes]:
    text = item_text(one)
    value = {
        "item_id": one.item_id,
        "encoder_id": encoder_id,
        "content_hash": content_hash(text, encoder_id),
        "dim": dim,
        "vector": pack(np.resize(embed(encoder_id, text), dim)),
    }
    return one.item_id.encode(), orjson.dumps(value)


class Worker:
    """What a worker's feed does with VectorSets, an operation at a time."""

    def __init__(self, *choice: str) -> None:
        self.sets = VectorSets(BASE, DIM)
        self.world = World.empty(DIM, lambda text: embed(BASE, text))
        self.choose(*choice or (BASE,))
        self.changes: list[Item | Withdrawn] = []
        self.building: tuple[NextSet, World] | None = None

    def choose(self, *ids: str) -> None:
        self.sets.choose([Encoder(name) for name in ids])

    def item(self, *changes: Item | Withdrawn) -> None:
        self.changes += changes

    def vector(self, one: Item, *encoders: str) -> None:
        for encoder_id in encoders:
            self.sets.take(*record(one, encoder_id))

    def build(self, *, switch: bool = True, slow: bool = False) -> World:
        changes, self.changes = self.changes, []
        self.sets.expect(changes)
        if changes:
            self.world = self.world.advanced(changes)
        if self.building is not None and not slow:
            following, built = self.building
            self.world, self.building = adopted(self.world, built), None
            self.sets.switched(following.encoder.encoder_id)
        if self.building is None and switch and (following := self.sets.switch()) is not None:
            name = following.encoder.encoder_id
            self.building = following, reencoded(self.world, following, lambda: lambda text: embed(name, text))
            if not slow:
                return self.build(switch=False)
        if ready := self.sets.ready(self.world):
            self.world = self.world.advanced((), ready)
        return self.world

    @property
    def encoder_id(self) -> str:
        """The encoder of queries."""
        assert self.world.encode_query is not None
        query = self.world.encode_query("?")
        return next(name for name in (BASE, "A", "B", "C") if np.array_equal(query, embed(name, "?")))

    def whole(self) -> int:
        """Items with a vector; every one of them is the text's, under the encoder of queries."""
        catalogue, dense, encoder_id = self.world.catalogue, self.world.dense, self.encoder_id
        rows = [row for row in catalogue.row_of.values() if dense.has[row]]
        for row in rows:
            wanted = embed(encoder_id, item_text(catalogue.items[row])) * MEANING
            np.testing.assert_allclose(dense.vectors(row)[:DIM], wanted, atol=2e-5)
        indexed = [*dense.main_rows.tolist(), *dense.tail_rows.tolist()]
        assert sorted(indexed) == sorted(rows), "and the index holds these and no others"
        return len(rows)


def started(n: int, *encoders: str, choice: tuple[str, ...] = (BASE,)) -> Worker:
    worker = Worker(*choice)
    for at in range(n):
        worker.item(item(at))
        worker.vector(item(at), *encoders)
    worker.build()
    return worker


def test_vectors_of_the_encoder_in_use_are_handed_over_and_no_others() -> None:
    worker = started(3, BASE)
    worker.item(item(3))
    worker.vector(item(3), "A")
    worker.build()
    assert (worker.encoder_id, worker.whole()) == (BASE, 3)
    worker.vector(item(3), BASE)
    worker.build()
    assert worker.whole() == 4


def test_the_next_encoder_serves_once_995_in_a_thousand_items_have_its_vectors() -> None:
    worker = started(400, BASE)
    worker.choose("A", BASE)
    for n in range(397):
        worker.vector(item(n), "A")
    worker.build()
    assert (worker.encoder_id, worker.whole()) == (BASE, 400)
    worker.vector(item(397), "A")
    worker.build()
    assert (worker.encoder_id, worker.whole()) == ("A", 398)
    assert worker.sets.switch() is None, "it is there"
    assert worker.sets.ready(worker.world) == [], "all that it has was handed over"
    worker.vector(item(398), "A")
    worker.vector(item(399), BASE)
    worker.build()
    assert worker.whole() == 399


def test_an_encoder_in_use_that_lacks_new_items_is_not_left_for_an_older_one() -> None:
    worker = started(4, BASE, "A", choice=("A", BASE))
    assert worker.encoder_id == "A"
    worker.item(item(4))
    worker.vector(item(4), BASE)
    worker.build()
    assert (worker.encoder_id, worker.whole()) == ("A", 4)


def test_of_few_items_all_must_be_there() -> None:
    assert complete(0, 3)
    assert not complete(1, 3)
    assert not complete(0, 0)


def test_a_text_that_changes_while_the_next_world_is_being_built_gets_its_vector_after() -> None:
    worker = started(5, BASE)
    worker.choose("A", BASE)
    for n in range(5):
        worker.vector(item(n), "A")
    worker.build(slow=True)
    worker.item(item(2, "another text"), item(9), Withdrawn("i4"))
    worker.vector(item(2, "another text"), BASE, "A")
    worker.vector(item(9), BASE, "A")
    worker.build(slow=True)
    assert (worker.encoder_id, worker.whole()) == (BASE, 5)
    worker.build()
    assert (worker.encoder_id, worker.whole()) == ("A", 5)


def test_an_item_that_is_withdrawn_while_the_next_world_is_being_built_is_not_in_its_index() -> None:
    worker = started(3, BASE, "A")
    worker.choose("A", BASE)
    worker.build(slow=True)
    worker.item(Withdrawn("i2"))
    worker.build()
    assert (worker.encoder_id, worker.whole()) == ("A", 2)


def test_a_text_that_changed_does_not_keep_the_vector_it_had() -> None:
    worker = started(2, BASE)
    worker.choose("A", BASE)
    worker.vector(item(0), "A")
    worker.vector(item(1), "A")
    worker.item(item(1, "new text"))
    worker.build()
    assert worker.encoder_id == BASE
    worker.vector(item(1, "new text"), "A")
    worker.build()
    assert (worker.encoder_id, worker.whole()) == ("A", 2)


def test_a_vector_that_comes_before_its_text_waits_for_it() -> None:
    worker = started(2, BASE)
    worker.item(item(5, "old"))
    worker.build()
    worker.vector(item(5, "old"), BASE)
    worker.vector(item(5, "new"), BASE)
    worker.build()
    assert worker.whole() == 2
    worker.item(item(5, "new"))
    worker.build()
    assert worker.whole() == 3


def test_withdrawn_items_do_not_hold_up_the_switch() -> None:
    worker = started(3, BASE)
    worker.choose("A", BASE)
    worker.vector(item(0), "A")
    worker.vector(item(1), "A")
    worker.build()
    assert worker.encoder_id == BASE
    worker.item(Withdrawn("i2"))
    worker.sets.take(b"i2", None)
    worker.build()
    assert (worker.encoder_id, worker.whole()) == ("A", 2)


def test_a_null_vector_of_a_live_item_makes_the_set_incomplete() -> None:
    worker = started(2, BASE)
    worker.vector(item(0), "A")
    worker.vector(item(1), "A")
    worker.choose("A", BASE)
    worker.sets.take(b"i1", None)
    worker.build()
    assert worker.encoder_id == BASE
    assert worker.sets.progress() == {BASE: (1, 2), "A": (1, 2)}


def test_an_item_that_is_withdrawn_and_comes_back_has_its_vector_at_once() -> None:
    worker = started(2, BASE)
    worker.item(Withdrawn("i1"))
    worker.build()
    worker.item(item(1))
    worker.build()
    assert worker.whole() == 2


def test_a_second_release_during_the_encoding_is_the_one_that_is_gone_over_to() -> None:
    worker = started(4, BASE)
    worker.choose("A", BASE)
    for n in range(2):
        worker.vector(item(n), "A")
    worker.build()
    worker.choose("B", "A", BASE)
    for n in range(4):
        assert worker.encoder_id == BASE
        worker.vector(item(n), "B")
        worker.build()
    assert (worker.encoder_id, worker.whole()) == ("B", 4)


def test_a_worker_that_starts_in_the_middle_serves_from_the_old_set_at_once() -> None:
    worker = Worker("B", "A", BASE)
    for n in range(10):
        worker.item(item(n))
        worker.vector(item(n), "A")
    for n in range(6):
        worker.vector(item(n), "B")
    worker.build()
    assert (worker.encoder_id, worker.whole()) == ("A", 10)
    for n in range(6, 10):
        worker.vector(item(n), "B")
    worker.build()
    assert (worker.encoder_id, worker.whole()) == ("B", 10)


def test_a_worker_that_starts_when_the_old_set_is_compacted_away_serves_from_what_there_is() -> None:
    worker = started(10, "A", choice=("B", "A", BASE))
    assert (worker.encoder_id, worker.whole()) == ("A", 10)
    lonely = Worker("B", "A", BASE)
    for n in range(10):
        lonely.item(item(n))
        lonely.vector(item(n), "B" if n < 7 else "A")
    lonely.build()
    assert (lonely.encoder_id, lonely.whole()) == ("B", 7)


def test_vectors_may_be_read_before_the_release_that_names_their_encoder() -> None:
    worker = started(3, BASE)
    for n in range(3):
        worker.vector(item(n), "A")
    worker.build()
    assert worker.encoder_id == BASE
    worker.choose("A", BASE)
    worker.build()
    assert (worker.encoder_id, worker.whole()) == ("A", 3)


def test_a_rollback_goes_back_at_once_while_the_former_set_is_in_memory() -> None:
    worker = started(4, BASE)
    worker.choose("A", BASE)
    for n in range(4):
        worker.vector(item(n), "A")
    worker.build()
    assert worker.encoder_id == "A"
    worker.choose(BASE)
    worker.build()
    assert (worker.encoder_id, worker.whole()) == (BASE, 4)


def test_a_rollback_waits_for_items_that_the_former_encoder_never_saw() -> None:
    worker = started(4, BASE)
    worker.choose("A", BASE)
    for n in range(5):
        worker.vector(item(n), "A")
    worker.item(item(4))
    worker.build()
    worker.choose(BASE)
    worker.build()
    assert (worker.encoder_id, worker.whole()) == ("A", 5)
    worker.vector(item(4), BASE)
    worker.build()
    assert (worker.encoder_id, worker.whole()) == (BASE, 5)


def held(worker: Worker) -> int:
    return sum(bool(one.held) for one in worker.sets._sets.values())


def test_a_long_history_of_encoders_costs_the_memory_of_three_sets() -> None:
    worker = Worker()
    worker.item(*(item(n) for n in range(10)))
    for past in range(20):
        for n in range(10):
            worker.vector(item(n), f"past{past}")
    for n in range(10):
        worker.vector(item(n), "A")
    for lost in range(3):  # releases that were superseded while the catalogue was being encoded
        worker.vector(item(0), f"lost{lost}")
        assert held(worker) <= 3
    worker.vector(item(0), "B")
    worker.choose("B", "A", BASE)
    worker.build()
    assert (worker.encoder_id, worker.whole()) == ("A", 10)
    for n in range(10):
        worker.vector(item(n), "B")
    worker.build()
    assert worker.encoder_id == "B"
    assert held(worker) == 2


def test_of_sets_that_nobody_has_named_yet_the_one_that_was_overtaken_goes() -> None:
    worker = Worker()
    worker.item(*(item(n) for n in range(10)))
    for n in range(10):
        worker.vector(item(n), "past", "A")
    for n in range(3):
        worker.vector(item(n), "B")
    worker.vector(item(0), "C")
    worker.choose("B", "A", BASE)
    worker.build()
    assert worker.encoder_id == "A"
    assert worker.sets.progress()["B"] == (3, 10)


def test_what_cannot_be_read_or_has_another_length_is_passed_over() -> None:
    worker = Worker()
    worker.item(item(0))
    with capture_logs() as said:
        worker.sets.take(b"i0", b"nonsense")
        key, value = record(item(0), BASE)
        worker.sets.take(key, value.replace(b'"dim":8', b'"dim":9'))
        worker.sets.take(*record(item(0), BASE, dim=16))
    worker.build()
    assert worker.whole() == 0
    assert [one["event"] for one in said] == ["vector_ignored"] * 2


def test_without_an_encoder_nothing_is_wanted() -> None:
    sets = VectorSets(None, 0)
    sets.choose([Encoder(BASE)])
    sets.expect([item(0)])
    sets.take(*record(item(0), BASE))
    assert sets.switch() is None
    assert sets.ready(World.empty()) == []


Operation = tuple[str, int, int]
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["text", "item", "item", "withdraw", "vector", "vector", "vector", "choose", "build", "slow"]),
        st.integers(0, 4),
        st.integers(0, 2),
    ),
    max_size=60,
)


@given(OPERATIONS)
def test_no_world_ever_mixes_encoders_or_texts(operations: list[Operation]) -> None:
    worker, texts = Worker(), {n: f"thing {n}" for n in range(5)}
    for what, n, which in operations:
        encoder_id = (BASE, "A", "B")[which]
        if what == "text":
            texts[n] = f"thing {n} {which}"  # the encoder role may have read it before the worker does
        elif what == "item":
            worker.item(item(n, texts[n]))
        elif what == "withdraw":
            worker.item(Withdrawn(f"i{n}"))
            worker.sets.take(f"i{n}".encode(), None)
        elif what == "vector":
            worker.vector(item(n, texts[n]), encoder_id)
        elif what == "choose":
            worker.choose(*dict.fromkeys([encoder_id, BASE]))
        else:
            worker.build(slow=what == "slow")
            worker.whole()
    # in the end everything arrives, and everything is whole
    worker.choose("B", BASE)
    for n, text in texts.items():
        worker.item(item(n, text))
        worker.vector(item(n, text), "B")
    worker.build()
    worker.build()
    assert (worker.encoder_id, worker.whole()) == ("B", 5)
