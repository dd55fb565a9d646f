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

from recsys.compiled import fills, kernel, reads
from recsys.dialogue.conditions import Understanding
from recsys.dialogue.reply import reply
from recsys.experiments.assign import MAIN
from recsys.experiments.canary import each_by_its_own
from recsys.experiments.live import arms_of, rank_by_arm
from recsys.explain import explain
from recsys.opened import pack_slates
from recsys.policy import Policy
from recsys.query import Block, Query, block_of
from recsys.retrieve import SOURCES, Candidates, Near, retrieve, search
from recsys.score import features_of, tastes_of
from recsys.select import Doubles, Floats, Ints, seed_of, select
from recsys.world import World

Keys = npt.NDArray[np.uint64]
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
        scores = world.ranker.scores(x, context)
        timer("rank")
        slates = select(world, candidates.rows, scores, ks, seeds, policy)
    else:
        x, scores, slates, teams = rank_by_arm(world, candidates.rows, x, context, ks, seeds, policy, arms)
    timer("select")
    rows, keys, chosen_x, score, source = _chosen(world, slates.chosen, candidates, x, scores)
    known_x = chosen_x  # as no arm weighs them
    if known is not x:
        known_x = known[np.arange(len(queries))[:, None], np.maximum(slates.chosen, 0)]
    parts = world.ranker.contributions(chosen_x, context)
    reasons = explain(world, block, candidates.neighbours, tastes, rows, chosen_x, parts, policy)
    timer("explain")
    scores_of, sources_of = score.tolist(), source.tolist()
    propensity = np.round(slates.propensities, 6)
    shares, moved = propensity.tolist(), slates.moved.tolist()
    many = (rows >= 0).sum(axis=1)
    offered = [line[:n] for line, n in zip(rows.tolist(), many.tolist(), strict=True)]
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
                "score": scores_of[b][i],
                "propensity": shares[b][i],
                "source": SOURCES[sources_of[b][i]],
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
            "constraints": [c.shown() for c in query.constraints],
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


def _chosen(
    world: World, chosen: Ints, candidates: Candidates, x: Floats, scores: Doubles
) -> tuple[Ints, Keys, Floats, Doubles, npt.NDArray[np.uint8]]:
    """(rows, keys, features, scores, sources) of the chosen places [B, K] among the candidates; behind the end the row
    is -1 and all else 0."""
    shape = chosen.shape
    rows, keys = np.full(shape, -1, np.int32), np.zeros(shape, np.uint64)
    features, score = np.zeros((*shape, x.shape[2]), np.float32), np.zeros(shape)
    source = np.zeros(shape, np.uint8)
    _take(
        chosen, candidates.rows, world.catalogue.keys, x, scores, candidates.sources, rows, keys, features, score,
        source,
    )  # fmt: skip
    return rows, keys, features, score, source


@kernel(
    reads("int32", 2), reads("int32", 2), reads("uint64"), reads("float32", 3), reads("float64", 2), reads("uint8", 2),
    fills("int32", 2), fills("uint64", 2), fills("float32", 3), fills("float64", 2), fills("uint8", 2),
)  # fmt: skip
def _take(
    chosen: Ints, all_rows: Ints, all_keys: Keys, all_features: Floats, all_scores: Doubles,
    all_sources: npt.NDArray[np.uint8], rows: Ints, keys: Keys, features: Floats, scores: Doubles,
    sources: npt.NDArray[np.uint8],
) -> None:  # fmt: skip
    for b in range(len(chosen)):
        for k in range(chosen.shape[1]):
            place = chosen[b, k]
            if place >= 0:
                row = all_rows[b, place]
                rows[b, k], keys[b, k] = row, all_keys[row]
                features[b, k] = all_features[b, place]
                scores[b, k], sources[b, k] = all_scores[b, place], all_sources[b, place]


def _reply(world: World, query: Query, said: Understanding | None, rows: list[int]) -> str | None:
    if said is None:
        return None
    titles = [world.catalogue.items[r].title for r in rows[:NAMED_IN_REPLY]]
    return reply(said.language, said.constraints, query.constraints, titles, said.retracted, said.query)
