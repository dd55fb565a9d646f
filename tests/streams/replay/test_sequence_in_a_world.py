"""The sequence model's side of items is the same to the last bit however a World came to have them: a replay gets to a
World by other steps than the worker did."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.keys import item_keys
from recsys.rank import Ranker
from recsys.sequence import SequenceModel, SequenceNet
from recsys.world import World
from schemas.items import Item, Withdrawn

DIM, N = 64, 700
ITEMS = [Item(item_id=f"i{n:04d}", title=f"thing {n} of {n % 9}", categories=[f"c{n % 5}"]) for n in range(N)]
VECTORS = {
    item.item_id: vector / np.linalg.norm(vector)
    for item, vector in zip(ITEMS, np.random.default_rng(3).standard_normal((N, DIM)).astype(np.float32), strict=True)
}


@pytest.fixture(scope="module")
def model():
    """Weights as if learnt, for all items but every fifth."""
    width = World.empty(DIM).dense.dim
    keys = item_keys([item.item_id for at, item in enumerate(ITEMS) if at % 5])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        net = SequenceNet(len(keys), width)
        for table in (net.into, net.out, net.bias):
            torch.nn.init.normal_(table, std=0.3)
    return SequenceModel.of(net, keys)


def told(world):
    """What the step reads of the model, by item_id, and the pool in its order."""
    into, out, bias = world.sequence_items
    parts = {
        item_id: (into[row].tobytes(), out[row].tobytes(), bias[row].tobytes())
        for item_id, row in world.catalogue.row_of.items()
    }
    rows, vectors, base = world.sequence_pool
    return parts, [world.catalogue.items[row].item_id for row in rows], vectors.tobytes(), base.tobytes()


@pytest.fixture(scope="module")
def at_once(model):
    world = World.empty(DIM).advanced(ITEMS, [(i, v) for i, v in VECTORS.items() if not i.endswith("7")])
    return told(world.with_models(Ranker(), model, "m"))


@settings(max_examples=12)
@given(data=st.data())
def test_one_by_one_in_any_order_and_with_models_at_any_time_come_to_the_same_bits(model, at_once, data):
    """Items and vectors in parts of any size, a model that is put on somewhere, items that go and come back."""
    seed, models_at = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.integers(0, 6))
    rng = np.random.default_rng(seed)
    world = World.empty(DIM)
    order = rng.permutation(N)
    cuts = np.sort(rng.integers(0, N, 6))
    for turn, part in enumerate(np.split(order, cuts)):
        if turn == models_at:
            world = world.with_models(Ranker(), model, "m")
            assert len(world.sequence_items[2]) == world.catalogue.rows  # from now on only what changed is worked out
        some = [ITEMS[at] for at in part]
        world = world.advanced(some)
        ready = [(one.item_id, VECTORS[one.item_id]) for one in some if not one.item_id.endswith("7")]
        half = len(ready) // 2
        world = world.advanced((), ready[:half]).advanced((), ready[half:])
        gone = [one.item_id for one in some[:3]]
        world = world.advanced([Withdrawn(item_id=i) for i in gone])
        world = world.advanced(some[:3], [pair for pair in ready if pair[0] in gone])
    assert told(world) == at_once
    assert told(world.compacted()) == at_once
    assert told(world.settled()) == at_once


@pytest.mark.parametrize("n", [1, 2, 7, 31, 255, 256, 257])
def test_an_item_is_placed_the_same_in_any_company(model, n):
    texts = np.random.default_rng(n).standard_normal((768, model.adapter.shape[1])).astype(np.float32)
    keys = np.arange(1, 768 + 1, dtype=np.uint64)
    whole = model.items(keys, texts)
    for at in (0, 1, 5, 256, 511):
        part = model.items(keys[at : at + n], texts[at : at + n])
        assert [one.tobytes() for one in part] == [table[at : at + n].tobytes() for table in whole]


def test_items_whose_scores_are_equal_stand_in_the_pool_by_their_id(model):
    alike = [Item(item_id=f"x{n}", title="the same", categories=["c"]) for n in range(9)]
    vector = VECTORS["i0001"]
    pools = []
    for order in (alike, alike[::-1]):
        world = World.empty(DIM).advanced(order, [(one.item_id, vector) for one in order])
        pools.append(told(world.with_models(Ranker(), model, "m"))[1])
    assert pools[0] == pools[1] == [one.item_id for one in alike]
