"""Condition masks agree with the meaning of a condition, item by item, whatever the condition."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.conditions import ConditionMasks
from recsys.dialogue.conditions import condition_from_request, satisfies
from recsys.user import Condition

_VALUES = st.sampled_from(["red", "红色", "dresses", "dress", "Acorn", "silk", "books", "blue", "nothing", "laptop"])
_PRICES = st.builds(
    lambda op, value, unit: Condition(name="price", op=op, value=value, unit=unit),
    st.sampled_from(["<=", ">=", "=="]),
    st.sampled_from([50.0, 57.0, 100.0, 1e9]),
    st.sampled_from([None, "CNY", "USD", "cny"]),
)
_WORDS = st.builds(
    lambda name, op, value: Condition(name=name, op=op, value=value),
    st.sampled_from(["category", "brand", "colour", "word", "size"]),
    st.sampled_from(["in", "not_in"]),
    st.lists(_VALUES, min_size=1, max_size=2),
)
_ODD = st.builds(lambda value: Condition(name="price", op="==", value=value), _VALUES)


@settings(max_examples=150)
@given(constraint=_PRICES | _WORDS | _ODD)
def test_a_mask_is_what_the_condition_means(world, constraint):
    constraint = condition_from_request(constraint)
    mask = ConditionMasks().allowed(world.catalogue, [constraint])
    assert mask.tolist() == [satisfies(item, constraint) for item in world.catalogue.items]


def test_what_was_checked_is_remembered_and_new_rows_are_checked(world, shop_items):
    masks = ConditionMasks()
    red = Condition(name="colour", op="in", value=["red"])
    before = masks.allowed(world.catalogue, [red]).sum()
    more = [
        i.model_copy(update={"item_id": f"new-{n}", "title": f"{i.title} again"}) for n, i in enumerate(shop_items[:4])
    ]
    after = masks.allowed(world.advanced(more).catalogue, [red])
    assert after.sum() == before + 1
    assert masks.allowed(world.catalogue, [red]).sum() == before
