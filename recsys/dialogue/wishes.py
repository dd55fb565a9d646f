"""From what was asked for and refused to conditions.

In: `Wishes`, which `understand` fills while it reads, and the conditions in force. Out: new conditions, those
taken back, and the words left for the search. Which categories are meant together ("horror film") and which as
a choice ("a dress or a skirt") is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from recsys.dialogue import naming
from recsys.dialogue.amounts import Measure, Price
from recsys.dialogue.conditions import overlap, value_key
from recsys.dialogue.shop_words import BRANDS, MATERIALS, PEOPLE
from recsys.dialogue.tokens import contains, is_han, joined, key
from recsys.dialogue.vocabulary import Meaning, Vocabulary
from recsys.user import Condition
from schemas.constraints import Operator

MAX_TERM_WORDS = 3  # of a refused phrase that the vocabulary does not know
MAX_TERM_CHARACTERS = 6  # the same in Chinese
MAX_NEW = 12  # conditions from one message


@dataclass(slots=True, eq=False)
class Phrase:
    """Names that stand together: "black leather shoes". `said`: (place, words) of each.

    `linked`: joined to the phrase before by "and" or "or"; `beside`: after "for" or "with"; `replaces`: said with
    "instead"; `adds`: "" or how it adds to what is in force ("also", "allowed").
    """

    meanings: list[Meaning]
    said: list[tuple[int, str]]
    beside: bool
    linked: bool = False
    replaces: bool = False
    adds: str = ""


@dataclass(slots=True)
class Refusal:
    """What must not be, and the words it was said with."""

    meaning: Meaning
    said: str


@dataclass(slots=True)
class Wishes:
    """What a message has said so far. `query`: (place, words) left for the search."""

    phrases: list[Phrase] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    prices: list[Price] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    query: list[tuple[int, str]] = field(default_factory=list)
    not_only: list[Meaning] = field(default_factory=list)
    withdrawn: list[Meaning] = field(default_factory=list)
    withdrawn_aspects: list[str] = field(default_factory=list)
    free_aspects: list[str] = field(default_factory=list)
    forget_last: bool = False
    reset: bool = False

    def free(self, aspect: str) -> None:
        """Nothing is asked of this aspect any more. What the message refuses stays refused."""
        self.free_aspects.append(aspect)
        if aspect == "price":
            self.prices.clear()
        for phrase in self.phrases:
            kept = [at for at, meaning in enumerate(phrase.meanings) if meaning.facet != aspect]
            phrase.said = [phrase.said[at] for at in kept if at < len(phrase.said)]
            phrase.meanings = [phrase.meanings[at] for at in kept]

    def settle(
        self,
        vocabulary: Vocabulary,
        event_id: str | None,
        expires: int | None,
        in_force: Sequence[Condition],
    ) -> tuple[tuple[Condition, ...], tuple[Condition, ...], str]:
        """New conditions, those of `in_force` taken back, and the query."""
        made: list[Condition] = []
        known: set[tuple[object, ...]] = set()

        def make(name: str, op: Operator, value: float | str | list[str], unit: str | None = None) -> None:
            own = (name, op, tuple(value) if isinstance(value, list) else value, unit)
            if own not in known and len(made) < MAX_NEW:
                known.add(own)
                made.append(Condition(name, op, value, unit, event_id, expires))

        def ask(name: str, values: list[str]) -> None:
            if values:
                make(name, "==" if len(values) == 1 else "in", values[0] if len(values) == 1 else values)

        withdrawn = list(self.withdrawn)
        for name, groups in self._asked(vocabulary).items():
            for group in groups:
                ask(name, self._with_those_in_force(name, group, in_force, withdrawn))
        for measure in self.measures:
            make(measure.name, cast(Operator, measure.op), measure.value)
        for price in self.prices:
            for op, amount in price.limits:
                make("price", cast(Operator, op), float(amount), price.unit)
        for name, values in self._refusals():
            make(name, "not_in", values)
        query = self._query()
        return tuple(made), self._retracted(in_force, withdrawn, query, bool(made)), query

    # -- what is asked for ----------------------------------------------------------------------------------

    def _asked(self, vocabulary: Vocabulary) -> dict[str, list[list[str]]]:
        """By name the groups of values: one of each group is asked for."""
        by_name: dict[str, list[list[str]]] = {}
        categories: list[tuple[list[Meaning], Phrase]] = []
        for phrase in self.phrases:
            if phrase.replaces and not phrase.linked:
                for meaning in phrase.meanings:
                    by_name.pop(meaning.facet, None)
                    if meaning.facet == "category":
                        categories = []
            own = [meaning for meaning in phrase.meanings if meaning.facet == "category"]
            if own:
                categories.append((own, phrase))
            for meaning in phrase.meanings:
                if meaning.facet != "category":
                    group = by_name.setdefault(meaning.facet, [[]])[0]
                    group += [value for value in meaning.values[:4] if value not in group]
        if categories:
            by_name["category"] = self._categories(categories, vocabulary)
        return by_name

    def _categories(self, entries: list[tuple[list[Meaning], Phrase]], vocabulary: Vocabulary) -> list[list[str]]:
        together = vocabulary.together
        runs: list[tuple[list[str], list[str]]] = []  # alternatives, and what holds beside each
        for meanings, phrase in entries:
            values = [meaning.values[0] for meaning in meanings]
            head, describing = values[-1], values[:-1]
            held = [value for value in describing if together(value, head)]
            for value in describing:
                if value not in held:
                    self._say_again(phrase, value)
            if phrase.beside or (_is_person(head) and runs):
                # "shoes for women", "a bag for my laptop": only where something is both.
                if runs and all(together(head, other) for other in runs[-1][0]):
                    runs[-1][1].append(head)
                elif runs or phrase.beside:
                    self._say_again(phrase, head)
                else:
                    runs.append(([head], held))
            elif phrase.linked and runs:
                alternatives, beside = runs[-1]
                if len(held) == 1 and not beside and all(together(one, head) for one in alternatives):
                    # "horror or comedy films"
                    runs[-1] = ([*alternatives, held[0]], [head])
                else:
                    runs[-1] = ([*alternatives, head], beside)
            else:
                runs.append(([head], held))
        merged = runs[:1]
        for alternatives, beside in runs[1:]:
            # "a film, horror please" narrows; "a laptop. Also a phone" widens.
            if all(together(one, other) for one in alternatives for other in merged[-1][0]):
                merged.append((alternatives, beside))
            else:
                merged[-1] = (merged[-1][0] + alternatives, merged[-1][1] + beside)
        groups: list[list[str]] = []
        for alternatives, beside in merged:
            groups.append(list(dict.fromkeys(alternatives)))
            groups += [[value] for value in dict.fromkeys(beside) if value not in alternatives]
        return [group for at, group in enumerate(groups) if group not in groups[:at]]

    def _say_again(self, phrase: Phrase, value: str) -> None:
        for meaning, place in zip(phrase.meanings, phrase.said, strict=False):
            if meaning.values[0] == value:
                self.query.append(place)

    def _with_those_in_force(
        self, name: str, group: list[str], in_force: Sequence[Condition], withdrawn: list[Meaning]
    ) -> list[str]:
        """ "Blue is fine too" adds to the colours asked for; where none is, it only takes back a refusal."""
        adds = {p.adds for p in self.phrases if any(m.facet == name for m in p.meanings)} - {""}
        if not adds:
            return group
        asked = [
            value
            for c in in_force
            if c.name == name and c.op in ("==", "in")
            for value in (c.value if isinstance(c.value, list) else [str(c.value)])
        ]
        if not asked and adds == {"allowed"}:
            withdrawn += [Meaning(name, (value,)) for value in group]
            return []
        known = {value_key(name, value) for value in asked}
        return asked + [value for value in group if value_key(name, value) not in known]

    # -- what is refused ------------------------------------------------------------------------------------

    def _refusals(self) -> list[tuple[str, list[str]]]:
        by_name: dict[str, list[str]] = {}
        for refusal in self.refused:
            facet, values = refusal.meaning.facet, refusal.meaning.values
            if facet == "word":
                _add_new(by_name.setdefault("word", []), naming.names_of(refusal.said))
                continue
            _add_new(by_name.setdefault(facet, []), values)
            if facet not in ("category", "brand", "colour"):
                # An attribute's value may also stand in a title.
                _add_new(by_name.setdefault("word", []), naming.names_of(refusal.said))
        return [(name, values[:24]) for name, values in by_name.items() if values]

    # -- what is taken back ---------------------------------------------------------------------------------

    def _retracted(
        self, in_force: Sequence[Condition], withdrawn: list[Meaning], query: str, made: bool
    ) -> tuple[Condition, ...]:
        if not in_force:
            return ()
        if self.reset:
            return tuple(in_force)
        query_key = key(query)
        aspects = set(self.free_aspects) | set(self.withdrawn_aspects)
        widened = [meaning for meaning in self.not_only if meaning.facet != "word"]
        taken: list[Condition] = []
        for constraint in in_force:
            if constraint.name in aspects:
                taken.append(constraint)
                continue
            values = [
                value
                for meaning in withdrawn
                if meaning.facet in (constraint.name, "word") or constraint.name == "word"
                for value in meaning.values
            ]
            if constraint.op != "not_in":
                values += [v for meaning in widened if meaning.facet == constraint.name for v in meaning.values]
            elif constraint.name == "word" and query_key:
                # "With sugar please", after "without sugar".
                said = constraint.value if isinstance(constraint.value, list) else []
                values += [value for value in said if contains(query_key, key(value))]
            part = overlap(constraint, values) if values else None
            if part is not None:
                taken.append(part)
        if self.forget_last and not made and not taken:
            last = in_force[-1].event_id
            taken = [c for c in in_force if c.event_id == last]
        return tuple(taken)

    def _query(self) -> str:
        return joined([words for _, words in sorted(dict.fromkeys(self.query))])


def _add_new(values: list[str], others: Sequence[str]) -> None:
    """Up to six of the others that are not there yet."""
    known = {key(value) for value in values}
    values += [other for other in others if key(other) not in known][:6]


def _is_person(category: str) -> bool:
    entry = naming.noun(category)
    return entry is not None and entry.name in PEOPLE


def refusals(names: Sequence[tuple[str, Meaning | None]]) -> list[Refusal]:
    """What a refused phrase refuses: (words as said, meaning or None where unknown) to refusals.

    Of a phrase its describing words are refused; of several nouns all but the last; else the noun.
    """
    refused: list[Refusal] = []

    grouped: list[tuple[str, Meaning | None, bool]] = []
    for said, meaning in names:
        if meaning is None and grouped and grouped[-1][1] is None:
            grouped[-1] = (joined([grouped[-1][0], said]), None, False)
            continue
        if meaning is not None and meaning.wider:
            meaning = Meaning("word", (said,))
        noun = meaning is not None and (
            meaning.facet == "category" or (meaning.facet == "word" and not _is_material(meaning))
        )
        grouped.append((said, meaning, noun))
    describing = [entry for entry in grouped if not entry[2]]
    nouns = [entry for entry in grouped if entry[2]]
    for said, meaning, _ in describing or nouns[:-1] or nouns:
        if meaning is None:
            said = said.replace(" ", "") if is_han(said) else said
            long = MAX_TERM_CHARACTERS if is_han(said) else MAX_TERM_WORDS
            if (len(said) if is_han(said) else said.count(" ") + 1) > long or not said[0].isalnum():
                continue
            meaning = Meaning("word", (said,))
        refused.append(Refusal(meaning, said))
    return refused


def _is_material(meaning: Meaning) -> bool:
    return meaning.values[0] in MATERIALS or meaning.values[0] in BRANDS
