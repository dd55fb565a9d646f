"""Condition masks: which rows of the catalogue a condition allows.

In: constraints (typed by `recsys.dialogue`, or sent with a request) and a Catalogue. Out: bool[rows], so that a
condition is one AND and can never be broken by what is offered. What the words of an item decide is checked once a row
(a row's text never changes) and remembered across snapshots; prices are compared as columns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.catalogue import Catalogue
from recsys.dialogue.meaning import checker
from recsys.user import Condition

REMEMBERED = 256
_COMPARE = {"<=": np.less_equal, ">=": np.greater_equal, "==": np.equal}
Bools = npt.NDArray[np.bool_]


class ConditionMasks:
    """The memory of condition checks; shared by successive Worlds of one process, used by one thread."""

    def __init__(self) -> None:
        self._checked: OrderedDict[tuple[str, str, str], Bools] = OrderedDict()

    def allowed(self, catalogue: Catalogue, constraints: Sequence[Condition]) -> Bools:
        """bool[rows]: the rows that satisfy all of them."""
        mask = np.ones(catalogue.rows, bool)
        for constraint in constraints:
            if constraint.name == "price" and constraint.op in _COMPARE and isinstance(constraint.value, int | float):
                mask &= _price(catalogue, constraint)
            elif constraint.name == "price":
                mask[:] = False  # a price of "cheap" is met by nothing
            else:
                mask &= self._words(catalogue, constraint)
        return mask

    def _words(self, catalogue: Catalogue, constraint: Condition) -> Bools:
        key = (constraint.name, constraint.op, repr(constraint.value))
        known = self._checked.pop(key, None)
        done = 0 if known is None else len(known)
        if known is None or done < catalogue.rows:
            check = checker(constraint)
            rest = np.fromiter(map(check, catalogue.items[done:]), bool, catalogue.rows - done)
            known = rest if known is None else np.concatenate([known, rest])
        self._checked[key] = known
        if len(self._checked) > REMEMBERED:
            self._checked.popitem(last=False)
        return known[: catalogue.rows]


def _price(catalogue: Catalogue, constraint: Condition) -> Bools:
    """A price in another currency than the named one, or no price at all, satisfies nothing."""
    with np.errstate(invalid="ignore"):
        mask: Bools = _COMPARE[constraint.op](catalogue.price, constraint.value)
    if constraint.unit:
        mask = mask & (catalogue.currency == catalogue.currency_names.of.get(constraint.unit.upper(), -2))
    return mask
