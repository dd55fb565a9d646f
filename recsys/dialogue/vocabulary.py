"""The words by which this catalogue's things can be named, found in one pass over a message.

In: the catalogue's distinct categories, brands and attribute values with their counts, never its items one by
one, so that a rebuild costs milliseconds whatever the catalogue's size. Out: `Vocabulary`, immutable, shared by
all users: a tree over word stems and Chinese characters, which gives the longest name at a position.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

from recsys.dialogue import naming
from recsys.dialogue.shop_words import ATTRIBUTES, BRANDS, COLOURS, MATERIALS, NOUNS, SHY_COLOURS
from recsys.dialogue.tokens import key, key_tokens
from schemas.items import Item

MAX_VALUES = 300  # an attribute with more distinct strings (an ISBN, a blurb) is no facet to ask for
MAX_WORDS = 4  # of an attribute's value that can be said in passing
MAX_NAME = 128  # characters of a Constraint's name and value
_NO_VALUES = frozenset(
    {"yes", "no", "true", "false", "new", "none", "other", "others", "n a", "na", "unknown", "null", "good", "all",
     "any", "one", "default", "standard", "normal", "是", "否", "无", "有", "其他", "未知", "其它", "普通", "标准"}
)  # fmt: skip
_NO_BRANDS = _NO_VALUES | {"generic", "no brand", "unbranded", "无品牌", "the", "max", "me", "on", "next"}


class Meaning(NamedTuple):
    """What a name stands for. `facet`: category, brand, colour, an attribute's name, "word" (a shop noun that
    names nothing here) or "attribute" (the name of one); `values`: the catalogue's own spellings."""

    facet: str
    values: tuple[str, ...]
    wider: bool = False  # the category is only the next wider one: "running shoes" where there are just shoes
    beside: str = ""  # a category meant along with it: a "picture book" is a book, of those for children


# Which reading of an ambiguous name a shopper means first; attributes come after these.
_ORDER = {"category": 0, "colour": 1, "brand": 2, "attribute": 8, "wider category": 9, "word": 10}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`tree`: nested dicts by stem; under None lie the meanings of the name that ends there, best first.
    `pairs`: keys of categories that some item carries both. `said_alone`: per attribute, the values too short
    to be recognised without the attribute's name ("size M"). `numbers`: attributes whose values are numbers.
    `kinds`: a tree like `tree` of what names a category only beside another: 游戏 means gaming in 游戏手机; under
    None lie categories."""

    tree: dict[str | None, Any] = field(repr=False)
    pairs: frozenset[tuple[str, str]]
    said_alone: Mapping[str, Mapping[str, str]]
    numbers: frozenset[str]
    kinds: dict[str | None, Any] = field(repr=False, default_factory=dict)

    @classmethod
    def build(
        cls,
        categories: Mapping[tuple[str, ...], int],
        brands: Mapping[str, int],
        attributes: Mapping[str, Mapping[str, int]],
        numbers: Iterable[str] = (),
    ) -> Vocabulary:
        """The vocabulary of a catalogue. All mappings count items.

        `categories`: each distinct list of categories an item carries (so that "horror film" can mean both);
        `attributes`: by attribute the distinct string values; `numbers`: attributes whose values are numbers.
        """
        entries: dict[tuple[str, ...], dict[str, list[str]]] = {}

        def add(name: str, facet: str, value: str) -> None:
            tokens = key_tokens(name)
            if tokens and len(value) <= MAX_NAME:
                values = entries.setdefault(tokens, {}).setdefault(facet, [])
                if value not in values:
                    values.append(value)

        _add_categories(categories, add)
        for brand, _ in _by_count(brands):
            if key(brand) in _NO_BRANDS or len(key(brand)) < 2 or key(brand).isdigit():
                continue
            packaged = naming.packaged_brand(brand)
            for name in (brand, *(packaged.english + packaged.chinese if packaged else ())):
                add(name, "brand", brand)
        said_alone = _add_attributes(attributes, frozenset(numbers), add)
        _add_packaged(add)
        carried = {pair for row in categories for pair in combinations(sorted(set(row)), 2)}
        pairs = frozenset(pair for one, other in carried for pair in _key_pairs(one, other))
        kinds = _kinds({category for row in categories for category in row})
        tree: dict[str | None, Any] = {}
        for tokens, facets in entries.items():
            node = tree
            for token in tokens:
                node = node.setdefault(token, {})
            node[None] = tuple(
                Meaning(facet.removeprefix("wider "), tuple(values), facet.startswith("wider "))
                for facet, values in sorted(facets.items(), key=lambda pair: _ORDER.get(pair[0], 5))
            )
        vocabulary = cls(tree, pairs, said_alone, frozenset(numbers), kinds)
        vocabulary._name_compounds()
        return vocabulary

    @classmethod
    def of(cls, items: Iterable[Item]) -> Vocabulary:
        """The vocabulary of some items, counted here. For a large catalogue keep the counts and `build`."""
        categories: dict[tuple[str, ...], int] = {}
        brands: dict[str, int] = {}
        attributes: dict[str, dict[str, int]] = {}
        numbers: set[str] = set()
        for item in items:
            row = tuple(item.categories)
            categories[row] = categories.get(row, 0) + 1
            if item.brand:
                brands[item.brand] = brands.get(item.brand, 0) + 1
            for name, value in item.attributes.items():
                if isinstance(value, str):
                    values = attributes.setdefault(name, {})
                    values[value] = values.get(value, 0) + 1
                elif isinstance(value, (int, float)) and not isinstance(value, bool):
                    numbers.add(name)
        return cls.build(categories, brands, attributes, numbers)

    def _name_compounds(self) -> None:
        """A thing that is no category of its own may be two: "gaming laptops", hence 游戏本, where laptops are
        and some of them are for gaming."""
        for noun in NOUNS.values():
            leaves = []
            for name in (*noun.english, *noun.chinese):
                node: Any = self.tree
                for token in key_tokens(name):
                    node = node[token]
                if node[None][0].wider:
                    leaves.append((key_tokens(name), node))
            parts = next((found for tokens, _ in leaves if (found := self._parts(tokens))), None)
            if parts is not None:
                for _, node in leaves:
                    node[None] = (Meaning("category", (parts[1],), beside=parts[0]), *node[None][1:])

    def _parts(self, tokens: tuple[str, ...]) -> tuple[str, str] | None:
        """The category that describes and the one described, where a name's tokens are both in this order."""
        for split in range(1, len(tokens)):
            head = at_end(self.tree, tokens[split:])
            if head is None or head[0].facet != "category" or head[0].beside:
                continue
            described = head[0].values[0]
            first = at_end(self.tree, tokens[:split])
            describing = [*first[0].values] if first is not None and first[0].facet == "category" else []
            describing += at_end(self.kinds, tokens[:split]) or []
            for one in describing:
                if one != described and self.together(one, described):
                    return one, described
        return None

    def together(self, one: str, other: str) -> bool:
        """Whether some item is in both categories."""
        return any((left, right) in self.pairs for left in naming.word_keys(one) for right in naming.word_keys(other))


def at_end(tree: dict[str | None, Any], tokens: Iterable[str]) -> Any:
    """What lies under the name of exactly these tokens, or None."""
    node: dict[str | None, Any] | None = tree
    for token in tokens:
        node = node.get(token) if node is not None else None
    return node.get(None) if node is not None else None


def _kinds(categories: set[str]) -> dict[str | None, Any]:
    tree: dict[str | None, Any] = {}
    for category in sorted(categories):
        entry = naming.kind(category)
        for name in (*entry.english, *entry.chinese) if entry else ():
            node = tree
            for token in key_tokens(name):
                node = node.setdefault(token, {})
            node.setdefault(None, []).append(category)
    return tree


def _key_pairs(one: str, other: str) -> Iterator[tuple[str, str]]:
    for left in naming.category_keys(one):
        for right in naming.category_keys(other):
            yield left, right
            yield right, left


def _by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _add_categories(rows: Mapping[tuple[str, ...], int], add: Any) -> None:
    """A category is named by its name and its parts; a noun it ends with names it where nothing nearer does."""
    counts: dict[str, int] = {}
    for row, count in rows.items():
        for category in row:
            counts[category] = counts.get(category, 0) + count
    exact: dict[str, str] = {}
    for category, _ in _by_count(counts):
        exact.setdefault(key(category), category)
    nouns: dict[str, str | None] = {}
    for category, _ in _by_count(counts):
        for named in sorted(naming.category_keys(category)):
            if named.startswith("#"):
                nouns.setdefault(named[1:], None)
            else:
                add(named, "category", exact.get(named, named))
        own = naming.noun(category)
        if own is not None and nouns.get(own.name) is None:
            nouns[own.name] = category
    for noun in NOUNS.values():
        wide = NOUNS.get(noun.wider or "")
        while noun.name not in nouns and wide is not None:
            if wide.name in nouns:
                for word in (*noun.english, *noun.chinese):
                    add(word, "wider category", nouns[wide.name] or wide.name)
                break
            wide = NOUNS.get(wide.wider or "")
    for name, category_of_noun in nouns.items():
        entry = NOUNS.get(name) or MATERIALS[name]
        for word in (*entry.english, *entry.chinese):
            if key(word) not in exact:
                add(word, "category", category_of_noun or entry.name)


def _add_attributes(
    attributes: Mapping[str, Mapping[str, int]], numbers: frozenset[str], add: Any
) -> dict[str, dict[str, str]]:
    said_alone: dict[str, dict[str, str]] = {}
    for name in sorted(set(attributes) | numbers):
        if not 0 < len(name) <= MAX_NAME:
            continue
        values = attributes.get(name, {})
        colour = name.lower() in naming.COLOUR_ATTRIBUTES
        if not colour:
            add(name.replace("_", " "), "attribute", name)
            for line in ATTRIBUTES.values():
                if key(name.replace("_", " ")) in map(key, line.english):
                    for other in (*line.english, *line.chinese):
                        add(other, "attribute", name)
        if len(values) > MAX_VALUES:
            continue
        for value, _ in _by_count(values):
            tokens = key_tokens(value)
            if colour:
                if naming.colour_key(value).startswith("#"):
                    continue
                if tokens and len(tokens) <= MAX_WORDS:
                    add(value, "colour", value)
            elif len("".join(tokens)) < 2 or all(token[0].isdigit() for token in tokens):
                said_alone.setdefault(name, {})[key(value)] = value
            elif len(tokens) <= MAX_WORDS and key(value) not in _NO_VALUES:
                entry = naming.noun(value)
                for other in (value, *(entry.english + entry.chinese if entry else ())):
                    add(other, name, value)
    return said_alone


def _add_packaged(add: Any) -> None:
    for colour in COLOURS.values():
        for name in (*colour.english, *colour.chinese):
            if name not in SHY_COLOURS:
                add(name, "colour", colour.name)
    for noun in (*NOUNS.values(), *MATERIALS.values()):
        for name in (*noun.english, *noun.chinese):
            add(name, "word", noun.name)
    for brand in BRANDS.values():
        for name in (*brand.english, *brand.chinese):
            add(name, "word", brand.name)
