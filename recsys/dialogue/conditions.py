"""Conditions: which are in force after a message, and what they mean for an item.

In: the conditions in force and what `understand` made of a message, or a request's own. Out: the conditions in
force from now on, at most `MAX_IN_FORCE`, oldest first, free of contradiction. What a single condition means
for an item says `recsys.dialogue.meaning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from recsys.dialogue import naming
from recsys.dialogue.meaning import checker, satisfies, satisfies_all
from recsys.dialogue.phrases import GRAMMAR, Kind
from recsys.dialogue.tokens import key, tokenise
from recsys.user import Condition
from schemas.constraints import Constraint

__all__ = [
    "MAX_IN_FORCE",
    "Understanding",
    "checker",
    "condition_from_request",
    "contradiction",
    "currency",
    "merge",
    "overlap",
    "satisfies",
    "satisfies_all",
    "value_key",
    "values_of",
]

MAX_IN_FORCE = 16

_NAMES = {
    "price": ("price", "cost", "budget", "价格", "价钱", "预算"),
    "category": ("category", "categories", "type", "类别", "分类", "品类"),
    "brand": ("brand", "make", "品牌", "牌子"),
    "colour": ("colour", "color", "colours", "colors", "颜色"),
    "word": ("word", "words", "term", "text", "关键词"),
}
_CANONICAL_NAME = {alias: name for name, aliases in _NAMES.items() for alias in aliases}


@dataclass(frozen=True, slots=True)
class Understanding:
    """What a message asks for.

    `constraints`: new conditions; `retracted`: those in force that it takes back (of a list only the values
    taken back); `query`: the words of the wish that no condition covers; `negated_terms`: what it refuses, as
    said; `is_request`: it asks for things, rather than tells or thanks.
    """

    constraints: tuple[Condition, ...] = ()
    retracted: tuple[Condition, ...] = ()
    query: str = ""
    negated_terms: tuple[str, ...] = ()
    language: str = "en"
    is_request: bool = False


# -- which are in force -------------------------------------------------------------------------------------


def merge(in_force: Sequence[Condition], understanding: Understanding, now_ms: int) -> tuple[Condition, ...]:
    """The conditions in force after a message: without the expired and the retracted, the newer one winning."""
    kept: list[Condition] = [c for c in in_force if not _expired(c, now_ms)]
    for retracted in understanding.retracted:
        kept = [left for c in kept if (left := _without(c, retracted)) is not None]
    new = [c for c in understanding.constraints if not _expired(c, now_ms)]
    for constraint in new:
        kept = [left for c in kept if (left := _after(c, constraint)) is not None]
    merged = kept
    for constraint in new:
        # Within one message too the later limit wins where both cannot hold.
        merged = [c for c in merged if not contradiction(c, constraint)]
        if constraint not in merged:
            merged.append(constraint)
    return tuple(merged[-MAX_IN_FORCE:])


def contradiction(one: Condition, other: Condition) -> bool:
    """Whether no item at all can satisfy both: a floor above a ceiling, or one thing both asked and refused."""
    if one.name != other.name:
        return False
    ops = {one.op, other.op}
    if ops == {"<=", ">="}:
        if one.unit != other.unit and one.unit and other.unit:
            return True
        ceiling, floor = (one, other) if one.op == "<=" else (other, one)
        return float(floor.value) > float(ceiling.value)  # type: ignore[arg-type]
    if "not_in" in ops and len(ops) == 2 and ops <= {"not_in", "in", "=="}:
        asked, refused = (other, one) if one.op == "not_in" else (one, other)
        return _value_keys(asked) <= _value_keys(refused)
    return ops == {"=="} and _value_keys(one) != _value_keys(other) and one.name not in ("category", "word")


def _expired(constraint: Condition, now_ms: int) -> bool:
    return constraint.expires is not None and constraint.expires <= now_ms


def values_of(constraint: Condition) -> list[str]:
    """The values of a condition as strings, one or many."""
    value = constraint.value
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, str) else [_number_text(value)]


def _number_text(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)


def _value_keys(constraint: Condition) -> frozenset[str]:
    return frozenset(value_key(constraint.name, value) for value in values_of(constraint))


def value_key(name: str, value: str) -> str:
    """The form in which two values of a condition's name are the same."""
    if name == "colour":
        return naming.colour_key(value)
    if name == "brand":
        return naming.brand_key(value)
    entry = naming.noun(value) if name in ("category", "word") else None
    return "#" + entry.name if entry else key(value) or value.casefold()


def overlap(constraint: Condition, values: Iterable[str]) -> Condition | None:
    """The part of a condition that is about `values`: it with only those of its values, or None."""
    if constraint.op in ("<=", ">="):
        return None
    wanted = {value_key(constraint.name, value) for value in values}
    shared = [value for value in values_of(constraint) if value_key(constraint.name, value) in wanted]
    if not shared:
        return None
    return constraint if len(shared) == len(values_of(constraint)) else _with(constraint, shared)


def _with(constraint: Condition, values: list[str]) -> Condition:
    if constraint.op == "not_in":
        return constraint._replace(value=values)
    if len(values) == 1:
        return constraint._replace(op="==", value=values[0])
    return constraint._replace(op="in", value=values)


def _less(constraint: Condition, keys: frozenset[str]) -> Condition | None:
    """The condition without the values of these keys; None where none is left."""
    values = values_of(constraint)
    left = [value for value in values if value_key(constraint.name, value) not in keys]
    if len(left) == len(values):
        return constraint
    return _with(constraint, left) if left else None


def _without(constraint: Condition, retracted: Condition) -> Condition | None:
    if constraint.name != retracted.name or _asks(constraint) != _asks(retracted):
        return constraint
    if constraint.op in ("<=", ">=") or retracted.op in ("<=", ">="):
        return None if constraint.op == retracted.op else constraint
    return _less(constraint, _value_keys(retracted))


def _asks(constraint: Condition) -> bool:
    return constraint.op != "not_in"


def _after(old: Condition, new: Condition) -> Condition | None:
    """What is left of an older condition once a newer one holds."""
    if old.name != new.name:
        # "No leather", later "a leather jacket": the thing asked for may be named again.
        if old.name == "word" and old.op == "not_in" and new.op in ("==", "in"):
            return _less(old, frozenset(value_key("word", value) for value in values_of(new)))
        return old
    if new.op in ("<=", ">="):
        if old.op == new.op or contradiction(old, new):
            return None
        # A price in another currency, or one exact value, is a new start.
        return None if old.op in ("==", "in") or (old.unit and new.unit and old.unit != new.unit) else old
    if new.op == "not_in":
        return _less(old, _value_keys(new)) if old.op in ("not_in", "==", "in") else old
    return None if _asks(old) else _less(old, _value_keys(new))


def condition_from_request(constraint: Constraint) -> Condition:
    """A request's condition in the form that the rest of the house uses; nothing is dropped or loosened.

    Names in either language and spelling, currencies by any name, a lone `in` as `==`. A condition that cannot
    be met (a price of "cheap") stays as it is, and no item satisfies it.
    """
    name = _CANONICAL_NAME.get(constraint.name.strip().lower(), constraint.name.strip()) or constraint.name
    value, op, unit = constraint.value, constraint.op, constraint.unit
    if name == "word" and op in ("==", "in") and isinstance(value, str):
        op, value = "in", [value]
    elif op == "in" and isinstance(value, list) and len(value) == 1:
        op, value = "==", value[0]
    if unit is not None:
        unit = currency(unit)
    return Condition(name, op, value, unit, constraint.event_id, constraint.expires)


@lru_cache(maxsize=1024)
def currency(name: str) -> str | None:
    """The ISO 4217 code of a currency by any of its names; an unknown one in capitals, an empty one None."""
    node: Any = GRAMMAR
    for word in tokenise(name).words:
        node = node.get(word) if node is not None else None
    if node is not None and node is not GRAMMAR and None in node and node[None][0] is Kind.MONEY:
        return str(node[None][1])
    return name.strip().upper() or None
