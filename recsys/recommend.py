"""Recommend: queries to finished recommendation records. The straight line of arrays, block by block.

In: World and Queries. Out: one Slate each, in order: the record of `schemas.recommendations` as a plain dict without
the receipt times, and the packed open recommendation that waits in the User for its label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.dialogue.reply import reply
from recsys.dialogue.understand import Understanding
from recsys.explain import explain
from recsys.policy import Policy
from recsys.query import Query, block_of
from recsys.retrieve import SOURCES, retrieve
from recsys.score import features_of, tastes_of
from recsys.select import seed_of, select
from recsys.user import pack_open
from recsys.world import World

BLOCK = 32
"""Queries worked on together: enough to spread numpy's cost a call, few enough to stay in the cache."""
MOVED = (None, "diversity", "exploration")
NAMED_IN_REPLY = 3
Timer = Callable[[str], None]


def untimed(_stage: str) -> None:
    """The timer that measures nothing."""


@dataclass(slots=True)
class Slate:
    """`value` is the recommendation without receipt times; `open` is what the User keeps of it."""

    value: dict[str, Any]
    open: bytes


def derived_id(kind: str, user_id: str, event_id: str) -> str:
    """The id of a message that an event causes: the same whenever and wherever it is worked out."""
    digest = blake2b(f"{user_id}\0{event_id}".encode(), digest_size=10)
    return f"{kind}-{digest.hexdigest()}"


def recommend(
    world: World,
    queries: Sequence[Query],
    understood: Mapping[int, Understanding],
    policy: Policy,
    weights: npt.NDArray[np.float32],
    timer: Timer = untimed,
) -> list[Slate]:
    """A Slate for every query. `understood` holds what chats said, by `Query.source`."""
    out: list[Slate] = []
    for at in range(0, len(queries), BLOCK):
        out += _block(world, queries[at : at + BLOCK], understood, policy, weights, timer)
    return out


def _block(
    world: World,
    queries: Sequence[Query],
    understood: Mapping[int, Understanding],
    policy: Policy,
    weights: npt.NDArray[np.float32],
    timer: Timer,
) -> list[Slate]:
    block = block_of(world, queries, policy, weights)
    timer("profile_vectors")
    candidates = retrieve(world, block, policy)
    timer("retrieve")
    x = features_of(world, block, candidates, tastes_of(world, block))
    timer("features")
    scores = world.ranker.scores(x)
    timer("rank")
    ks = np.fromiter((q.k for q in queries), np.int64, len(queries))
    seeds = np.array([seed_of(q.user.user_id, q.event_id) for q in queries], np.uint64)
    slates = select(world, candidates.rows, scores, ks, seeds, policy)
    timer("select")
    place = np.maximum(slates.chosen, 0)
    rows = np.where(slates.chosen >= 0, np.take_along_axis(candidates.rows, place, 1), -1)
    chosen_x = np.take_along_axis(x, place[:, :, None], 1)
    reasons = explain(world, block, rows, chosen_x, world.ranker.contributions(chosen_x), policy)
    timer("explain")
    score = np.take_along_axis(scores, place, 1).tolist()
    source = np.take_along_axis(candidates.sources, place, 1).tolist()
    propensity = np.round(slates.propensities, 6)
    shares, moved = propensity.tolist(), slates.moved.tolist()
    keys = world.catalogue.keys
    out = []
    for b, query in enumerate(queries):
        items = []
        shown = rows[b][rows[b] >= 0]
        for i, row in enumerate(shown.tolist()):
            item = {
                "item_id": world.catalogue.items[row].item_id,
                "rank": i + 1,
                "score": score[b][i],
                "propensity": shares[b][i],
                "source": SOURCES[source[b][i]],
                "reasons": reasons[b][i],
            }
            if moved[b][i]:
                item["moved"] = MOVED[moved[b][i]]
            items.append(item)
        rec_id = derived_id("rec", query.user.user_id, query.event_id)
        value = {
            "rec_id": rec_id,
            "user_id": query.user.user_id,
            "kind": query.kind,
            "trigger": {"event_id": query.event_id, "type": query.event_type, "ts": query.ts},
            "items": items,
            "reply": _reply(world, query, understood.get(query.source), shown.tolist()),
            "constraints": [c.model_dump(exclude_none=True) for c in query.constraints],
            "world": world.names,
            "arm": "main",
            "surface": query.surface,
            "timing": {"event_ts": query.ts},
        }
        opened = pack_open(
            rec_id, query.ts, query.kind, keys[shown].tobytes(), propensity[b][: len(shown)].astype("<f2").tobytes()
        )
        out.append(Slate(value, opened))
    timer("records")
    return out


def _reply(world: World, query: Query, said: Understanding | None, rows: list[int]) -> str | None:
    if said is None:
        return None
    titles = [world.catalogue.items[r].title for r in rows[:NAMED_IN_REPLY]]
    return reply(said.language, said.constraints, query.constraints, titles, said.retracted, said.query)
