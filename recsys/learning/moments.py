"""Moments: what stood before each interaction of a batch, so that the interaction can be its label.

In: World, Users before a batch, its events. Out: queries as of right before each interaction, with the item then
chosen; and, for a block of them, the arrays that the ranker learns from: the same candidates and features as if a
ranking had been asked for at that moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.actions import weigh
from recsys.fold import event_seconds, fold_forget, fold_interaction, touch_session
from recsys.policy import Policy
from recsys.query import Query, block_of
from recsys.recommend import BLOCK
from recsys.retrieve import retrieve, search
from recsys.score import features_of, tastes_of
from recsys.user import User
from recsys.world import World
from schemas.events import Event, Forget, Interaction

Floats = npt.NDArray[np.float32]
REST = 100
"""Items drawn from the rest of the catalogue for a block."""


def user_hash(user_id: str) -> int:
    """64 bits that stand for a user where only equality counts."""
    return int.from_bytes(blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class Moment:
    """`query` as of right before an interaction with the item of `row`."""

    query: Query
    row: int


@dataclass(frozen=True, slots=True)
class Choices:
    """B choices among C candidates.

    x        float32[B, C, F]
    context  float32[B, G]
    there    bool[B, C]: false for padding
    many     float32[B, C]: log of how many items each stands for
    target   int64[B]: the candidate chosen
    weight   float32[B]: how much each choice counts; below 0, it was turned down. None: 1
    position int64[B, C]: the place at which each was shown, from 1; 0 where that says nothing. None: all 0
    users    uint64[B]: hashes of the users who chose, None where nobody asks
    alike    bool[B, C]: the candidate chosen, and those that a choice at random would have named as likely. None:
             nobody knows
    """

    x: Floats
    context: Floats
    there: npt.NDArray[np.bool_]
    many: Floats
    target: npt.NDArray[np.int64]
    weight: Floats | None = None
    position: npt.NDArray[np.int64] | None = None
    users: npt.NDArray[np.uint64] | None = None
    alike: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.target)

    def of(self, lines: slice | npt.NDArray[np.bool_]) -> Choices:
        """Some of them."""
        held: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        parts: dict[str, Any] = {name: None if array is None else array[lines] for name, array in held.items()}
        return Choices(**parts)

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        """bool[B]: whether all features of a choice are numbers."""
        return np.asarray(np.isfinite(self.x).all(axis=(1, 2)))


def moments_of(
    world: World,
    users: Mapping[str, User],
    events: Sequence[Event],
    policy: Policy,
    own: dict[str, User] | None = None,
) -> list[Moment]:
    """A Moment for each interaction with a known item that its user had not touched and took to, in order. `own`, if
    given, takes in the users as they become."""
    own = {} if own is None else own
    found, gap_s = list[Moment](), policy.session_gap_minutes * 60
    for event in events:
        if not isinstance(event, Interaction | Forget):
            continue
        user = own.get(event.user_id)
        if user is None:
            known = users.get(event.user_id)
            user = own[event.user_id] = known.clone() if known is not None else User.new(event.user_id)
        if isinstance(event, Forget):
            own[event.user_id] = fold_forget(user, event, gap_s)[0]
            continue
        row = world.catalogue.row_of.get(event.item_id, -1)
        code, weight = weigh(event.action, event.value, policy)
        if row >= 0 and weight > 0:
            query = Query(len(found), user.clone(), f"?{event.event_id}", "request", event.ts)
            found.append(Moment(query, row))
        ts_s = event_seconds(event.ts)
        touch_session(user, ts_s, event.session_id, gap_s)
        fold_interaction(user, event, ts_s, code, weight)
    return found


def choices_of(world: World, moments: Sequence[Moment], policy: Policy, weights: Floats, seed: int) -> list[Choices]:
    """The arrays of moments, block by block: each query's candidates, what was chosen, and REST more of the catalogue
    drawn at random, which stand for all that no retriever found. Learning from candidates alone would teach that what
    retrievers look for is what is not chosen. Left out: what could not have been offered (seen before, or gone, or a
    help article, which stands among no one's alternatives: whoever put those first would be right each time)."""
    found: list[Choices] = []
    random = np.random.default_rng(seed)
    shop = np.flatnonzero(world.shop).astype(np.int32)
    for at in range(0, len(moments), BLOCK):
        some = moments[at : at + BLOCK]
        block = block_of(world, [m.query for m in some], policy, weights)
        candidates = retrieve(world, block, search(world, block, policy), policy)
        target = np.fromiter((m.row for m in some), np.int32, len(some))
        missed = ~(candidates.rows == target[:, None]).any(axis=1)
        retrieved = np.concatenate([candidates.rows, np.where(missed, target, -1)[:, None]], axis=1)
        # each once: else what was not drawn would be above what was more often than its number says
        drawn = np.full(REST, -1, np.int32)
        drawn[: min(REST, len(shop))] = random.choice(shop, min(REST, len(shop)), replace=False)
        rest = np.broadcast_to(drawn, (len(some), REST))
        # a drawn item that stands among the retrieved already, or was seen, stands for nothing
        old = (rest[:, :, None] == block.rows[:, None, :]).any(axis=2)
        old |= (np.sort(retrieved, axis=1)[:, :, None] == rest[0]).any(axis=1)
        rest = np.where(old, -1, rest)
        kept = np.maximum((rest >= 0).sum(axis=1), 1)
        outside = np.maximum(len(shop) - (retrieved >= 0).sum(axis=1), 1)
        candidates.rows = np.concatenate([retrieved, rest], axis=1)
        candidates.lexical = np.pad(candidates.lexical, ((0, 0), (0, 1 + REST)))
        x = features_of(world, block, candidates, tastes_of(world, block))
        many = np.zeros(candidates.rows.shape, np.float32)
        many[:, retrieved.shape[1] :] = np.log(outside / kept)[:, None]
        hits = candidates.rows == target[:, None]
        fair = world.shop[target] & ~(block.rows == target[:, None]).any(axis=1)
        there = candidates.rows >= 0
        # whatever ranks: of a choice at random, what was retrieved is as likely as what else was, and the rest likewise
        drawn_or_missed = np.arange(there.shape[1]) >= retrieved.shape[1] - 1
        alike = there & (drawn_or_missed == missed[:, None])
        who = np.array([user_hash(m.query.user.user_id) for m in some], np.uint64)[fair]
        found.append(
            Choices(
                x[fair], block.context[fair], there[fair], many[fair], hits.argmax(axis=1)[fair], users=who,
                alike=alike[fair],
            )
        )  # fmt: skip
    return found
