"""Facets: the distinct categories, brands and attribute values of the live items, counted.

In: items that came and items that went. Out: an immutable count from which the dialogue's vocabulary is built, so
that a catalogue change costs what changed and not the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from recsys.dialogue.vocabulary import Vocabulary
from schemas.items import Item


@dataclass(frozen=True)
class Facets:
    """Counts of live items by distinct list of categories, brand, and string value of each attribute."""

    categories: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    brands: Mapping[str, int] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)

    def updated(self, came: Iterable[Item], went: Iterable[Item]) -> Facets:
        categories, brands, numbers = dict(self.categories), dict(self.brands), dict(self.numbers)
        attributes = dict(self.attributes)
        copied: set[str] = set()

        def count(into: dict[str, int] | dict[tuple[str, ...], int], name: object, by: int) -> None:
            n = into.get(name, 0) + by  # type: ignore[call-overload]
            if n:
                into[name] = n  # type: ignore[index]
            else:
                into.pop(name, None)  # type: ignore[call-overload]

        for items, by in ((came, 1), (went, -1)):
            for item in items:
                if item.categories:
                    count(categories, tuple(item.categories), by)
                if item.brand:
                    count(brands, item.brand, by)
                for name, value in item.attributes.items():
                    if isinstance(value, str):
                        if name not in copied:
                            attributes[name] = dict(attributes.get(name, {}))
                            copied.add(name)
                        count(attributes[name], value, by)  # type: ignore[arg-type]
                    elif isinstance(value, int | float) and not isinstance(value, bool):
                        count(numbers, name, by)
        return Facets(categories, brands, {n: v for n, v in attributes.items() if v}, numbers)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What a message can name. Built of sorted counts: the order in which items came leaves no trace."""
        return Vocabulary.build(
            dict(sorted(self.categories.items())),
            dict(sorted(self.brands.items())),
            {name: dict(sorted(self.attributes[name].items())) for name in sorted(self.attributes)},
            sorted(self.numbers),
        )
