"""Query: one ranking that is due, with the user as of its trigger. What flows from the fold to the slate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from recsys.actions import kept_out_codes
from recsys.compiled import dot, fills, kernel, reads
from recsys.evidence import Evidence, evidence_of, seen_keys
from recsys.features import CONTEXT
from recsys.fixed import Fixed
from recsys.keys import item_keys
from recsys.policy import Policy
from recsys.user import KEY_MASK, Condition, User
from recsys.world import World

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
_KEY_MASK = np.uint64(KEY_MASK)
QUERY_SHARE = 0.7
"""How much of the words' vector is the query itself, where the user has said other things before."""


@dataclass(slots=True)
class Query:
    """`user` is a private copy as of the trigger. `source` is the trigger's place in the step's batch."""

    source: int
    user: User
    event_id: str
    event_type: str
    ts: int
    kind: str = "ranking"
    k: int = 10
    text: str | None = None  # what to look for
    said: str | None = None  # the same in the user's own words, for reasons; None: as `text`
    constraints: tuple[Condition, ...] = ()
    exclude: Sequence[str] = ()
    candidates: Sequence[str] | None = None
    like_items: Sequence[str] = ()
    surface: str | None = None
    asked: bool = False  # the user asked for something: help articles may answer


@dataclass
class Block:
    """A block of queries as arrays; B queries, S evidence rows each."""

    queries: Sequence[Query]
    evidence: Evidence
    rows: Ints  # [B, S] catalogue rows of the evidence; -1: unknown item or padding
    now: npt.NDArray[np.int64]  # [B] ms
    profile: Floats  # [B, dim] unit vectors, or zeros where nothing is known
    session: Floats
    words: Floats
    texts: list[list[tuple[str, str]]] = field(default_factory=list)  # [B] of (event id, text), the query first

    @cached_property
    def liked(self) -> npt.NDArray[np.bool_]:
        """bool[B, S]: what the user took to."""
        return self.evidence.weights > 0

    @cached_property
    def context(self) -> Floats:
        """float32[B, len(recsys.features.CONTEXT)]: what holds of the moment of each query."""
        lines = np.empty((len(self.now), len(CONTEXT)), np.float32)
        _moments(self.evidence.keys, self.evidence.ts, self.now, lines)
        return lines


def block_of(world: World, queries: Sequence[Query], policy: Policy, weights: Floats, *, vectors: bool = True) -> Block:
    """`weights` is `recsys.actions.code_weights(policy)`. Without `vectors` those stay zero (a profile needs none)."""
    now = np.fromiter((q.ts for q in queries), np.int64, len(queries))
    evidence = evidence_of([q.user for q in queries], now // 1000, policy, weights)
    rows = world.catalogue.rows_of_keys(evidence.keys)
    start = np.fromiter((q.user.session_start_s for q in queries), np.int64, len(queries))
    profile, session = _mean_vectors(world, rows, evidence.weights, evidence.ts, start)
    for at, query in enumerate(queries):
        if query.like_items:
            liked = world.catalogue.rows_of_keys(item_keys(query.like_items[:50]))[None]
            none = np.zeros(liked.shape, np.int64)
            profile[at] = _mean_vectors(world, liked, np.ones(liked.shape, np.float32), none, none[0, :1])[0][0]
    texts = [_texts(q) for q in queries]
    return Block(queries, evidence, rows, now, profile, session, _words_vectors(world, queries, texts), texts)


def _mean_vectors(
    world: World, rows: Ints, weights: Floats, ts: npt.NDArray[np.int64], start: npt.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """(profile, session) [B, dim]: the unit vectors of the weighted sums of the rows' vectors, over all rows [B, S] and
    over those that were liked since `start` [B]; zeros where there are none."""
    dense = world.dense
    profile, session = np.zeros((len(rows), dense.dim), np.float32), np.zeros((len(rows), dense.dim), np.float32)
    if dense.dim and world.catalogue.rows:
        _sum_vectors(rows, weights, ts, start, dense.numbers, dense.has, profile, session)
    return profile, session


@kernel(
    reads("int32", 2), reads("float32", 2), reads("int64", 2), reads("int64"), reads("int16", 2), reads("bool"),
    fills("float32", 2), fills("float32", 2),
)  # fmt: skip
def _sum_vectors(
    rows: Ints, weights: Floats, ts: npt.NDArray[np.int64], start: npt.NDArray[np.int64], vectors: Fixed,
    has: npt.NDArray[np.bool_], profile: Floats, session: Floats,
) -> None:  # fmt: skip
    """Adds up what `_mean_vectors` gives, onto zeros. Dislikes pull the profile away with half their weight."""
    for b in range(len(rows)):
        whole, lately = profile[b], session[b]
        for s in range(rows.shape[1]):
            row, weight = rows[b, s], weights[b, s]
            if row < 0 or weight == 0 or not has[row]:
                continue
            vector = vectors[row]
            pull = weight if weight > 0 else weight * np.float32(0.5)
            for i in range(len(vector)):
                whole[i] += pull * np.float32(vector[i])
            if weight > 0 and ts[b, s] >= start[b]:
                for i in range(len(vector)):
                    lately[i] += weight * np.float32(vector[i])
        for total in (whole, lately):
            norm = np.sqrt(dot(total, total))
            for i in range(len(total)):
                total[i] = total[i] / norm if norm > 1e-6 else np.float32(0)


@kernel(reads("uint64", 2), reads("int64", 2), reads("int64"), fills("float32", 2))
def _moments(
    keys: npt.NDArray[np.uint64], ts: npt.NDArray[np.int64], now: npt.NDArray[np.int64], lines: Floats
) -> None:
    """Fills a line of CONTEXT for each query: always, stranger, newcomer, regular, hot, returning."""
    for b in range(len(keys)):
        many = 0
        for s in range(keys.shape[1]):
            many += keys[b, s] > 0
        idle_s = now[b] // 1000 - ts[b, -1]
        line = lines[b]
        line[0] = 1
        line[1] = many == 0
        line[2] = 0 < many < 3
        line[3] = many >= 10
        line[4] = many > 0 and idle_s < 86_400
        line[5] = many > 0 and idle_s > 60 * 86_400


def _texts(query: Query) -> list[tuple[str, str]]:
    if not (query.text or query.user.words or query.user.statements):
        return []
    said = [(w.event_id, w.text) for w in reversed(query.user.words) if w.event_id != query.event_id]
    own = [(s.statement_id, s.text) for s in query.user.statements if s.state in ("added", "pinned") and s.text]
    first = [(query.event_id, query.said or query.text)] if query.text else []
    return [*first, *said, *own]


def _words_vectors(world: World, queries: Sequence[Query], texts: list[list[tuple[str, str]]]) -> Floats:
    out = np.zeros((len(queries), world.dense.dim), np.float32)
    for at, (query, said) in enumerate(zip(queries, texts, strict=True)):
        if not said:
            continue
        vectors = [world.encode(text) for _, text in said]
        if query.text:
            vectors[0] = world.encode(query.text)
        rest = vectors[1:] if query.text else vectors
        total = np.zeros(world.dense.dim, np.float32)
        for age, vector in enumerate(rest):
            total += vector * np.float32(0.5**age)
        if query.text:
            norm = float(np.sqrt(total @ total))
            total = vectors[0] * np.float32(QUERY_SHARE) + total * np.float32((1 - QUERY_SHARE) / max(norm, 1e-6))
        norm = float(np.sqrt(total @ total))
        out[at] = total / np.float32(norm) if norm > 1e-6 else 0
    return out


def kept_out(query: Query, policy: Policy) -> npt.NDArray[np.uint64]:
    """uint64[n]: keys that may not be offered: seen items (by the policy's actions) and the request's exclusions."""
    packed, named = seen_keys(query.user), [*query.exclude, *query.like_items]
    packed = packed[kept_out_codes(policy)[packed >> np.uint64(48)]]
    keys: npt.NDArray[np.uint64] = packed & _KEY_MASK
    return np.concatenate([keys, item_keys(named)]) if named else keys
