"""Select: from scored candidates to a slate. Diversity by MMR, exploration with propensities that are true.

In: scores float64[B, C] (rounded), candidate rows. Out: for each query the chosen places with their propensities.
Maximal marginal relevance (Carbonell & Goldstein 1998): each position takes the best of score - diversity * nearness
to what stands above. With chance `exploration` a position is drawn evenly from the best `exploration_pool` that are
left instead. The propensity is the chance of the item at its position given the positions above:
1 - e + e/m for the one that MMR would take (if it is in the pool; 1 - e if not), e/m for the others.
Draws come from the event's id, so that a replay explores alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from recsys.policy import Policy
from recsys.world import World

POOLS = ((10, 40), (20, 64), (100, 256))
"""(k up to, best candidates that MMR looks at). The pool depends on the query's own k alone."""
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(slots=True)
class Slates:
    """[B, K] places into the candidates, -1 behind the end; propensities; and why an item stands out of score order:
    0 not at all, 1 diversity, 2 exploration."""

    chosen: Ints
    propensities: Doubles
    moved: npt.NDArray[np.uint8]


def seed_of(user_id: str, event_id: str) -> int:
    return int.from_bytes(blake2b(f"{user_id}\0{event_id}".encode(), digest_size=8).digest(), "little")


def draws(seeds: npt.NDArray[np.uint64], n: int) -> Doubles:
    """float64[B, n] in [0, 1): the first n draws of each seed (splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = seeds[:, None] + _GOLDEN * np.arange(1, n + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) / 2**53


def select(
    world: World, rows: Ints, scores: Doubles, ks: npt.NDArray[np.int64], seeds: npt.NDArray[np.uint64], policy: Policy
) -> Slates:
    """Slates for candidate rows [B, C] (-1 padded) with their scores; ks [B] positions wanted."""
    b, steps = len(rows), int(ks.max())
    out = Slates(np.full((b, steps), -1, np.int32), np.zeros((b, steps)), np.zeros((b, steps), np.uint8))
    least = 0
    for most, size in POOLS:
        at = ((ks > least) & (ks <= most)).nonzero()[0]
        least = most
        if len(at) == b:  # as a rule they all want the same
            return Slates(*_greedy(world, rows, scores, ks, seeds, size, policy))
        if len(at):
            chosen, propensities, moved = _greedy(world, rows[at], scores[at], ks[at], seeds[at], size, policy)
            n = chosen.shape[1]
            out.chosen[at, :n], out.propensities[at, :n], out.moved[at, :n] = chosen, propensities, moved
    return out


def _greedy(
    world: World, rows: Ints, scores: Doubles, ks: npt.NDArray[np.int64], seeds: npt.NDArray[np.uint64], size: int,
    policy: Policy,
) -> tuple[Ints, Doubles, npt.NDArray[np.uint8]]:  # fmt: skip
    b = len(rows)
    line = np.arange(b)[:, None]
    ids = world.catalogue.order.take(rows, mode="clip") if world.catalogue.rows else np.zeros(rows.shape, np.int32)
    order = np.lexsort((ids, np.where(rows >= 0, -scores, np.inf)), axis=1)[:, :size]
    pool = rows[line, order]
    score = np.where(pool >= 0, scores[line, order], -np.inf)
    if order.shape[1] < size:
        short = ((0, 0), (0, size - order.shape[1]))
        order, pool = np.pad(order, short), np.pad(pool, short, constant_values=-1)
        score = np.pad(score, short, constant_values=-np.inf)
    many = (pool >= 0).sum(axis=1)  # they stand in front
    low = score[line[:, 0], np.maximum(many, 1) - 1]
    with np.errstate(invalid="ignore"):
        scale = np.where(many > 0, np.maximum(score[:, 0] - low, 1e-6), 1.0) * policy.diversity
    takes, explored = _walk(score, scale, _nearness(world, pool) if policy.diversity > 0 else None, ks, seeds, policy)
    place = np.arange(takes.shape[1])
    active = place < np.minimum(ks, many)[:, None]
    got = score[line, takes]
    # how many of those left stand before the taken one in score order: all were, but for the ones above
    ahead = takes - ((takes[:, None, :] < takes[:, :, None]) & (place < place[:, None])).sum(axis=2)
    moved = ahead > 0
    moved[:, 1:] |= got[:, 1:] > got[:, :-1]
    propensities = np.ones(takes.shape)
    if policy.exploration > 0:
        e, m = policy.exploration, np.minimum(many[:, None] - place, policy.exploration_pool)
        propensities = np.where(explored, 0, 1 - e) + np.where(ahead < m, e / np.maximum(m, 1), 0)
    return (
        np.where(active, order[line, takes], -1).astype(np.int32),
        np.where(active, propensities, 0),
        np.where(active & moved, np.where(explored, np.uint8(2), np.uint8(1)), np.uint8(0)),
    )


def _walk(
    score: Doubles, scale: Doubles, near: Doubles | None, ks: npt.NDArray[np.int64], seeds: npt.NDArray[np.uint64],
    policy: Policy,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:  # fmt: skip
    """The places taken, position by position, int64[B, K] into `score` [B, M] (best first, then -inf), and where
    exploration took another than MMR would have. Without meaning behind the end of a slate."""
    b, size = score.shape
    line, steps = np.arange(b), int(ks.max())
    takes, other = np.zeros((b, steps), np.int64), np.zeros((b, steps), bool)
    left, nearest, value = score.copy(), np.zeros((b, size)), np.empty((b, size))
    if near is not None:
        near *= scale[:, None, None]
    drawn = draws(seeds, 2 * steps)
    explores = drawn[:, ::2] < policy.exploration
    exploring = set(explores.nonzero()[1].tolist())
    for step in range(steps):
        best = np.subtract(left, nearest, out=value).round(5, out=value).argmax(axis=1)
        if step in exploring:
            take = best.copy()
            for at in explores[:, step].nonzero()[0].tolist():
                places = (left[at] > -np.inf).nonzero()[0]
                m = min(len(places), policy.exploration_pool)
                if m:
                    take[at] = places[int(drawn[at, 2 * step + 1] * m)]
            other[:, step], best = take != best, take
        takes[:, step] = best
        left[line, best] = -np.inf
        if near is not None:
            np.maximum(nearest, near[line, best], out=nearest)
    return takes, other


def _nearness(world: World, pool: Ints) -> Doubles:
    """[B, M, M] cosine of the pool's vectors, 0 to 1; without vectors, 1 for the same first category."""
    if not world.catalogue.rows:
        return np.zeros((*pool.shape, pool.shape[1]))
    safe = np.maximum(pool, 0)
    if world.dense.dim:
        vectors, there = world.dense.vectors[safe], world.dense.has[safe] & (pool >= 0)
        if not there.all():
            vectors *= there[:, :, None]
        cosines = np.matmul(vectors, vectors.transpose(0, 2, 1))
        near: Doubles = cosines.clip(0, 1, out=cosines).astype(np.float64)
        return near.round(4, out=near)
    kind = world.catalogue.categories[safe, 0]
    return ((kind[:, :, None] == kind[:, None, :]) & (kind >= 0)[:, :, None]).astype(np.float64)
