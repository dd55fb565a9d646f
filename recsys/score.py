"""Score: the feature table filled in for a block's candidates.

In: World, Block, Candidates. Out: float32[B, C, F] for `recsys.rank`. Three kernels fill it, a query and a candidate at
a time: what the catalogue says against the user's tastes, what was chosen together, and what is near in meaning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.compiled import REAL, WHOLE, dot, fills, kernel, reads
from recsys.features import FEATURES, INDEX, side_by_side
from recsys.fixed import STEP, Fixed, Sums, fixed, products
from recsys.query import Block
from recsys.retrieve import Candidates
from recsys.shared import PLACES
from recsys.world import World

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
NEW_HALF_LIFE_MS = 14 * 86_400_000
CATEGORY_STATEMENT = "category:"
_COMPANY = side_by_side(
    "covisitation", "covisitation_last", "covisitation_log", "covisitation_last_log", "covisitation_share",
    "covisitation_lift",
)  # fmt: skip


def _columns(*names: str) -> npt.NDArray[np.int64]:
    """Where features stand in the table. Kernels are told: cached machine code would not see that the table changed."""
    return np.array([INDEX[name] for name in names], np.int64)


_PLAIN = _columns("lexical", "newness", "category", "brand", "price_fit", "shown", "available")
_LEXICAL, _NEWNESS, _CATEGORY, _BRAND, _PRICE_FIT, _SHOWN, _AVAILABLE = range(7)
_MEANING = _columns(
    "similarity", "session_similarity", "words", "similarity_last", "similarity_best", "similarity_recent",
    "sequence", "sequence_bias",
)  # fmt: skip
_TO_ALL, _TO_SESSION, _TO_WORDS, _TO_LAST, _TO_BEST, _TO_RECENT, _NEXT, _NEXT_BIAS = range(8)
_SHOWN_ROW = np.dtype([("key", "<u4"), ("times", "u1")])  # as recsys.user.SHOWN_ROW
_NO_SEQUENCE = np.zeros((0, 0), np.float32), np.zeros(0, np.float32)


@dataclass(slots=True)
class Tastes:
    """What a block's evidence says by category, brand and price. Shares of the evidence's absolute weight, -1 to 1."""

    categories: Floats  # [B, number of categories]
    brands: Floats  # [B, number of brands]
    price: Floats  # [B] mean price level of what was liked, nan where none had a price


def tastes_of(world: World, block: Block) -> Tastes:
    c = world.catalogue
    b = len(block.rows)
    if not c.rows:
        return Tastes(np.zeros((b, 0), np.float32), np.zeros((b, 0), np.float32), np.full(b, np.nan, np.float32))
    categories = np.zeros((b, len(c.category_names.all)), np.float32)
    brands = np.zeros((b, len(c.brand_names.all)), np.float32)
    price = np.empty(b, np.float32)
    _tastes(block.rows, block.evidence.weights, c.categories, c.brand, world.price_level, categories, brands, price)
    for at, query in enumerate(block.queries):
        for statement in query.user.statements:
            if statement.state == "muted" and statement.statement_id.startswith(CATEGORY_STATEMENT):
                number = c.category_names.of.get(statement.statement_id.removeprefix(CATEGORY_STATEMENT))
                if number is not None and number < categories.shape[1]:
                    categories[at, number] = min(categories[at, number], 0)
    return Tastes(categories, brands, price)


def price_taste(world: World, rows: Ints, weights: Floats) -> Floats:
    """float32[B]: the mean price level of what was liked, by weight; nan where none had a price. Rows [B, S], -1 for
    none."""
    price = np.empty(len(rows), np.float32)
    _prices(np.ascontiguousarray(rows, np.int32), weights, world.price_level, price)
    return price


def features_of(world: World, block: Block, candidates: Candidates, tastes: Tastes) -> Floats:
    """float32[B, C, F]; lines of padding are zero."""
    c, rows = world.catalogue, np.ascontiguousarray(candidates.rows, np.int32)
    x = np.zeros((*rows.shape, len(FEATURES)), np.float32)
    if not c.rows:
        return x
    shown = [q.user.shown for q in block.queries]
    ends = np.array([0, *map(len, shown)]).cumsum() // _SHOWN_ROW.itemsize
    packed = np.frombuffer(b"".join(shown), _SHOWN_ROW)
    _plain(
        rows, candidates.lexical, block.now, c.keys, c.published, c.categories, c.brand, world.price_level,
        world.shared_features, tastes.categories, tastes.brands, tastes.price,
        ends, packed["key"].copy(), packed["times"].copy(), PLACES.start, _PLAIN, x,
    )  # fmt: skip
    near = candidates.neighbours
    if len(near.codes):
        _company(
            rows, c.keys, world.weights, near.codes, near.weights, near.last, near.shares, near.lifts, _COMPANY.start, x
        )
    out, bias = _NO_SEQUENCE if world.sequence is None else world.sequence_items[1:]
    if world.dense.dim or len(bias):
        _meaning(
            rows, world.dense.numbers, world.dense.has, fixed(block.profile), fixed(block.session), fixed(block.words),
            candidates.anchors, out, bias, candidates.users, _MEANING, x,
        )  # fmt: skip
    return x


@kernel(reads("float32"), reads("int32"), reads("float32"), gives=REAL)
def _price_of(level: Floats, rows: Ints, weights: Floats) -> float:
    """The mean price level of rows [S] that were liked, by weight; nan where none of them has a price."""
    weight = total = 0.0
    for s in range(len(rows)):
        if rows[s] >= 0 and weights[s] > 0 and not np.isnan(level[rows[s]]):
            weight += weights[s]
            total += weights[s] * level[rows[s]]
    return total / weight if weight > 0 else np.nan


@kernel(reads("int32", 2), reads("float32", 2), reads("float32"), fills("float32"))
def _prices(rows: Ints, weights: Floats, level: Floats, price: Floats) -> None:
    """Fills `price` [B]."""
    for b in range(len(rows)):
        price[b] = _price_of(level, rows[b], weights[b])


@kernel(
    reads("int32", 2), reads("float32", 2), reads("int32", 2), reads("int32"), reads("float32"),
    fills("float32", 2), fills("float32", 2), fills("float32"),
)  # fmt: skip
def _tastes(
    rows: Ints, weights: Floats, kinds: Ints, makers: Ints, level: Floats,
    categories: Floats, brands: Floats, price: Floats,
) -> None:  # fmt: skip
    """Fills a line of the Tastes for each query, whose evidence are rows [B, S] (-1 for none) with weights [B, S];
    `kinds`, `makers` and `level` are by row. `categories` and `brands` come as zeros."""
    by_kind, by_maker = np.zeros(categories.shape[1]), np.zeros(brands.shape[1])
    for b in range(len(rows)):
        total = 0.0
        for s in range(rows.shape[1]):
            row, weight = rows[b, s], weights[b, s]
            if row < 0:
                continue
            total += abs(weight)
            for v in range(kinds.shape[1]):
                if kinds[row, v] >= 0:
                    by_kind[kinds[row, v]] += weight
            if makers[row] >= 0:
                by_maker[makers[row]] += weight
        total = max(total, 1e-9)
        for s in range(rows.shape[1]):  # what was summed up is read and left at zero for the next query
            row = rows[b, s]
            if row < 0:
                continue
            for v in range(kinds.shape[1]):
                kind = kinds[row, v]
                if kind >= 0 and by_kind[kind] != 0:
                    categories[b, kind] = by_kind[kind] / total
                    by_kind[kind] = 0
            if makers[row] >= 0 and by_maker[makers[row]] != 0:
                brands[b, makers[row]] = by_maker[makers[row]] / total
                by_maker[makers[row]] = 0
        price[b] = _price_of(level, rows[b], weights[b])


@kernel(
    reads("int32", 2), reads("float32", 2), reads("int64"), reads("uint64"), reads("int64"), reads("int32", 2),
    reads("int32"), reads("float32"), reads("float32", 2), reads("float32", 2), reads("float32", 2), reads("float32"),
    reads("int64"), reads("uint32"), reads("uint8"), WHOLE, reads("int64"), fills("float32", 3),
)  # fmt: skip
def _plain(
    rows: Ints, lexical: Floats, now: Longs, keys: Keys, published: Longs, kinds: Ints,
    makers: Ints, level: Floats, shared: Floats, categories: Floats, brands: Floats, price: Floats,
    ends: Longs, shown: npt.NDArray[np.uint32], times: npt.NDArray[np.uint8], first: int, at: Longs, x: Floats,
) -> None:  # fmt: skip
    """The features that follow from an item's own columns, by row, and the Tastes. Of query b was `shown`, from
    `ends[b]` to `ends[b + 1]`, the lower half of keys, `times` so often."""
    for b in range(len(rows)):
        for c in range(rows.shape[1]):
            row, line = rows[b, c], x[b, c]
            if row < 0:
                continue
            for f in range(shared.shape[1]):
                line[first + f] = shared[row, f]
            line[at[_LEXICAL]] = lexical[b, c] / (lexical[b, c] + np.float32(4))
            if published[row] >= 0:
                line[at[_NEWNESS]] = np.exp2(-max(now[b] - published[row], 0) / NEW_HALF_LIFE_MS)
            share = np.float32(0)
            for v in range(kinds.shape[1]):
                if kinds[row, v] >= 0:
                    share += categories[b, kinds[row, v]]
            line[at[_CATEGORY]] = min(max(share, np.float32(-1)), np.float32(1))
            if makers[row] >= 0:
                line[at[_BRAND]] = brands[b, makers[row]]
            fit = np.float32(1) - abs(level[row] - price[b]) / np.float32(2)
            line[at[_PRICE_FIT]] = 0 if np.isnan(fit) else fit
            key = np.uint32(keys[row] & np.uint64(0xFFFFFFFF))
            for i in range(ends[b], ends[b + 1]):
                if shown[i] == key:
                    line[at[_SHOWN]] = -np.log2(np.float32(1) + np.float32(times[i])) / np.float32(4)
                    break
            line[at[_AVAILABLE]] = 1


@kernel(
    reads("int32", 2), reads("uint64"), reads("float32", 2), reads("uint64"), reads("float32"), reads("float32"),
    reads("float32"), reads("float32"), WHOLE, fills("float32", 3),
)  # fmt: skip
def _company(
    rows: Ints, keys: Keys, popularity: Floats, codes: Keys, weights: Floats, last: Floats,
    shares: Floats, lifts: Floats, first: int, x: Floats,
) -> None:  # fmt: skip
    """The features of co-visitation, filled in where there is any. `codes` and what belongs to them as in
    `recsys.retrieve.Neighbours`; `popularity` is the World's decayed weights by row."""
    for b in range(len(rows)):
        query = np.uint64(b) << np.uint64(48)
        begin = np.searchsorted(codes, query)
        end = np.searchsorted(codes, query + (np.uint64(1) << np.uint64(48)))
        for c in range(rows.shape[1]):
            row = rows[b, c]
            if row < 0 or begin == end:
                continue
            wanted = query | keys[row]
            at, many = begin, end - begin
            while many > 1:  # halves what may hold the code, without a branch to guess
                half = many // 2
                at += half if codes[at + half] <= wanted else 0
                many -= half
            if codes[at] != wanted:
                continue
            line = x[b, c, first:]
            line[0] = np.log1p(weights[at]) / np.float32(4)
            line[1] = np.log1p(last[at]) / np.float32(4)
            line[2] = np.log1p(weights[at] / np.float32(0.05)) / np.float32(8)
            line[3] = np.log1p(last[at] / np.float32(0.05)) / np.float32(8)
            line[4] = np.log1p(shares[at] / np.float32(1e-4)) / np.float32(8)
            lift = lifts[at] / np.sqrt(popularity[row, -1] + np.float32(5))
            line[5] = np.log1p(lift / np.float32(1e-3)) / np.float32(6)


@kernel(reads("int16", 2), reads("int32"), WHOLE, reads("int16", 2), WHOLE, fills("int32", 2))
def _products(vectors: Fixed, rows: Ints, many: int, others: Fixed, n: int, found: Sums) -> None:
    """Fills [many, n] with the inner products of the vectors of `many` rows and the first n of others."""
    for p in range(0, many, 3):
        q, r = min(p + 1, many - 1), min(p + 2, many - 1)  # behind an end the last one counts again
        for i in range(0, n, 4):
            j, k, m = min(i + 1, n - 1), min(i + 2, n - 1), min(i + 3, n - 1)
            (
                found[p, i], found[q, i], found[r, i], found[p, j], found[q, j], found[r, j],
                found[p, k], found[q, k], found[r, k], found[p, m], found[q, m], found[r, m],
            ) = products(vectors, rows[p], rows[q], rows[r], others, i, j, k, m)  # fmt: skip


@kernel(
    reads("int32", 2), reads("int16", 2), reads("bool"), reads("int16", 2), reads("int16", 2), reads("int16", 2),
    reads("int32", 2), reads("float32", 2), reads("float32"), reads("float32", 2), reads("int64"),
    fills("float32", 3),
)  # fmt: skip
def _meaning(
    rows: Ints, vectors: Fixed, has: npt.NDArray[np.bool_], profile: Fixed, session: Fixed, words: Fixed,
    anchors: Ints, out: Floats, bias: Floats, users: Floats, at: Longs, x: Floats,
) -> None:  # fmt: skip
    """The features of nearness between texts, zero where an item has no vector, and of the sequence model, whose items
    `out` and `bias` stand by row (none: no model)."""
    most, dim = 3 + anchors.shape[1], vectors.shape[1]
    wanted, places = np.empty((most, dim), np.int16), np.empty(most, np.int64)
    near = np.empty(most, np.float32)
    known, column = np.empty(rows.shape[1], np.int32), np.empty(rows.shape[1], np.int64)  # of those with a vector
    found = np.empty((rows.shape[1], most), np.int32)
    for b in range(len(rows)):
        # what the candidates are compared with: vectors that are not all zeros, and the place of each in `near`
        n = 0
        for place in range(most if dim else 0):
            if place == 0:
                wanted[n] = profile[b]
            elif place == 1:
                wanted[n] = session[b]
            elif place == 2:
                wanted[n] = words[b]
            elif anchors[b, place - 3] >= 0 and has[anchors[b, place - 3]]:
                wanted[n] = vectors[anchors[b, place - 3]]
            else:
                continue
            if wanted[n].any():
                places[n] = place
                n += 1
        many = 0
        for c in range(rows.shape[1] if n else 0):
            if rows[b, c] >= 0 and has[rows[b, c]]:
                known[many], column[many] = rows[b, c], c
                many += 1
        _products(vectors, known, many, wanted, n, found)
        near[:] = 0
        for r in range(many):
            line = x[b, column[r]]
            for i in range(n):
                near[places[i]] = found[r, i] * STEP
            best = near[3]
            recent = np.float32(0)
            for age in range(most - 3):
                best = max(best, near[3 + age])
                recent += near[3 + age] * (np.float32(0.5) / np.float32(1 + age))
            line[at[_TO_ALL]], line[at[_TO_SESSION]], line[at[_TO_WORDS]] = near[0], near[1], near[2]
            line[at[_TO_LAST]], line[at[_TO_BEST]], line[at[_TO_RECENT]] = near[3], best, recent
        for c in range(rows.shape[1] if len(bias) else 0):
            row = rows[b, c]
            if row >= 0:
                x[b, c, at[_NEXT]] = dot(out[row], users[b]) / np.float32(8)
                x[b, c, at[_NEXT_BIAS]] = bias[row] / np.float32(4)
