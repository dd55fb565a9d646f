"""Score: the feature table filled in for a block's candidates.

In: World, Block, Candidates. Out: float32[B, C, F] for `recsys.rank`. Each line of `features_of` fills one feature of
`recsys.features.FEATURES`; all of it is array work over the whole block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.features import FEATURES, INDEX, side_by_side
from recsys.query import Block
from recsys.retrieve import Candidates
from recsys.shared import PLACES
from recsys.world import World

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
NEW_HALF_LIFE_MS = 14 * 86_400_000
CATEGORY_STATEMENT = "category:"
_COMPANY = side_by_side(
    "covisitation", "covisitation_last", "covisitation_log", "covisitation_last_log", "covisitation_share",
    "covisitation_lift",
)  # fmt: skip
_COMPANY_UNITS = np.array([1, 1, 0.05, 0.05, 1e-4, 1e-3], np.float32)
_COMPANY_SCALES = np.array([4, 4, 8, 8, 8, 6], np.float32)
_KEY = np.uint64(48)
_SHOWN = np.dtype([("key", "<u4"), ("times", "u1")])  # as recsys.user.SHOWN_ROW


@dataclass(slots=True)
class Tastes:
    """What a block's evidence says by category, brand and price. Shares of the evidence's absolute weight, -1 to 1."""

    categories: Floats  # [B, number of categories]
    brands: Floats  # [B, number of brands]
    price: Floats  # [B] mean price level of what was liked, nan where none had a price


def tastes_of(world: World, block: Block) -> Tastes:
    c = world.catalogue
    b = len(block.rows)
    rows = np.maximum(block.rows, 0)
    weights = np.where(block.rows >= 0, block.evidence.weights, np.float32(0))
    total = np.maximum(np.abs(weights).sum(axis=1), 1e-9)
    if not c.rows:
        return Tastes(np.zeros((b, 0), np.float32), np.zeros((b, 0), np.float32), np.full(b, np.nan, np.float32))

    def shares(values: npt.NDArray[np.int32], n: int) -> Floats:
        """Sums weights by (query, value); values [B, S, V], -1 for none. One spare column takes what has none."""
        code = values + (np.arange(b) * (n + 1) + 1)[:, None, None]
        summed = np.bincount(code.ravel(), weights.repeat(values.shape[2]), minlength=b * (n + 1))
        return (summed.reshape(b, n + 1)[:, 1:] / total[:, None]).astype(np.float32)

    categories = shares(c.categories[rows], len(c.category_names.all))
    brands = shares(c.brand[rows][:, :, None], len(c.brand_names.all))
    for at, query in enumerate(block.queries):
        for statement in query.user.statements:
            if statement.state == "muted" and statement.statement_id.startswith(CATEGORY_STATEMENT):
                number = c.category_names.of.get(statement.statement_id.removeprefix(CATEGORY_STATEMENT))
                if number is not None and number < categories.shape[1]:
                    categories[at, number] = min(categories[at, number], 0)
    return Tastes(categories, brands, price_taste(world, rows, weights))


def price_taste(world: World, rows: Ints, weights: Floats) -> Floats:
    """float32[B]: the mean price level of what was liked, by weight; nan where none had a price. Rows [B, S] >= 0."""
    level = world.price_level[rows]
    priced = ~np.isnan(level)
    liked = np.where(priced, np.maximum(weights, 0), 0)
    weight = liked.sum(axis=1)
    total = (np.where(priced, level, 0) * liked).sum(axis=1)
    price: Floats = np.full(len(rows), np.nan, np.float32)
    np.divide(total, weight, out=price, where=weight > 0, casting="same_kind")
    return price


def features_of(world: World, block: Block, candidates: Candidates, tastes: Tastes) -> Floats:
    """float32[B, C, F]; lines of padding hold whatever they hold."""
    c = world.catalogue
    rows = np.maximum(candidates.rows, 0).astype(np.intp)
    b, width = rows.shape
    x = np.zeros((b, width, len(FEATURES)), np.float32)
    if not c.rows:
        return x

    def put(name: str, value: npt.NDArray[np.floating]) -> None:
        x[:, :, INDEX[name]] = value

    _company(world, candidates, rows, x)
    if world.dense.dim:
        _nearness(world, block, candidates, rows, x)
    if world.sequence is not None:
        _, out, bias = world.sequence_items
        put("sequence", np.einsum("bcd,bd->bc", out[rows], candidates.users) / 8)
        put("sequence_bias", bias[rows] / 4)
    put("lexical", candidates.lexical / (candidates.lexical + 4))
    x[:, :, PLACES] = world.shared_features[rows]
    published = c.published[rows]
    age = np.maximum(block.now[:, None] - published, 0) / NEW_HALF_LIFE_MS
    put("newness", np.where(published >= 0, np.exp2(-age), 0))
    query = np.arange(b)[:, None]
    if tastes.categories.shape[1]:
        kinds = c.categories[rows]
        share = np.where(kinds >= 0, tastes.categories[query[:, :, None], kinds], 0)
        total = share[:, :, 0]
        for column in range(1, share.shape[2]):  # a sum along so short an axis takes three times as long
            total += share[:, :, column]
        put("category", total.clip(-1, 1))
    if tastes.brands.shape[1]:
        brand = c.brand[rows]
        put("brand", np.where(brand >= 0, tastes.brands[query, brand], 0))
    fit = 1 - np.abs(world.price_level[rows] - tastes.price[:, None]) / 2
    put("price_fit", np.where(np.isnan(fit), 0, fit))
    if any(q.user.shown for q in block.queries):
        put("shown", -np.log2(1 + _times_shown(block, c.keys[rows])) / 4)
    x[:, :, INDEX["available"]] = 1
    return x


def _company(world: World, candidates: Candidates, rows: npt.NDArray[np.intp], x: Floats) -> None:
    """The features of co-visitation, filled in where there is any."""
    near = candidates.neighbours
    place = near.places(world.catalogue.keys[rows])
    b, c = (place >= 0).nonzero()
    if not len(b):
        return
    at = place[b, c]
    sums = np.empty((len(at), len(_COMPANY_UNITS)), np.float32)
    sums[:, 0] = sums[:, 2] = near.weights[at]
    sums[:, 1] = sums[:, 3] = near.last[at]
    sums[:, 4] = near.shares[at]
    sums[:, 5] = near.lifts[at] / np.sqrt(world.weights[rows[b, c], -1] + 5)
    x[b, c, _COMPANY] = np.log1p(sums / _COMPANY_UNITS) / _COMPANY_SCALES


def _nearness(world: World, block: Block, candidates: Candidates, rows: npt.NDArray[np.intp], x: Floats) -> None:
    """The features of nearness between texts; 0 where an item has no vector."""
    anchors = np.maximum(candidates.anchors, 0)
    there = (candidates.anchors >= 0) & world.dense.has[anchors]
    wanted = np.empty((len(rows), world.dense.dim, 3 + anchors.shape[1]), np.float32)
    wanted[:, :, 0], wanted[:, :, 1], wanted[:, :, 2] = block.profile, block.session, block.words
    wanted[:, :, 3:] = (world.dense.vectors[anchors] * there[:, :, None]).transpose(0, 2, 1)
    near = _near(world, rows, wanted) * world.dense.has[rows][:, :, None]
    for place, name in enumerate(("similarity", "session_similarity", "words", "similarity_last")):
        x[:, :, INDEX[name]] = near[:, :, place]
    latest_near = near[:, :, 3:]
    x[:, :, INDEX["similarity_best"]] = latest_near.max(axis=2)
    ages = np.float32(0.5) / np.arange(1, latest_near.shape[2] + 1, dtype=np.float32)
    x[:, :, INDEX["similarity_recent"]] = np.einsum("bca,a->bc", latest_near, ages)


def _near(world: World, rows: npt.NDArray[np.intp], wanted: Floats) -> Floats:
    """[B, C, V]: inner products of rows [B, C] with wanted [B, dim, V].

    A query at a time: its vectors stay in the cache between gathering and multiplying, which takes half the time of one
    stacked product over the block; and the same shape for each query gives the same bits in every block.
    """
    out = np.empty((*rows.shape, wanted.shape[2]), np.float32)
    gathered = np.empty((rows.shape[1], wanted.shape[1]), np.float32)
    for one, vectors, line in zip(rows, wanted, out, strict=True):
        world.dense.vectors.take(one, axis=0, out=gathered, mode="clip")
        np.matmul(gathered, vectors, out=line)
    return out


def _times_shown(block: Block, keys: npt.NDArray[np.uint64]) -> Floats:
    """[B, C]: how often each candidate was shown to its user without an interaction since."""
    shown = [np.frombuffer(q.user.shown, _SHOWN) for q in block.queries]
    if not any(map(len, shown)):
        return np.zeros(keys.shape, np.float32)
    packed = np.concatenate(shown)
    query = np.repeat(np.arange(len(shown), dtype=np.uint64), [len(s) for s in shown]) << _KEY
    codes = packed["key"] | query
    order = np.argsort(codes)
    codes, times = codes[order], packed["times"].astype(np.float32)[order]
    wanted = (keys & np.uint64(0xFFFFFFFF)) | (np.arange(len(keys), dtype=np.uint64) << _KEY)[:, None]
    at = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    return np.where(codes[at] == wanted, times[at], 0).astype(np.float32)
