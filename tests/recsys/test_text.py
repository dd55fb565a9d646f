"""Words of a text: stems, stop words, Chinese bigrams, and the language to answer in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.text import language, stem, surfaces, terms


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Women's Red Dresses with Pockets", ["woman", "red", "dress", "pocket"]),
        ("Movies, cookies and batteries", ["movie", "cookie", "battery"]),
        ("shoes boxes watches shorts series", ["shoe", "box", "watch", "shorts", "series"]),
        ("Pokémon café", ["pokemon", "cafe"]),
        ("I don't want the other one", ["other", "one"]),
        ("红色的连衣裙", ["红色", "连衣", "衣裙"]),
        ("我想要鞋", ["鞋"]),
        ("５Ｇ手机 iPhone15手机壳", ["5g", "手机", "iphone15", "手机", "机壳"]),
        ("", []),
        ("the of 的 了 !?", []),
    ],
)
def test_terms_are_stems_and_bigrams(text, wanted):
    assert terms(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a red dress", "en"),
        ("红色连衣裙", "zh"),
        ("想买 Nike 的鞋", "zh"),
        ("I'm looking for 手机", "en"),
        ("", "en"),
        ("12345", "en"),
    ],
)
def test_language_is_that_of_most_of_the_text(text, wanted):
    assert language(text) == wanted


@given(st.from_regex(r"[a-z]{1,10}", fullmatch=True))
def test_every_surface_of_a_stem_has_that_stem(word):
    own = stem(word)
    assert all(stem(surface) == own for surface in surfaces(own) if surface != own)


@given(st.text())
def test_any_text_has_terms_without_spaces(text):
    assert all(term and not any(map(str.isspace, term)) for term in terms(text))
