"""Canary: a candidate that serves a share of the users, while what serves goes on serving the others.

In: a World that holds both, and queries. Out: slates, each to the last bit what a World with that user's models alone
makes of it, the names of that World included. So a record, and every training example of it, says what ranked it.

Users are dealt by a hash under the canary's own salt: in every process and replay alike, independent of the arms of
experiments, and other users for the next canary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from recsys.experiments.assign import place_of
from recsys.rank import Ranker
from recsys.sequence import SequenceModel

if TYPE_CHECKING:
    from recsys.query import Query
    from recsys.world import World

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, eq=False)
class Canary:
    """Both models that a canary's users are ranked by, its own or the serving ones."""

    share: float
    salt: str
    ranker: Ranker
    sequence: SequenceModel | None
    release_id: str
    """Of a World with the canary's models; `beside`: of one with those that serve the others."""
    beside: str

    def has(self, user_id: str) -> bool:
        return is_dealt(user_id, self.salt, self.share)


def is_dealt(user_id: str, salt: str, share: float, after: float = 0.0) -> bool:
    """Whether a user is among a canary's `share` of them, or among the `share` that stands behind `after` of them."""
    return after <= place_of(user_id, f"canary\0{salt}") < after + share


def each_by_its_own(
    world: World, queries: Sequence[Query], make: Callable[[World, Sequence[Query]], list[Made]]
) -> list[Made]:
    """What `make` comes to for each query, with the World that the query's user is served by; in order."""
    canary = world.canary
    assert canary is not None
    others, its_own = world.apart
    dealt = [canary.has(query.user.user_id) for query in queries]
    made: dict[int, Made] = {}
    for mine, one in ((False, others), (True, its_own)):
        places = [at for at, is_canary in enumerate(dealt) if is_canary == mine]
        if places:
            made |= zip(places, make(one, [queries[at] for at in places]), strict=True)
    return [made[at] for at in range(len(queries))]
