"""Query: one ranking that is due, with the user as of its trigger. What flows from the fold to the slate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from recsys.actions import CODES
from recsys.evidence import Evidence, evidence_of, seen_keys
from recsys.features import CONTEXT
from recsys.keys import item_keys
from recsys.policy import Policy
from recsys.user import KEY_MASK, User
from recsys.world import World
from schemas.constraints import Constraint

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
    constraints: tuple[Constraint, ...] = ()
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
        many = (self.evidence.keys > 0).sum(axis=1)
        idle = self.now // 1000 - self.evidence.ts[:, -1]
        lines = np.empty((len(many), len(CONTEXT)), np.float32)
        lines[:, 0] = 1
        lines[:, 1] = many == 0
        lines[:, 2] = (many > 0) & (many < 3)
        lines[:, 3] = many >= 10
        lines[:, 4] = (many > 0) & (idle < 86_400)
        lines[:, 5] = (many > 0) & (idle > 60 * 86_400)
        return lines


def block_of(world: World, queries: Sequence[Query], policy: Policy, weights: Floats, *, vectors: bool = True) -> Block:
    """`weights` is `recsys.actions.code_weights(policy)`. Without `vectors` those stay zero (a profile needs none)."""
    now = np.fromiter((q.ts for q in queries), np.int64, len(queries))
    evidence = evidence_of([q.user for q in queries], now // 1000, policy, weights)
    rows = world.catalogue.rows_of_keys(evidence.keys)
    start = np.fromiter((q.user.session_start_s for q in queries), np.int64, len(queries))
    in_session = np.where(evidence.ts >= start[:, None], np.maximum(evidence.weights, 0), np.float32(0))
    profile, session = _mean_vectors(world, rows, evidence.weights, in_session)
    for at, query in enumerate(queries):
        if query.like_items:
            liked = world.catalogue.rows_of_keys(item_keys(query.like_items[:50]))[None]
            profile[at] = _mean_vectors(world, liked, np.ones(liked.shape, np.float32))[0][0]
    texts = [_texts(q) for q in queries]
    return Block(queries, evidence, rows, now, profile, session, _words_vectors(world, queries, texts), texts)


def _mean_vectors(world: World, rows: Ints, *weightings: Floats) -> list[Floats]:
    """[B, dim] for each weighting [B, S]: the unit vector of the weighted sum of the rows' vectors. Dislikes pull away
    with half their weight."""
    dense = world.dense
    if not dense.dim or not world.catalogue.rows:
        return [np.zeros((len(rows), dense.dim), np.float32) for _ in weightings]
    known = (rows >= 0) & dense.has[rows]
    vectors = dense.vectors[np.where(known, rows, 0)]
    found: list[Floats] = []
    for weights in weightings:
        w = np.where(known, np.where(weights < 0, weights * np.float32(0.5), weights), np.float32(0))
        # einsum adds the rows in order, one user at a time: the sum is the same in every batch
        total = np.einsum("bs,bsd->bd", w, vectors)
        norm = np.sqrt(np.einsum("bd,bd->b", total, total))[:, None]
        found.append(total / np.where(norm > 1e-6, norm, np.float32(1)) * (norm > 1e-6))
    return found


def _texts(query: Query) -> list[tuple[str, str]]:
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
    if policy.keep_out_actions is not None:
        codes = [CODES[a] for a in policy.keep_out_actions if a in CODES]
        if any(a not in CODES for a in policy.keep_out_actions):
            codes += [CODES["other"], CODES["other-"]]
        packed = packed[np.isin(packed >> np.uint64(48), np.array(codes, np.uint64))]
    keys: npt.NDArray[np.uint64] = packed & _KEY_MASK
    return np.concatenate([keys, item_keys(named)]) if named else keys
