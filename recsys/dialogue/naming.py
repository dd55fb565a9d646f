"""When a word names a thing: categories, colours, brands and terms, in either language.

In: what a condition says and what an item holds, both as strings. Out: yes or no, or the names themselves. The
vocabulary builds on this (what can be said), and so does the check of a condition (what it means), so the two
never part. All is memoised by string: a catalogue has few distinct categories, colours and brands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from recsys.dialogue.shop_words import BRANDS, COLOURS, KINDS, MATERIALS, NOUNS, SHY_COLOURS, Entry
from recsys.dialogue.tokens import folded, is_han, joined, key, key_tokens

COLOUR_ATTRIBUTES = frozenset({"colour", "color", "colours", "colors", "颜色", "顏色"})

# What parts a category's name into several: a path, or a list.
_PARTS = re.compile(r"\s*[>/|,，、;]+\s*|\s+(?:&|and|-)\s+|(?<=[a-z]{3})&(?=[a-z]{3})", re.IGNORECASE)
_COLOUR_PARTS = re.compile(r"\s*[/|,，、;&+]+\s*|\s+and\s+|\s+-\s+|和|与", re.IGNORECASE)


def _by_key(tables: tuple[Mapping[str, Entry], ...]) -> dict[str, Entry]:
    named: dict[str, Entry] = {}
    for table in tables:
        for entry in table.values():
            for name in (*entry.english, *entry.chinese):
                named.setdefault(key(name), entry)
    return named


_NOUN = _by_key((NOUNS, MATERIALS))
_COLOUR = _by_key((COLOURS,))
_BRAND = _by_key((BRANDS,))
_KIND = _by_key((KINDS,))


def noun(name: str) -> Entry | None:
    """The packaged shop noun or material that `name` is a name of."""
    return _NOUN.get(key(name))


def kind(name: str) -> Entry | None:
    """The packaged kind of a thing ("gaming", "ultralight") that `name` is a name of."""
    return _KIND.get(key(name))


@lru_cache(maxsize=65_536)
def shown_category(name: str, language: str) -> str:
    """A category's name for a reader of `language` ("en" or "zh"); one that is not packaged stays as it is."""
    entry = noun(name) or kind(name)
    chinese = language == "zh"
    names = () if entry is None else entry.chinese if chinese else entry.english
    return names[0] if names and is_han(name[-1:]) != chinese else name


def names_of(term: str) -> tuple[str, ...]:
    """`term` as said, then its other names in both languages where it is a packaged word."""
    entry = _NOUN.get(key(term)) or _BRAND.get(key(term))
    if entry is None:
        return (term,)
    others = dict.fromkeys((*entry.english, *entry.chinese))
    return (term, *(name for name in others if key(name) != key(term)))


_HEADS = frozenset("鞋裙裤靴袜书")

# -- categories ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=65_536)
def category_keys(category: str) -> frozenset[str]:
    """All keys that name `category`: its whole name, the parts of a path or list, and the nouns these end with.

    "Women > Wedding Dresses" is named by its last part, by "dress" (the noun at the end of it, in either
    language), and by "clothing" (the wider word). A noun's key is marked with "#".
    """
    found = {key(category)}
    for part in _PARTS.split(category):
        tokens = key_tokens(part)
        if not tokens:
            continue
        found.add(key(part))
        entry = _head(tokens)
        while entry is not None:
            found.add("#" + entry.name)
            entry = NOUNS.get(entry.wider) if entry.wider else None
    found.discard("")
    return frozenset(found)


def _head(tokens: tuple[str, ...]) -> Entry | None:
    """The longest packaged noun that the tokens end with."""
    for start in range(len(tokens)):
        tail = list(tokens[start:])
        entry = _NOUN.get(joined(tail))
        # 女鞋 are shoes, but 面包 is no bag.
        if entry is not None and (start == 0 or len(tail) > 1 or tail[0].isascii() or tail[0] in _HEADS):
            return entry
    return None


@lru_cache(maxsize=65_536)
def word_keys(word: str) -> frozenset[str]:
    """The keys under which a word looks for categories: itself, and the noun it is a name of."""
    entry = _NOUN.get(key(word))
    own = key(word)
    keys = {own} if own else set()
    return frozenset(keys | {"#" + entry.name} if entry else keys)


def names_category(word: str, category: str) -> bool:
    """Whether a shopper who says `word` means `category`: 连衣裙 means "Dresses", "shoes" means "Sneakers"."""
    return not word_keys(word).isdisjoint(category_keys(category))


# -- colours ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65_536)
def colour_key(name: str) -> str:
    """One key for all names of a colour: "Grey", "gray" and 灰色 have the same."""
    own = key(name)
    entry = _COLOUR.get(own)
    return "#" + entry.name if entry else own


@lru_cache(maxsize=65_536)
def colour_keys(value: str) -> frozenset[str]:
    """The colours that an attribute's value states: "Red / White" states two, "dark red" is one of its own."""
    return frozenset(colour_key(part) for part in (value, *_COLOUR_PARTS.split(value)) if key(part))


def _alternation(names: list[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))


_LONG_CHINESE = [name for entry in COLOURS.values() for name in entry.chinese if len(name) > 1]
_SHORT_CHINESE = [name for entry in COLOURS.values() for name in entry.chinese if len(name) == 1]
_ENGLISH = [name for entry in COLOURS.values() for name in entry.english if name not in SHY_COLOURS]
# A lone character is a colour only before a thing to wear or carry: 红裙子, but not 红楼梦.
_WORN = "裙|鞋|衣|裤|包|帽|袜|靴|外套|夹克|衬衫|毛衣|卫衣|t恤|连衣|大衣|西装|围巾|手机|耳机|沙发"
_COLOUR_IN_TEXT = re.compile(
    rf"{_alternation(_LONG_CHINESE)}|(?:{_alternation(_SHORT_CHINESE)})(?={_WORN})|\b(?:{_alternation(_ENGLISH)})\b"
)
_ENGLISH_IN_TEXT = re.compile(rf"\b(?:{_alternation(_ENGLISH)})\b")


def colours_in(text: str) -> frozenset[str]:
    """Keys of the colours that a title or a description names; of "navy blue" only that, not blue as well."""
    pattern = _ENGLISH_IN_TEXT if text.isascii() else _COLOUR_IN_TEXT
    return frozenset(map(colour_key, pattern.findall(folded(text))))


def colour_finder(keys: frozenset[str]) -> Callable[[str], bool]:
    """A fast first look for packaged colours: False where a text holds none of their names at all."""
    entries = [COLOURS[own[1:]] for own in sorted(keys) if own[1:] in COLOURS and own.startswith("#")]
    if not entries:
        return lambda _: False
    english = {name for entry in entries for name in entry.english}
    every = english | {name for entry in entries for name in entry.chinese}

    def find(text: str) -> bool:
        text = folded(text)
        return any(name in text for name in (english if text.isascii() else every))

    return find


@lru_cache(maxsize=65_536)
def colours_named(value: str) -> frozenset[str]:
    """All colours within a colour's value, also those within others: "dark red" has red in it."""
    tokens = key_tokens(value)
    found = set(colour_keys(value))
    for start in range(len(tokens)):
        for end in range(start + 1, min(start + 4, len(tokens)) + 1):
            entry = _COLOUR.get(joined(list(tokens[start:end])))
            if entry is not None:
                found.add("#" + entry.name)
    if not value.isascii():
        found |= {colour_key(name) for name in _LONG_CHINESE if name in folded(value)}
    return frozenset(found)


# -- brands ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65_536)
def brand_key(name: str) -> str:
    """One key for all names of a brand: "Nike", "NIKE" and 耐克 have the same."""
    own = key(name)
    entry = _BRAND.get(own)
    return "#" + entry.name if entry else own or name.casefold()


def packaged_brand(name: str) -> Entry | None:
    """The packaged brand that `name` is a name of."""
    return _BRAND.get(key(name))
