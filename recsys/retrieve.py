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
from recsys.query import Block, Query, kept_out
from recsys.sequence import LENGTH
from recsys.text import terms
from recsys.user import KEY_MASK
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
_KEY, _KEY_MASK = np.uint64(48), np.uint64(KEY_MASK)


@dataclass(slots=True)
class Neighbours:
    """Co-visitation of a block, flat and sorted by (query << 48 | item key): summed weights over the anchors."""

    codes: Keys
    weights: Floats  # over the ANCHORS latest liked items, each by its own evidence
    last: Floats  # of the very last liked item alone
    shares: Floats  # of all that goes together with an anchor, summed over the anchors
    lifts: Floats  # weight by the root of the anchor's popularity, summed over the anchors
    anchors: Ints  # the evidence column of the liked item that speaks most for it
    rows: Ints  # catalogue rows, -1 for unknown items

    @classmethod
    def none(cls) -> Neighbours:
        zero, nowhere = np.zeros(0, np.float32), np.zeros(0, np.int32)
        return cls(np.zeros(0, np.uint64), zero, zero, zero, zero, nowhere, nowhere)

    def places(self, keys: Keys) -> npt.NDArray[np.int64]:
        """int64[B, C] for item keys [B, C]: where each stands in `codes`, -1 where it does not."""
        if not len(self.codes):
            return np.full(keys.shape, -1)
        wanted = (np.arange(len(keys), dtype=np.uint64) << _KEY)[:, None] | keys
        at = self.codes.searchsorted(wanted)
        at[self.codes.take(at, mode="clip") != wanted] = -1
        return at


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
    liked = block.liked
    place = np.where(liked, -np.arange(liked.shape[1]), 1)
    newest = place.argsort(axis=1, kind="stable")[:, :ANCHORS]
    line = np.arange(len(newest))[:, None]
    on = liked[line, newest]
    keys, weights = block.evidence.keys[line, newest] * on, block.evidence.weights[line, newest] * on
    return keys, weights, newest.astype(np.int32)


def neighbours_of(world: World, keys: Keys, weights: Floats, columns: Ints) -> Neighbours:
    """Sums the co-visitation rows of each query's anchors. An anchor counts by log1p of its weight and by its age in
    steps (newest 1, then 1/2, 1/3 ...)."""
    stats = world.statistics
    at = stats.take(keys.ravel())
    flat = (at >= 0).nonzero()[0]
    if not len(flat):
        return Neighbours.none()
    query, step = np.divmod(flat, keys.shape[1])
    found = at[flat]
    near, weight = stats.neighbours[found], stats.neighbour_weights[found]
    used = near.ravel().nonzero()[0]
    if not len(used):
        return Neighbours.none()
    factors = np.empty((len(flat), 4))
    factors[:, 0] = np.log1p(weights.ravel()[flat]) / (1 + step)
    factors[:, 1] = step == 0
    factors[:, 2] = 1 / (weight.sum(axis=1) + _DOUBT)
    factors[:, 3] = 1 / np.sqrt(stats.popularity[found, -1] + _DOUBT)
    codes = ((query.astype(np.uint64) << _KEY)[:, None] | near).take(used)
    order = codes.argsort(kind="stable")
    codes, used = codes[order], used[order]
    line = used // near.shape[1]
    parts = weight.take(used)[:, None] * factors.take(line, axis=0)
    new = np.empty(len(codes), bool)
    new[0] = True
    np.not_equal(codes[1:], codes[:-1], out=new[1:])
    starts = new.nonzero()[0]
    codes = codes[starts]
    summed = parts[:, 0].astype(np.float32)
    most = np.maximum.reduceat(summed, starts)[new.cumsum() - 1]
    sums = np.ascontiguousarray(np.add.reduceat(parts, starts, axis=0).T, np.float32)
    anchors = np.maximum.reduceat(np.where(summed == most, columns.ravel()[flat][line], -1), starts)
    rows = world.catalogue.rows_of_keys(codes & _KEY_MASK)
    return Neighbours(codes, sums[0], sums[1], sums[2], sums[3], anchors, rows)


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
    spoke = free & np.fromiter(map(bool, block.texts), bool, len(block.texts))
    words = _near(world, block.words, spoke, PLACES["words"], pool)
    return Near(words, _near(world, taste, free, policy.candidates, pool), *_next(world, block))


def _next(world: World, block: Block) -> tuple[Ints, Floats]:
    """([B, places] rows that the sequence model expects next, best first; [B, D] its vectors of the users)."""
    b = len(block.queries)
    if world.sequence is None or not world.catalogue.rows:
        return np.full((b, 0), -1, np.int32), np.zeros((b, 0), np.float32)
    into = world.sequence_items[0]
    liked = block.liked & (block.rows >= 0)
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
    none = np.full((len(vectors), 0), -1, np.int32)
    if not world.dense.dim or not free.any():
        return none
    asked = (free & vectors.any(axis=1)).nonzero()[0]
    if not len(asked):
        return none
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
    many = (rows >= 0).sum(axis=1).tolist()
    for at, query in enumerate(block.queries):
        if query.candidates is not None:
            chosen = _named(world, query)
            rows[at, : len(chosen)], sources[at] = chosen, CODE["named"]
        elif query.constraints:
            chosen, source = _conditioned(world, block, at, neighbours, lexical[at], policy)
            rows[at, : len(chosen)], sources[at, : len(chosen)] = chosen, source
        elif world.catalogue.rows and many[at] < max(query.k, 1):
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
    by_words = np.full((b, PLACES["lexical"]), -1, np.int32)
    for line, query in enumerate(at.tolist()):
        score = lexical[query]
        if score is not None:
            best = world.best(score, world.offered & (score > 0), PLACES["lexical"])
            by_words[line, : len(best)] = best
    parts.append(("lexical", by_words))
    parts.append(("words", near.words[at]))
    whole = len(block.queries)
    parts.append(("session", _top_neighbours(world, neighbours, neighbours.last, whole, PLACES["session"])[at]))
    parts.append(("together", _top_neighbours(world, neighbours, neighbours.weights, whole, PLACES["together"])[at]))
    parts.append(("next", near.next[at]))
    parts.append(("general", _general(world, block, at)))
    parts.append(("trending", world.trending[: PLACES["trending"]]))
    parts.append(("new", world.newest[: PLACES["new"]]))
    parts.append(("category", _of_categories(world, block, at)))
    parts.append(("similar", near.taste[at]))
    parts.append(("popular", world.popular[: max(20, policy.candidates // 4)]))

    width = sum(found.shape[-1] for _, found in parts)
    rows, sources, end = np.empty((b, width), np.int32), np.empty(width, np.uint8), 0
    for name, found in parts:
        place = slice(end, end := end + found.shape[-1])
        rows[:, place], sources[place] = found, CODE[name]
    ok = _first_of_each(rows) & _offerable(world, block, at, rows)
    out = [kept_out(block.queries[q], policy) for q in at]
    own = np.arange(b, dtype=np.uint64) << _KEY
    codes = np.concatenate(out) | own.repeat([len(keys) for keys in out])
    if len(codes):
        codes.sort()
        mine = catalogue.keys.take(rows, mode="clip") | own[:, None]
        ok &= codes.take(codes.searchsorted(mine), mode="clip") != mine
    first = (~ok).argsort(axis=1, kind="stable")[:, : policy.candidates]
    own_line = np.arange(b)[:, None]
    result = np.where(ok[own_line, first], rows[own_line, first], np.int32(-1))
    source = sources[first]
    short = policy.candidates - result.shape[1]
    if short > 0:
        result = np.pad(result, ((0, 0), (0, short)), constant_values=-1)
        source = np.pad(source, ((0, 0), (0, short)))
    return result, source


def _first_of_each(rows: Ints) -> npt.NDArray[np.bool_]:
    """bool like `rows`: true where a row stands for the first time in its line (and is no padding)."""
    order = rows.argsort(axis=1, kind="stable")
    line = np.arange(len(rows))[:, None]
    ordered = rows[line, order]
    first = ordered >= 0
    first[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    out = np.empty(rows.shape, bool)
    out[line, order] = first
    return out


def _offerable(world: World, block: Block, at: npt.NDArray[np.int64], rows: Ints) -> npt.NDArray[np.bool_]:
    asked = np.fromiter((block.queries[q].asked for q in at), bool, len(at))
    ok = world.shop.take(rows, mode="clip")
    if asked.any():
        ok |= asked[:, None] & world.offered.take(rows, mode="clip")
    now = block.now[at]
    if world.first_expiry <= now.max():
        ok &= world.catalogue.expires.take(rows, mode="clip") > now[:, None]
    return ok


def _top_neighbours(world: World, neighbours: Neighbours, weights: Floats, b: int, n: int) -> Ints:
    """[b, n]: rows of the heaviest neighbours by `weights` (one a code of `neighbours`), ties by item_id."""
    out = np.full((b, n), -1, np.int32)
    used = ((weights > 0) & (neighbours.rows >= 0)).nonzero()[0]
    if not len(used):
        return out
    query, rows = (neighbours.codes[used] >> _KEY).astype(np.int64), neighbours.rows[used]
    # one number a neighbour sorts by query, then falling weight, then item_id
    steps = np.minimum(np.rint(weights[used].astype(np.float64) * 1e4), (1 << 28) - 1).astype(np.int64)
    rank = (query << 52) | (((1 << 28) - 1 - steps) << 24) | world.catalogue.order[rows]
    rows = rows[rank.argsort()]  # queries stand in order before and after
    place = np.arange(len(query)) - query.searchsorted(np.arange(b))[query]
    best = (place < n).nonzero()[0]
    out[query[best], place[best]] = rows[best]
    return out


def _general(world: World, block: Block, at: npt.NDArray[np.int64]) -> Ints:
    """[b, places]: the best by what is the same for everybody, as the ranker weighs it for the moment of each query."""
    best = np.full((len(at), PLACES["general"]), -1, np.int32)
    for line, context in enumerate(block.context[at]):
        rows = world.best_in_general(context.tobytes())[: PLACES["general"]]
        best[line, : len(rows)] = rows
    return best


def _of_categories(world: World, block: Block, at: npt.NDArray[np.int64]) -> Ints:
    """[b, places]: the best of the two categories that the user's evidence weighs most."""
    n = PLACES["category"] // 2
    out = np.full((len(at), 2 * n), -1, np.int32)
    weights = block.evidence.weights[at]
    first = world.catalogue.categories[:, 0].take(block.rows[at], mode="clip")
    line, place = (block.liked[at] & (block.rows[at] >= 0) & (first >= 0)).nonzero()
    names = world.catalogue.category_names.all
    total = np.bincount(line * len(names) + first[line, place], weights[line, place])
    liked: list[list[tuple[float, str, int]]] = [[] for _ in at]
    for code in total.nonzero()[0].tolist():
        query, category = divmod(code, len(names))
        liked[query].append((-round(float(total[code]), 4), names[category], category))
    for query, choice in enumerate(liked):
        for half, (_, _, category) in enumerate(sorted(choice)[:2]):
            best = world.best_in_category(category, n)[:n]
            out[query, half * n : half * n + len(best)] = best
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
