"""Replies read well, in the user's language, and name only what is offered."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.dialogue.conditions import merge
from recsys.dialogue.reply import in_words, loosest, reply
from recsys.dialogue.understand import understand
from recsys.user import Condition


def say(vocabulary, *texts, titles=("Summer Dress", "Silk Gown")):
    in_force = ()
    for at, text in enumerate(texts):
        said = understand(text, vocabulary, event_id=f"e{at}", expires=None, in_force=in_force)
        in_force = merge(in_force, said, 0)
    return reply(said.language, said.constraints, in_force, titles, said.retracted, said.query)


CASES = [
    (
        ["a red dress under 500 yuan"],
        "Got it: a dress, in red, at most 500 yuan. I would suggest “Summer Dress” and “Silk Gown”. "
        "Does one of them fit?",
    ),
    (
        ["a red dress under 500 yuan", "make it blue"],
        "Got it: in blue. Still keeping to: a dress, at most 500 yuan. "
        "I would suggest “Summer Dress” and “Silk Gown”. Does one of them fit?",
    ),
    (
        ["shoes under $50", "price doesn't matter"],
        "No longer required: at most $50. Still keeping to: shoes. "
        "I would suggest “Summer Dress” and “Silk Gown”. Does one of them fit?",
    ),
    (
        ["something for a wedding"],
        "For “wedding” I would suggest “Summer Dress” and “Silk Gown”. Does one of them fit?",
    ),
    (
        ["我想买一件红色的连衣裙，价格不超过500元"],
        "明白了：连衣裙，红色，价格不超过500元。为您推荐“Summer Dress”、“Silk Gown”。这些合适吗？",
    ),
    (
        ["红色的鞋", "颜色无所谓"],
        "不再要求：红色。仍然记得：鞋。为您推荐“Summer Dress”、“Silk Gown”。这些合适吗？",
    ),
]


@pytest.mark.parametrize(("texts", "wanted"), CASES, ids=lambda value: value[0] if isinstance(value, list) else "")
def test_a_reply_says_what_was_understood_and_asks(texts, wanted, vocabulary):
    assert say(vocabulary, *texts) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a red dress under 500 yuan", "I have nothing that fits all of this. Would more than 500 yuan be all right?"),
        ("a red dress", "I have nothing that fits all of this. Would another colour be all right?"),
        ("no red", "I have nothing that fits all of this. Would red be all right after all?"),
        ("a dress", "I have nothing that fits all of this. Would something other than a dress be all right?"),
        ("红色连衣裙，500元以内", "目前没有同时满足这些条件的商品。价格可以高于500元吗？"),
        ("不要红色", "目前没有同时满足这些条件的商品。如果是红色也可以吗？"),
    ],
)
def test_when_nothing_fits_it_names_what_could_give_way(text, wanted, vocabulary):
    assert say(vocabulary, text, titles=()).endswith(wanted)


def test_with_neither_items_nor_conditions_it_asks_for_other_words(vocabulary):
    assert say(vocabulary, "quokkas", titles=()) == (
        "I have found nothing that fits “quokkas” yet. Could you put it in other words?"
    )
    assert say(vocabulary, "你好", titles=()) == "目前没有找到合适的商品。可以换个说法描述一下吗？"


def test_the_price_gives_way_first():
    price = Condition(name="price", op="<=", value=5.0)
    colour = Condition(name="colour", op="==", value="red")
    assert loosest([price, colour]) == price
    assert loosest([]) is None


@pytest.mark.parametrize(
    ("constraint", "english", "chinese"),
    [
        (Condition(name="brand", op="not_in", value=["Nike"]), "not by Nike", "不要Nike"),
        (Condition(name="colour", op="in", value=["red", "navy"]), "in red or navy", "红色或藏青色"),
        (Condition(name="category", op="not_in", value=["Games"]), "no games", "不要游戏"),
        (Condition(name="word", op="not_in", value=["leather", "皮革"]), "without leather", "不含皮革"),
        (Condition(name="memory", op=">=", value=16.0), "memory at least 16", "内存不低于16"),
        (Condition(name="category", op="==", value="Home & Kitchen"), "“Home & Kitchen”", "“Home & Kitchen”"),
    ],
)
def test_conditions_in_words(constraint, english, chinese):
    assert in_words([constraint], "en") == [english]
    assert in_words([constraint], "zh") == [chinese]


_UNTIDY = re.compile(r"[:：,，]\s*[.。]|“”|\[\]|None")
# What a user wrote may look untidy itself.
_tidy = st.text(max_size=30).filter(lambda text: not re.search(r"[:：,，.。“”\[\]]|None", text))
constraints = st.builds(
    Condition,
    name=st.sampled_from(["price", "colour", "brand", "category", "word", "size"]),
    op=st.just("not_in"),
    value=st.lists(_tidy, max_size=3),
) | st.builds(
    Condition,
    name=st.sampled_from(["price", "memory"]),
    op=st.sampled_from(["<=", ">="]),
    value=st.floats(0, 1e7),
    unit=st.sampled_from([None, "CNY", "USD", "XYZ"]),
)


@given(
    st.sampled_from(["en", "zh"]),
    st.lists(constraints, max_size=4),
    st.lists(constraints, max_size=4),
    st.lists(st.text("ab 红\n\t", max_size=30), max_size=4),
    st.lists(constraints, max_size=2),
    _tidy,
)
def test_any_reply_is_tidy(language, understood, in_force, titles, retracted, query):
    said = reply(language, understood, in_force, titles, retracted, query)
    assert said == said.strip()
    assert said
    assert "  " not in said
    assert not _UNTIDY.search(said)
