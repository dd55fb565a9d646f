"""Retrieve: from the whole catalogue to about two hundred candidates, each with the retriever that found it.

In: a World and a Block of queries. Out: candidate rows int32[B, C] (-1 padded) with their source, already clean of
what may not be offered. Retrievers run for the whole block at once; only queries that name their candidates or carry
conditions are looked at one by one.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.keys import item_keys
from recsys.policy import Policy
from recsys.query import Block, Query, context_of, kept_out
from recsys.sequence import LENGTH
from recsys.text import terms
from recsys.world import World

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Keys = npt.NDArray[np.uint64]

SOURCES = (
    "lexical", "words", "together", "session", "trending", "new", "category", "similar", "popular", "named", "general",
    "next",
)  # fmt: skip
CODE = {name: code for code, name in enumerate(SOURCES)}
ANCHORS = 10
"""Latest liked items whose neighbours are candidates."""
# places by retriever; `similar` is last and takes what the others leave
PLACES = {
    "lexical": 50, "words": 60, "together": 70, "session": 20, "trending": 20, "new": 12, "category": 30, "general": 60,
    "next": 80,
}  # fmt: skip
_ALL_AT_ONCE = 20_000
_DOUBT = 5.0  # so much weight an item needs before its shares are believed
_KEY = np.uint64(48)


@dataclass(slots=True)
class Neighbours:
    """Co-visitation of a block, flat and sorted by (query << 48 | item key): summed weights over the anchors."""

    codes: Keys
    weights: Floats  # over the ANCHORS latest liked items, each by its own evidence
    last: Floats  # of the very last liked item alone
    shares: Floats  # of all that goes together with an anchor, summed over the anchors
    lifts: Floats  # weight by the root of the anchor's popularity, summed over the anchors
    anchors: Ints  # the evidence column of the liked item that speaks most for it

    @classmethod
    def none(cls) -> Neighbours:
        zero = np.zeros(0, np.float32)
        return cls(np.zeros(0, np.uint64), zero, zero, zero, zero, np.zeros(0, np.int32))

    def places(self, keys: Keys) -> npt.NDArray[np.int64]:
        """int64[B, C] for item keys [B, C]: where each stands in `codes`, -1 where it does not."""
        if not len(self.codes):
            return np.full(keys.shape, -1)
        wanted = (np.arange(len(keys), dtype=np.uint64) << _KEY)[:, None] | keys
        at = np.minimum(np.searchsorted(self.codes, wanted), len(self.codes) - 1)
        return np.where(self.codes[at] == wanted, at, -1)


@dataclass(slots=True)
class Candidates:
    """`rows` [B, C], -1 padded behind; `sources` are codes into SOURCES; `lexical` is BM25 by candidate."""

    rows: Ints
    sources: npt.NDArray[np.uint8]
    lexical: Floats
    neighbours: Neighbours
    users: Floats  # [B, D] the sequence model's vectors of the users
    anchors: Ints  # [B, ANCHORS] catalogue rows of the items that neighbours were looked for, newest first, -1 padded


def anchors_of(block: Block) -> tuple[Keys, Floats, Ints]:
    """([B, ANCHORS] keys, weights, evidence columns) of the latest items the user took to, newest first; 0 where there
    are fewer."""
    liked = block.evidence.weights > 0
    place = np.where(liked, np.arange(liked.shape[1]), -1)
    newest = np.argsort(-place, axis=1, kind="stable")[:, :ANCHORS]
    line = np.arange(len(newest))[:, None]
    keys, weights, on = block.evidence.keys[line, newest], block.evidence.weights[line, newest], liked[line, newest]
    return np.where(on, keys, np.uint64(0)), np.where(on, weights, 0).astype(np.float32), newest.astype(np.int32)


def neighbours_of(world: World, keys: Keys, weights: Floats, columns: Ints) -> Neighbours:
    """Sums the co-visitation rows of each query's anchors. An anchor counts by log1p of its weight and by its age in
    steps (newest 1, then 1/2, 1/3 ...)."""
    stats = world.statistics
    b, a = keys.shape
    at = stats.take(keys.ravel()).reshape(b, a) if len(stats.keys) else np.full((b, a), -1)
    flat = np.flatnonzero((at >= 0).ravel())
    if not len(flat):
        return Neighbours.none()
    query, step = flat // a, flat % a
    found = at.ravel()[flat]
    near, weight = stats.neighbours[found], stats.neighbour_weights[found]
    used = near > 0
    codes = ((query.astype(np.uint64) << _KEY)[:, None] | near)[used]
    if not len(codes):
        return Neighbours.none()
    factors = np.stack(
        [
            np.log1p(weights.ravel()[flat]) / (1 + step),
            step == 0,
            1 / (weight.sum(axis=1) + _DOUBT),
            1 / np.sqrt(stats.popularity[found, -1] + _DOUBT),
        ],
        axis=1,
    )
    line = np.repeat(np.arange(len(flat)), used.sum(axis=1))
    parts = weight[used].astype(np.float64)[:, None] * factors[line]
    order = np.argsort(codes, kind="stable")
    codes, parts = codes[order], parts[order]
    column = columns.ravel()[flat][line[order]]
    starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
    summed = parts[:, 0].astype(np.float32)
    most = np.repeat(np.maximum.reduceat(summed, starts), np.diff(np.append(starts, len(codes))))
    sums = np.ascontiguousarray(np.add.reduceat(parts, starts, axis=0).T, np.float32)
    anchors = np.maximum.reduceat(np.where(summed == most, column, -1), starts).astype(np.int32)
    return Neighbours(codes[starts], sums[0], sums[1], sums[2], sums[3], anchors)


@dataclass(slots=True)
class Near:
    """What the dense index finds for a block: rows [B, n] by what was said and by taste, -1 padded."""

    words: Ints
    taste: Ints
    next: Ints  # by the sequence model
    users: Floats  # [B, D] the sequence model's vectors of the users


def search(world: World, block: Block, policy: Policy, pool: Executor | None = None) -> Near:
    """Asks the dense index, for the queries that leave the choice to us. Most of it runs without Python's lock; half of
    it on a thread of `pool`, if there is one."""
    free = np.fromiter((q.candidates is None and not q.constraints for q in block.queries), bool, len(block.queries))
    taste = block.profile + block.session * np.float32(0.5)
    words = _near(world, block.words, free, PLACES["words"], pool)
    return Near(words, _near(world, taste, free, policy.candidates, pool), *_next(world, block))


def _next(world: World, block: Block) -> tuple[Ints, Floats]:
    """([B, places] rows that the sequence model expects next, best first; [B, D] its vectors of the users)."""
    b = len(block.queries)
    if world.sequence is None or not world.catalogue.rows:
        return np.full((b, 0), -1, np.int32), np.zeros((b, 0), np.float32)
    into = world.sequence_items[0]
    liked = (block.evidence.weights > 0) & (block.rows >= 0)
    order = np.argsort(liked, axis=1, kind="stable")  # what counts to the end, in its order
    user = np.arange(b)
    rows = np.where(liked[user[:, None], order], block.rows[user[:, None], order], -1)
    last = block.evidence.ts[user, order[:, -1]]
    users = world.sequence.users(into, rows[:, -LENGTH:].astype(np.int32), block.now // 1000 - last)
    pool, out, base = world.sequence_pool
    order = world.catalogue.order[pool].astype(np.int64)
    best = np.full((b, PLACES["next"]), -1, np.int32)
    for line in np.flatnonzero(liked.any(axis=1)).tolist():
        value = np.round((out @ users[line] + base).astype(np.float64) * 1e6).astype(np.int64)
        rank = -(value << 32) + order  # by falling score, ties by item_id
        first = np.argpartition(rank, PLACES["next"])[: PLACES["next"]] if len(rank) > PLACES["next"] else slice(None)
        found = pool[first][np.argsort(rank[first], kind="stable")]
        best[line, : len(found)] = found
    return best, users


def _near(world: World, vectors: Floats, free: npt.NDArray[np.bool_], n: int, pool: Executor | None) -> Ints:
    asked = np.flatnonzero(free & vectors.any(axis=1)) if world.dense.dim else np.zeros(0, np.int64)
    if not len(asked):
        return np.full((len(vectors), 0), -1, np.int32)
    near = world.dense.search(vectors[asked], n, pool)
    out = np.full((len(vectors), near.shape[1]), -1, np.int32)
    out[asked] = near
    return out


def retrieve(world: World, block: Block, near: Near, policy: Policy) -> Candidates:
    """Candidates of every query of the block, `near` being what `search` found for it; see the module's docstring."""
    b, c = len(block.queries), policy.candidates
    keys, weights, columns = anchors_of(block)
    neighbours = neighbours_of(world, keys, weights, columns)
    anchors = np.where(keys > 0, block.rows[np.arange(b)[:, None], columns], -1).astype(np.int32)
    named = [q for q in block.queries if q.candidates is not None]
    width = max([c, *(len(q.candidates or ()) for q in named)])
    rows, sources = np.full((b, width), -1, np.int32), np.zeros((b, width), np.uint8)
    lexical = [_lexical(world, block, at) for at in range(b)]
    plain = [at for at, q in enumerate(block.queries) if q.candidates is None and not q.constraints]
    if plain and world.catalogue.rows:
        found, source = _generate(world, block, np.array(plain), near, neighbours, lexical, policy)
        rows[plain, :c], sources[plain, :c] = found, source
    for at, query in enumerate(block.queries):
        if query.candidates is not None:
            chosen = _named(world, query)
            rows[at, : len(chosen)], sources[at] = chosen, CODE["named"]
        elif query.constraints:
            chosen, source = _conditioned(world, block, at, neighbours, lexical[at], policy)
            rows[at, : len(chosen)], sources[at, : len(chosen)] = chosen, source
        elif world.catalogue.rows and (rows[at] >= 0).sum() < max(query.k, 1):
            _fill(world, query, policy, rows[at], sources[at])
    scores = np.zeros((b, width), np.float32)
    for at, score in enumerate(lexical):
        if score is not None:
            scores[at] = np.where(rows[at] >= 0, score[rows[at]], 0)
    return Candidates(rows, sources, scores, neighbours, near.users, anchors)


def _lexical(world: World, block: Block, at: int) -> Floats | None:
    """float32[rows]: BM25 of the query's text, or, without one, of what the user said lately at half weight."""
    said = block.texts[at]
    if not said or not world.catalogue.rows:
        return None
    asked = block.queries[at].text is not None
    words = terms(block.queries[at].text or "") if asked else [t for _, text in said[:2] for t in terms(text)]
    if not words:
        return None
    return world.lexical.scores(words, world.catalogue.rows) * np.float32(1.0 if asked else 0.5)


def _generate(
    world: World,
    block: Block,
    at: npt.NDArray[np.int64],
    near: Near,
    neighbours: Neighbours,
    lexical: list[Floats | None],
    policy: Policy,
) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """Rows [b, candidates] of the queries `at` from every retriever, merged: the first retriever to name an item is
    its source."""
    parts: list[tuple[str, Ints]] = []
    b, catalogue = len(at), world.catalogue
    found = np.full((b, PLACES["lexical"]), -1, np.int32)
    for place, query in enumerate(at):
        score = lexical[query]
        if score is not None:
            best = world.best(score, world.offered & (score > 0), PLACES["lexical"])
            found[place, : len(best)] = best
    parts.append(("lexical", found))
    parts.append(("words", near.words[at]))
    parts.append(("session", _top_neighbours(world, neighbours, neighbours.last, at, PLACES["session"])))
    parts.append(("together", _top_neighbours(world, neighbours, neighbours.weights, at, PLACES["together"])))
    parts.append(("next", near.next[at]))
    parts.append(("general", _general(world, block, at)))
    for name, shared in (("trending", world.trending), ("new", world.newest)):
        rows = shared[: PLACES[name]]
        parts.append((name, np.broadcast_to(rows, (b, len(rows)))))
    parts.append(("category", _of_categories(world, block, at)))
    parts.append(("similar", near.taste[at]))
    popular = world.popular[: max(20, policy.candidates // 4)]
    parts.append(("popular", np.broadcast_to(popular, (b, len(popular)))))

    rows = np.concatenate([p for _, p in parts], axis=1)
    sources = np.concatenate([np.full(p.shape[1], CODE[name], np.uint8) for name, p in parts])
    ok = _first_of_each(rows) & _offerable(world, block, at, rows)
    out: list[Ints] = [kept_out(block.queries[q], policy) for q in at]  # type: ignore[misc]
    codes = np.concatenate([k | (np.uint64(i) << _KEY) for i, k in enumerate(out)]) if out else np.zeros(0, np.uint64)
    if len(codes):
        codes.sort()
        mine = catalogue.keys[np.maximum(rows, 0)] | (np.arange(b, dtype=np.uint64) << _KEY)[:, None]
        ok &= codes[np.minimum(np.searchsorted(codes, mine), len(codes) - 1)] != mine
    first = np.argsort(~ok, axis=1, kind="stable")[:, : policy.candidates]
    line = np.arange(b)[:, None]
    result = np.where(ok[line, first], rows[line, first], -1).astype(np.int32)
    source = sources[first]
    short = policy.candidates - result.shape[1]
    if short > 0:
        result = np.pad(result, ((0, 0), (0, short)), constant_values=-1)
        source = np.pad(source, ((0, 0), (0, short)))
    return result, source


def _first_of_each(rows: Ints) -> npt.NDArray[np.bool_]:
    """bool like `rows`: true where a row stands for the first time in its line (and is no padding)."""
    order = np.argsort(rows, axis=1, kind="stable")
    line = np.arange(len(rows))[:, None]
    ordered = rows[line, order]
    first = ordered >= 0
    first[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    out = np.empty(rows.shape, bool)
    out[line, order] = first
    return out


def _offerable(world: World, block: Block, at: npt.NDArray[np.int64], rows: Ints) -> npt.NDArray[np.bool_]:
    safe = np.maximum(rows, 0)
    asked = np.fromiter((block.queries[q].asked for q in at), bool, len(at))
    ok = world.offered[safe] & (asked[:, None] | ~world.catalogue.help[safe])
    return ok & (world.catalogue.expires[safe] > block.now[at][:, None])


def _top_neighbours(world: World, neighbours: Neighbours, weights: Floats, at: npt.NDArray[np.int64], n: int) -> Ints:
    """[b, n]: rows of the heaviest neighbours by `weights` (one a code of `neighbours`), ties by item_id."""
    out = np.full((len(at), n), -1, np.int32)
    used = np.flatnonzero(weights > 0)
    if not len(used):
        return out
    codes = neighbours.codes[used]
    query = (codes >> _KEY).astype(np.int64)
    rows = world.catalogue.rows_of_keys(codes & np.uint64((1 << 48) - 1))
    known = rows >= 0
    query, rows = query[known], rows[known]
    # one number a neighbour sorts by query, then falling weight, then item_id
    steps = np.minimum(np.round(weights[used][known].astype(np.float64) * 1e4), (1 << 28) - 1).astype(np.int64)
    rank = (query << 52) | (((1 << 28) - 1 - steps) << 24) | world.catalogue.order[rows]
    order = np.argsort(rank)
    query, rows = query[order], rows[order]
    starts = np.searchsorted(query, np.arange(query.max(initial=-1) + 2))
    place = np.arange(len(query)) - starts[query]
    where = np.full(int(max(query.max(initial=-1), at.max())) + 1, -1)
    where[at] = np.arange(len(at))
    keep = (place < n) & (where[query] >= 0)
    out[where[query[keep]], place[keep]] = rows[keep]
    return out


def _general(world: World, block: Block, at: npt.NDArray[np.int64]) -> Ints:
    """[b, places]: the best by what is the same for everybody, as the ranker weighs it for the moment of each query."""
    best = np.full((len(at), PLACES["general"]), -1, np.int32)
    for line, context in enumerate(context_of(block)[at]):
        rows = world.best_in_general(context.tobytes())[: PLACES["general"]]
        best[line, : len(rows)] = rows
    return best


def _of_categories(world: World, block: Block, at: npt.NDArray[np.int64]) -> Ints:
    """[b, places]: the best of the two categories that the user's evidence weighs most."""
    n = PLACES["category"] // 2
    out = np.full((len(at), 2 * n), -1, np.int32)
    rows, weights = block.rows[at], block.evidence.weights[at]
    first = np.where((rows >= 0) & (weights > 0), world.catalogue.categories[np.maximum(rows, 0), 0], -1)
    for place in range(len(at)):
        known = first[place] >= 0
        if known.any():
            total = np.bincount(first[place][known], weights[place][known])
            names = world.catalogue.category_names.all
            top = sorted(np.flatnonzero(total), key=lambda c: (-round(float(total[c]), 4), names[c]))[:2]
            for half, category in enumerate(top):
                best = world.best_in_category(int(category), n)[:n]
                out[place, half * n : half * n + len(best)] = best
    return out


def _allowed(world: World, query: Query) -> npt.NDArray[np.bool_]:
    ok = (world.offered if query.asked else world.shop) & (world.catalogue.expires > query.ts)
    if query.constraints:
        ok = ok & world.masks.allowed(world.catalogue, query.constraints)
    return ok


def _named(world: World, query: Query) -> Ints:
    """The rows of a request's own candidates that exist and may be offered; seen ones too."""
    rows = [world.catalogue.row_of.get(i, -1) for i in dict.fromkeys(query.candidates or ())]
    named = np.array([r for r in rows if r >= 0], np.int32)
    ok = world.offered & (world.catalogue.expires > query.ts)
    if query.constraints:
        ok = ok & world.masks.allowed(world.catalogue, query.constraints)
    excluded = world.catalogue.rows_of_keys(item_keys(query.exclude))
    return named[ok[named] & ~np.isin(named, excluded)] if len(named) else named


def _conditioned(
    world: World, block: Block, at: int, neighbours: Neighbours, lexical: Floats | None, policy: Policy
) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """The best of everything that the conditions allow, by words, nearness, company and popularity."""
    query = block.queries[at]
    if not world.catalogue.rows:
        return np.zeros(0, np.int32), np.zeros(0, np.uint8)
    allowed = _allowed(world, query)
    out = world.catalogue.rows_of_keys(kept_out(query, policy))
    allowed[out[out >= 0]] = False
    rows = world.by_popularity[allowed[world.by_popularity]][:_ALL_AT_ONCE]
    if not len(rows):
        return rows, np.zeros(0, np.uint8)
    parts = np.zeros((4, len(rows)), np.float32)
    if lexical is not None:
        parts[0] = lexical[rows] / (lexical[rows] + 4) * 2
    if world.dense.dim:
        known = world.dense.has[rows]
        vectors = world.dense.vectors[rows[known]]
        parts[1, known] = np.einsum("nd,d->n", vectors, block.words[at]) * 1.6
        parts[2, known] = np.einsum("nd,d->n", vectors, block.profile[at])
    keys = np.zeros((at + 1, len(rows)), np.uint64)
    keys[at] = world.catalogue.keys[rows]
    place = neighbours.places(keys)[at]
    company = np.where(place >= 0, neighbours.weights[place], 0) if len(neighbours.codes) else np.zeros(len(rows))
    parts[3] = np.log1p(company) + world.popularity[rows, 2]
    total = np.zeros(world.catalogue.rows, np.float32)
    total[rows] = np.round(parts.sum(axis=0), 4)
    best = world.best(total, allowed, policy.candidates)
    best = best[np.isin(best, rows)]
    sources = np.array([CODE["lexical"], CODE["words"], CODE["similar"], CODE["popular"]], np.uint8)
    line = {int(r): i for i, r in enumerate(rows)}
    return best, sources[parts[:, [line[int(r)] for r in best]].argmax(axis=0)]


def _fill(world: World, query: Query, policy: Policy, rows: Ints, sources: npt.NDArray[np.uint8]) -> None:
    """Fewer than k only where fewer remain: tops the candidates up with the most popular that may be offered."""
    allowed = _allowed(world, query)
    out = world.catalogue.rows_of_keys(kept_out(query, policy))
    allowed[out[out >= 0]] = False
    have = int((rows >= 0).sum())
    allowed[rows[:have]] = False
    more = world.by_popularity[allowed[world.by_popularity]][: min(query.k + policy.exploration_pool, len(rows)) - have]
    rows[have : have + len(more)] = more
    sources[have : have + len(more)] = CODE["popular"]
