"""Retrieve: from the whole catalogue to about two hundred candidates, each with the retriever that found it.

In: a World and a Block of queries. Out: candidate rows int32[B, C] (-1 padded) with their source, already clean of
what may not be offered. Retrievers run for the whole block at once; only queries that name their candidates or carry
conditions are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numba
import numpy as np
import numpy.typing as npt

from recsys.actions import CODES
from recsys.compiled import YES, fills, kernel, reads
from recsys.keys import item_keys
from recsys.neighbours import Neighbours as Neighbours
from recsys.neighbours import neighbours_of
from recsys.policy import Policy
from recsys.query import Block, Query, kept_out
from recsys.sequence import LENGTH
from recsys.text import terms
from recsys.user import KEY_MASK, RECENT
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
_CODE, _CODE_MASK, _KEY_MASK = np.uint64(48), np.uint64(15), np.uint64(KEY_MASK)


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
    queries, catalogue = block.queries, world.catalogue
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

    width = sum(found.shape[-1] for _, found in parts)
    named, by, end = np.empty((len(queries), width), np.int32), np.empty(width, np.uint8), 0
    for name, found in parts:
        place = slice(end, end := end + found.shape[-1])
        named[:, place], by[place] = found, CODE[name]
    many = np.zeros(len(queries), np.int64)
    most = np.array([0 if q.candidates is not None or q.constraints else policy.candidates for q in queries])
    asked = np.array([q.asked for q in queries])
    history = [q.user.history for q in queries]
    excluded = [[*q.exclude, *q.like_items] for q in queries]
    _merge(
        named, by, most, catalogue.keys, world.shop, world.offered, catalogue.expires, asked, block.now,
        np.frombuffer(b"".join(history), "<u8"), np.cumsum([len(h) // 8 for h in history]),
        block.evidence.keys, block.evidence.codes, _kept_out_codes(policy),
        item_keys(chain.from_iterable(excluded)), np.cumsum([len(names) for names in excluded]),
        rows, sources, many,
    )  # fmt: skip
    counts: list[int] = many.tolist()
    return counts


def _kept_out_codes(policy: Policy) -> npt.NDArray[np.bool_]:
    """bool[16]: whether what was done in that way may not be offered again; see `recsys.query.kept_out`."""
    if policy.keep_out_actions is None:
        return np.ones(16, bool)
    codes = np.zeros(16, bool)
    for action in policy.keep_out_actions:
        codes[[CODES[action]] if action in CODES else [CODES["other"], CODES["other-"]]] = True
    return codes


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


@kernel(fills("uint64"), numba.types.uint64, gives=YES)
def _added(keys: Keys, key: np.uint64) -> bool:
    """Adds a key to a set: a table of open addressing, with room left, whose size is a power of two. Says whether it is
    new. Keys are hashes already."""
    last_bits = np.int64(len(keys) - 1)
    at = np.int64(key) & last_bits
    while keys[at] != 0:
        if keys[at] == key:
            return False
        at = (at + 1) & last_bits
    keys[at] = key
    return True


@kernel(
    reads("int32", 2), reads("uint8"), reads("int64"), reads("uint64"), reads("bool"), reads("bool"), reads("int64"),
    reads("bool"), reads("int64"), reads("uint64"), reads("int64"), reads("uint64", 2), reads("uint8", 2),
    reads("bool"), reads("uint64"), reads("int64"), fills("int32", 2), fills("uint8", 2), fills("int64"),
)  # fmt: skip
def _merge(
    named: Ints, by: npt.NDArray[np.uint8], most: npt.NDArray[np.int64], keys: Keys, shop: npt.NDArray[np.bool_],
    offered: npt.NDArray[np.bool_], expires: npt.NDArray[np.int64], asked: npt.NDArray[np.bool_],
    now: npt.NDArray[np.int64], history: Keys, history_ends: npt.NDArray[np.int64], latest: Keys,
    codes: npt.NDArray[np.uint8], kept_out: npt.NDArray[np.bool_], excluded: Keys,
    excluded_ends: npt.NDArray[np.int64], rows: Ints, sources: npt.NDArray[np.uint8], many: npt.NDArray[np.int64],
) -> None:  # fmt: skip
    """Fills `rows` with the first `most` of the rows `named`, in their order and each once, that may be offered; with
    `sources`, `by` which retriever; and `many`, how many they are.

    By row: keys, shop, offered, expires. Kept out are what `history` (packed rows of all users, each one's up to its
    place in `history_ends`) and the RECENT last of `latest` tell of, if its action's code is `kept_out`; and the keys
    `excluded`."""
    seen, before = 0, 0
    for b in range(len(named)):
        size = 16
        while size < 2 * (history_ends[b] - seen + RECENT + excluded_ends[b] - before + most[b]):
            size *= 2
        out = np.zeros(size, np.uint64)  # what was kept out, and what has its place already
        for i in range(seen, history_ends[b]):
            if kept_out[np.int64((history[i] >> _CODE) & _CODE_MASK)]:
                _added(out, history[i] & _KEY_MASK)
        for i in range(latest.shape[1] - RECENT, latest.shape[1]):
            if latest[b, i] != 0 and kept_out[codes[b, i]]:
                _added(out, latest[b, i])
        for i in range(before, excluded_ends[b]):
            _added(out, excluded[i])
        seen, before, n = history_ends[b], excluded_ends[b], 0
        for i in range(len(by)):
            if n == most[b]:
                break
            row = named[b, i]
            if row < 0 or not (shop[row] or (asked[b] and offered[row])) or expires[row] <= now[b]:
                continue
            if _added(out, keys[row]):
                rows[b, n], sources[b, n] = row, by[i]
                n += 1
        many[b] = n


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
