"""Retrieve: from the whole catalogue to about two hundred candidates, each with the retriever that found it.

In: a World and a Block of queries. Out: candidate rows int32[B, C] (-1 padded) with their source, already clean of
what may not be offered. Retrievers run for the whole block at once; only queries that name their candidates or carry
conditions are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from recsys.compiled import among_best, fills, kernel, reads
from recsys.index.exact import similarities
from recsys.keys import item_keys
from recsys.merge import merged
from recsys.neighbours import Neighbours, neighbours_of
from recsys.policy import Policy
from recsys.query import Block, Query, kept_out
from recsys.sequence import LENGTH
from recsys.text import terms
from recsys.world import World

Name = TypeVar("Name", bound=Hashable)
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Keys = npt.NDArray[np.uint64]

SOURCES = (
    "lexical", "words", "together", "session", "trending", "new", "category", "similar", "popular", "named", "general",
    "next",
)  # fmt: skip
CODE = {name: code for code, name in enumerate(SOURCES)}
# places by retriever; `similar` is last and takes what the others leave
PLACES = {
    "lexical": 50, "words": 60, "together": 70, "session": 20, "trending": 20, "new": 12, "category": 30, "general": 60,
    "next": 80,
}  # fmt: skip
_ALL_AT_ONCE = 20_000
_NONE = np.zeros(0, np.int32)


@dataclass(slots=True)
class Candidates:
    """`rows` [B, C], -1 padded behind; `sources` are codes into SOURCES; `lexical` is BM25 by candidate."""

    rows: Ints
    sources: npt.NDArray[np.uint8]
    lexical: Floats
    neighbours: Neighbours
    users: Floats  # [B, D] the sequence model's vectors of the users
    anchors: Ints  # [B, ANCHORS] catalogue rows of the items that neighbours were looked for, newest first, -1 padded


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
    wanted = (block.words, spoke, PLACES["words"]), (taste, free, policy.candidates)
    by_words, by_taste = _near(world, wanted, pool)
    return Near(by_words, by_taste, *_next(world, block))


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
    best = np.full((b, PLACES["next"]), -1, np.int32)
    for line in np.flatnonzero(liked.any(axis=1)).tolist():
        _foremost(out @ users[line], base, pool, world.catalogue.order, best[line])
    return best, users


@kernel(reads("float32"), reads("float32"), reads("int32"), reads("int32"), fills("int32"))
def _foremost(scores: Floats, base: Floats, rows: Ints, ids: Ints, best: Ints) -> None:
    """Fills `best` with the rows whose score and base are highest together (in steps of 1e-6), ties by item_id."""
    values, order, places = np.empty(len(best)), np.empty(len(best), np.int32), np.empty(len(best), np.int64)
    n = 0
    for i in range(len(rows)):
        value = np.rint(np.float64(scores[i] + base[i]) * 1e6)
        n = among_best(values, order, places, n, value, ids[rows[i]], i)
    for i in range(n):
        best[i] = rows[places[i]]


def _near(
    world: World, wanted: Sequence[tuple[Floats, npt.NDArray[np.bool_], int]], pool: Executor | None
) -> list[Ints]:
    """For each (vectors [B, D], bool[B] which of them, n): rows [B, n or less], the nearest first, -1 padded. All in
    one search: what it costs for few vectors is reading the index."""
    asked = [(which & vectors.any(axis=1)).nonzero()[0] for vectors, which, _ in wanted]
    found = np.zeros((0, 0), np.int32)
    if world.dense.dim and any(map(len, asked)):
        vectors = np.concatenate([vectors[at] for (vectors, _, _), at in zip(wanted, asked, strict=True)])
        found = world.dense.search(vectors, max(n for _, _, n in wanted), pool)  # as many whoever asks: see `dense`
    near, start = [], 0
    for (vectors, _, n), at in zip(wanted, asked, strict=True):
        mine = found[start : start + len(at), :n]
        start += len(at)
        out = np.full((len(vectors), mine.shape[1]), -1, np.int32)
        out[at] = mine
        near.append(out)
    return near


def retrieve(world: World, block: Block, near: Near, policy: Policy) -> Candidates:
    """Candidates of every query of the block, `near` being what `search` found for it; see the module's docstring."""
    b, c = len(block.queries), policy.candidates
    neighbours, anchors, closest = neighbours_of(world, block, PLACES["session"], PLACES["together"])
    named = [q for q in block.queries if q.candidates is not None]
    width = max([c, *(len(q.candidates or ()) for q in named)])
    rows, sources = np.full((b, width), -1, np.int32), np.zeros((b, width), np.uint8)
    lexical = [_lexical(world, block, at) for at in range(b)]
    many = [0] * b
    if world.catalogue.rows and any(q.candidates is None and not q.constraints for q in block.queries):
        many = _generate(world, block, near, closest, lexical, policy, rows, sources)
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
    near: Near,
    closest: Ints,
    lexical: list[Floats | None],
    policy: Policy,
    rows: Ints,
    sources: npt.NDArray[np.uint8],
) -> list[int]:
    """Fills `rows` and `sources` from every retriever, merged: the first retriever to name an item is its source.
    Gives how many there are for each query; none for those that name their candidates or carry conditions."""
    parts: list[tuple[str, Ints]] = []
    if any(score is not None for score in lexical):
        parts.append(("lexical", _by_words(world, lexical)))
    parts.append(("words", near.words))
    parts.append(("session", closest[:, : PLACES["session"]]))
    parts.append(("together", closest[:, PLACES["session"] :]))
    parts.append(("next", near.next))
    parts.append(("general", _general(world, block)))
    parts.append(("trending", world.trending[: PLACES["trending"]]))
    parts.append(("new", world.newest[: PLACES["new"]]))
    parts.append(("category", _of_categories(world, block)))
    parts.append(("similar", near.taste))
    parts.append(("popular", world.popular[: max(20, policy.candidates // 4)]))

    return merged(world, block, policy, [(CODE[name], found) for name, found in parts], rows, sources)


def _by_words(world: World, lexical: list[Floats | None]) -> Ints:
    """[b, places]: the best by the words of what was asked for or said."""
    out = np.full((len(lexical), PLACES["lexical"]), -1, np.int32)
    for line, score in enumerate(lexical):
        if score is not None:
            best = world.best(score, world.offered & (score > 0), PLACES["lexical"])
            out[line, : len(best)] = best
    return out


def _general(world: World, block: Block) -> Ints:
    """[b, places]: the best by what is the same for everybody, as the ranker weighs it for the moment of each query."""
    context = block.context
    size, moments = context[0].nbytes, context.tobytes()
    return _looked_up(
        [moments[at : at + size] for at in range(0, len(moments), size)], world.best_in_general, PLACES["general"]
    )


def _of_categories(world: World, block: Block) -> Ints:
    """[b, places]: the best of the two categories that the user's evidence weighs most."""
    n, catalogue = PLACES["category"] // 2, world.catalogue
    liked = np.full((len(block.rows), 2), -1, np.int32)
    _liked_categories(block.rows, block.evidence.weights, catalogue.categories, catalogue.category_names.ranks(), liked)

    def best(category: int) -> Ints:
        return world.best_in_category(category, n) if category >= 0 else _NONE

    return _looked_up(liked.ravel().tolist(), best, n).reshape(len(liked), 2 * n)


def _looked_up(names: list[Name], best: Callable[[Name], Ints], n: int) -> Ints:
    """[names, n]: the first of what is best by each name, -1 padded."""
    number = {name: at for at, name in enumerate(dict.fromkeys(names))}
    table = np.full((len(number), n), -1, np.int32)
    for name, at in number.items():
        found = best(name)[:n]
        table[at, : len(found)] = found
    return table if len(table) == len(names) else table[[number[name] for name in names]]


@kernel(reads("int32", 2), reads("float32", 2), reads("int32", 2), reads("int64"), fills("int32", 2))
def _liked_categories(rows: Ints, weights: Floats, categories: Ints, ranks: npt.NDArray[np.int64], liked: Ints) -> None:
    """Fills [B, 2] with the first categories of what was liked that weigh most (rounded), ties by name."""
    found, total = np.empty(rows.shape[1], np.int32), np.empty(rows.shape[1])
    for b in range(len(rows)):
        n = 0
        for s in range(rows.shape[1]):
            if rows[b, s] < 0 or not weights[b, s] > 0:
                continue
            category = categories[rows[b, s], 0]
            if category < 0:
                continue
            at = 0
            while at < n and found[at] != category:
                at += 1
            if at == n:
                found[n], total[n] = category, 0
                n += 1
            total[at] += weights[b, s]
        for half in range(min(n, liked.shape[1])):
            best = half
            for i in range(half, n):
                if half == 0:
                    total[i] = np.rint(total[i] * 1e4) / 1e4
                if total[i] > total[best] or (total[i] == total[best] and ranks[found[i]] < ranks[found[best]]):
                    best = i
            liked[b, half] = found[best]
            found[best], total[best] = found[half], total[half]


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
        near = similarities(world.dense.numbers[rows[known]], np.stack([block.words[at], block.profile[at]]))
        parts[1, known], parts[2, known] = near[0] * np.float32(1.6), near[1]
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
