"""The catalogue: versions name contents, cells change in place of rows, older snapshots stay as they were."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.catalogue import Catalogue
from recsys.keys import item_keys
from recsys.world import World
from schemas.items import Item, Withdrawn

_CHANGE = st.builds(
    lambda n, title, price, gone: (
        Withdrawn(f"i{n}") if gone else Item(item_id=f"i{n}", title=title, price={"amount": price, "currency": "CNY"})
    ),
    st.integers(0, 6), st.sampled_from(["a", "b"]), st.sampled_from([1.0, 2.0]), st.booleans(),
)  # fmt: skip


@settings(max_examples=80)
@given(changes=st.lists(_CHANGE, max_size=25), cuts=st.sets(st.integers(0, 25), max_size=4))
def test_the_version_and_the_contents_depend_on_the_last_state_alone(changes, cuts):
    catalogue = Catalogue.empty()
    bounds = [0, *sorted(c for c in cuts if c < len(changes)), len(changes)]
    for start, end in pairwise(bounds):
        catalogue, _, _ = catalogue.updated(changes[start:end])
    last = {c.item_id: c for c in changes}
    live = [c for c in last.values() if isinstance(c, Item)]
    fresh, _, _ = Catalogue.empty().updated(sorted(live, key=lambda i: i.item_id))
    assert catalogue.content == fresh.content
    assert catalogue.ids == sorted(i.item_id for i in live)
    assert [catalogue.items[r] for r in catalogue.id_rows] == sorted(live, key=lambda i: i.item_id)
    assert (catalogue.rows_of_keys(catalogue.keys[catalogue.id_rows]) == catalogue.id_rows).all()
    gone = [c.item_id for c in last.values() if isinstance(c, Withdrawn)]
    assert (catalogue.rows_of_keys(item_keys([*gone, "never-was"])) == -1).all()
    assert sorted(np.flatnonzero(catalogue.alive)) == sorted(catalogue.row_of.values())


def test_every_key_finds_its_row_also_where_slots_collide():
    items = [Item(item_id=f"i{n}", title="t") for n in range(3000)]
    catalogue, _, _ = Catalogue.empty().updated(items)
    rows = catalogue.rows_of_keys(catalogue.keys.reshape(30, 100))
    assert rows.shape == (30, 100)
    assert rows.ravel().tolist() == list(range(3000))
    assert (np.bincount((catalogue.keys & np.uint64(len(catalogue.slots) - 1)).astype(int)) > 1).any()
    assert (catalogue.rows_of_keys(item_keys(f"x{n}" for n in range(3000))) == -1).all()


def test_a_price_change_keeps_the_row_and_its_vector(world: World):
    item = world.catalogue.items[world.catalogue.row_of["books-00"]]
    cheaper = item.model_copy(update={"price": item.price.model_copy(update={"amount": 1.0})})
    changed = world.advanced([cheaper])
    assert changed.catalogue.row_of == world.catalogue.row_of
    assert changed.whole_items == world.whole_items
    assert changed.names["catalogue_version"] != world.names["catalogue_version"]
    assert world.catalogue.price[world.catalogue.row_of["books-00"]] == item.price.amount
    assert changed.advanced([item]).names == world.names


def test_a_new_text_waits_for_a_new_vector(world: World, encode):
    item = world.catalogue.items[world.catalogue.row_of["books-00"]]
    changed = world.advanced([item.model_copy(update={"title": "an altogether other title"})])
    assert changed.whole_items == world.whole_items - 1
    whole = changed.advanced((), [("books-00", encode("an altogether other title"))])
    assert whole.whole_items == world.whole_items
    assert (
        len({world.names["catalogue_version"], changed.names["catalogue_version"], whole.names["catalogue_version"]})
        == 3
    )


def test_compacting_drops_dead_rows_and_nothing_else(world: World):
    changed = world.advanced([Withdrawn("books-00")])
    compact = changed.compacted()
    assert compact.names == changed.names
    assert compact.catalogue.rows == len(compact.catalogue) == len(world.catalogue) - 1
    assert compact.whole_items == changed.whole_items


def test_what_was_worked_out_of_a_world_holds_behind_other_indexes(world: World):
    before = (world.shared_features, world.offered, world.price_level)
    for same in (world.settled(), world.adopting(world.settled())):
        assert same is not world
        assert all(
            held is one
            for held, one in zip(before, (same.shared_features, same.offered, same.price_level), strict=True)
        )


def test_two_worlds_that_go_on_from_one_know_nothing_of_each_other(build_world, encode):
    def added(*names: str) -> tuple[list[Item], list[tuple[str, np.ndarray]]]:
        return [Item(item_id=n, title=n) for n in names], [(n, encode(n)) for n in names]

    begun = build_world()
    one, other = begun.advanced(*added("granite urn")), begun.advanced(*added("violin case", "copper lamp"))
    for world, names in ((one, ["granite urn"]), (other, ["violin case", "copper lamp"])):
        alone = build_world().advanced(*added(*names))
        query = np.stack([world.encode(name) for name in ("granite urn", "violin case", "copper lamp")])
        assert np.array_equal(world.dense.search(query, 9), alone.dense.search(query, 9))
        for words in (["granite"], ["violin", "lamp"], ["red", "dress"]):
            found, wanted = (w.lexical.scores(words, w.catalogue.rows) for w in (world, alone))
            assert np.array_equal(found, wanted)
    assert not begun.lexical.scores(["granite", "violin"], begun.catalogue.rows).any()
