"""Recommend: queries to finished recommendation records. The straight line of arrays, block by block.

In: World and Queries. Out: one Slate each, in order: the record of `schemas.recommendations` as a plain dict without
the receipt times, and the packed open recommendation that waits in the User for its label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.dialogue.conditions import Understanding
from recsys.dialogue.reply import reply
from recsys.experiments.assign import MAIN
from recsys.experiments.canary import each_by_its_own
from recsys.experiments.live import arms_of, rank_by_arm
from recsys.explain import explain
from recsys.opened import pack_slates
from recsys.policy import Policy
from recsys.query import Block, Query, block_of
from recsys.retrieve import SOURCES, Near, retrieve, search
from recsys.score import features_of, tastes_of
from recsys.select import seed_of, select
from recsys.world import World

BLOCK = 64
"""Queries worked on together: enough to spread numpy's cost a call, few enough to stay in the cache."""
THREADS = 2
"""Blocks worked on at the same time."""
MOVED = (None, "diversity", "exploration", "interleaving")
NAMED_IN_REPLY = 3
Timer = Callable[[str], None]
"""Told of each stage as it ends, in the thread that did it; "wait" ends what was no work."""


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
    if world.canary is not None:
        return each_by_its_own(
            world, queries, lambda one, some: recommend(one, some, understood, policy, weights, timer)
        )
    # texts are encoded here: tokenisers do not bear two threads at once
    blocks = [block_of(world, queries[at : at + BLOCK], policy, weights) for at in range(0, len(queries), BLOCK)]
    timer("profile_vectors")

    def ranked(block: Block, pool: Executor | None = None) -> list[Slate]:
        timer("wait")
        return _slates(world, block, search(world, block, policy, pool), understood, policy, timer)

    if len(blocks) < 2:
        return [slate for block in blocks for slate in ranked(block, _beside())]
    # blocks know nothing of each other; most of their work is done without Python's lock, so two cores share it
    with ThreadPoolExecutor(THREADS, "rank") as pool:
        found = [slate for slates in pool.map(ranked, blocks) for slate in slates]
    timer("wait")
    return found


@cache
def _beside() -> Executor:
    """A thread beside the caller's, for what a single block can share."""
    return ThreadPoolExecutor(THREADS - 1, "search")


def _slates(
    world: World,
    block: Block,
    near: Near,
    understood: Mapping[int, Understanding],
    policy: Policy,
    timer: Timer,
) -> list[Slate]:
    queries = block.queries
    timer("search")
    candidates = retrieve(world, block, near, policy)
    timer("retrieve")
    tastes = tastes_of(world, block)
    known = x = features_of(world, block, candidates, tastes)
    timer("features")
    context = block.context
    ks = np.fromiter((q.k for q in queries), np.int64, len(queries))
    seeds = np.array([seed_of(q.user.user_id, q.event_id) for q in queries], np.uint64)
    arms = arms_of([q.user.user_id for q in queries], policy) if policy.arms else None
    if arms is None:
        scores, all_parts = world.ranker.scored(x, context)
        timer("rank")
        slates = select(world, candidates.rows, scores, ks, seeds, policy)
    else:
        x, scores, slates, teams = rank_by_arm(world, candidates.rows, x, context, ks, seeds, policy, arms)
    timer("select")
    place = np.maximum(slates.chosen, 0)
    line = np.arange(len(queries))[:, None]
    rows = np.where(slates.chosen >= 0, candidates.rows[line, place], -1)
    chosen_x = x[line, place]
    known_x = chosen_x if known is x else known[line, place]  # as no arm weighs them
    parts = all_parts[line, place] if arms is None else world.ranker.contributions(chosen_x, context)
    reasons = explain(world, block, candidates.neighbours, tastes, rows, chosen_x, parts, policy)
    timer("explain")
    score, source = scores[line, place].tolist(), candidates.sources[line, place].tolist()
    propensity = np.round(slates.propensities, 6)
    shares, moved = propensity.tolist(), slates.moved.tolist()
    keys = world.catalogue.keys[np.maximum(rows, 0)] if world.catalogue.rows else np.zeros(rows.shape, np.uint64)
    many = (rows >= 0).sum(axis=1)
    offered = [line_of[:n] for line_of, n in zip(rows.tolist(), many.tolist(), strict=True)]
    values: list[dict[str, Any]] = []
    waiting: list[tuple[str, int, str, bool]] = []
    for b, query in enumerate(queries):
        items = []
        arm = MAIN if arms is None else arms[b]
        pair = policy.arms[arm].interleave if arm in policy.arms else None
        for i, row in enumerate(offered[b]):
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
            if pair is not None:
                item["team"] = pair[teams[b, i] - 1]
            items.append(item)
        rec_id = derived_id("rec", query.user.user_id, query.event_id)
        value: dict[str, Any] = {
            "rec_id": rec_id,
            "user_id": query.user.user_id,
            "kind": query.kind,
            "trigger": {"event_id": query.event_id, "type": query.event_type, "ts": query.ts},
            "items": items,
            "reply": _reply(world, query, understood.get(query.source), offered[b]),
            "constraints": [c.model_dump(exclude_none=True) for c in query.constraints],
            "world": world.names,
            "arm": arm,
            "surface": query.surface,
            "timing": {"event_ts": query.ts},
        }
        if pair is not None:
            value["interleaved"] = list(pair)
        values.append(value)
        waiting.append((rec_id, query.ts, query.kind, query.event_type in ("request", "chat")))
    packed = pack_slates(waiting, world.names, many, keys, propensity, known_x, context)
    timer("records")
    return [Slate(value, opened) for value, opened in zip(values, packed, strict=True)]


def _reply(world: World, query: Query, said: Understanding | None, rows: list[int]) -> str | None:
    if said is None:
        return None
    titles = [world.catalogue.items[r].title for r in rows[:NAMED_IN_REPLY]]
    return reply(said.language, said.constraints, query.constraints, titles, said.retracted, said.query)
