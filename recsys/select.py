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

from recsys.compiled import REAL, WHOLE, among_best, fills, kernel, reads
from recsys.fixed import STEP, Fixed, product
from recsys.policy import Policy
from recsys.world import World

POOLS = ((10, 40), (20, 64), (100, 256))
"""(k up to, best candidates that MMR looks at). The pool depends on the query's own k alone."""
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
_NO_KINDS = np.zeros(0, np.int32)
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
    catalogue, dense = world.catalogue, world.dense
    if not catalogue.rows:
        return out
    kinds = np.ascontiguousarray(catalogue.categories[:, 0]) if not dense.dim else _NO_KINDS
    drawn = draws(seeds, 2 * steps)
    least = 0
    for most, size in POOLS:
        at = ((ks > least) & (ks <= most)).nonzero()[0]
        least = most
        if not len(at):
            continue
        some = slice(None) if len(at) == b else at  # as a rule they all want the same
        chosen, propensities, moved = out.chosen[some], out.propensities[some], out.moved[some]
        _greedy(
            rows[some], scores[some], catalogue.order, dense.numbers, dense.has, kinds, ks[some], drawn[some], size,
            policy.diversity, policy.exploration, policy.exploration_pool, chosen, propensities, moved,
        )  # fmt: skip
        if some is at:
            out.chosen[at], out.propensities[at], out.moved[at] = chosen, propensities, moved
    return out


@kernel(
    reads("int32", 2), reads("float64", 2), reads("int32"), reads("int16", 2), reads("bool"), reads("int32"),
    reads("int64"), reads("float64", 2), WHOLE, REAL, REAL, WHOLE,
    fills("int32", 2), fills("float64", 2), fills("uint8", 2),
)  # fmt: skip
def _greedy(
    rows: Ints, scores: Doubles, ids: Ints, vectors: Fixed, has: npt.NDArray[np.bool_], kinds: Ints,
    ks: npt.NDArray[np.int64], drawn: Doubles, size: int, diversity: float, exploration: float, exploration_pool: int,
    chosen: Ints, propensities: Doubles, moved: npt.NDArray[np.uint8],
) -> None:  # fmt: skip
    """Fills a line of `chosen`, `propensities` and `moved` for each query. `ids` put items of the same score in order,
    by row; `kinds` are first categories by row, for items that are compared without vectors."""
    meaning = vectors.shape[1] > 0
    score, order, pool = np.empty(size), np.empty(size, np.int32), np.empty(size, np.int64)
    place = np.empty(size, np.int64)
    nearest, left = np.empty(size), np.empty(size, np.bool_)
    for b in range(len(rows)):
        # the best `size` of all candidates, in order
        n = 0
        for c in range(rows.shape[1]):
            row = rows[b, c]
            if row < 0:
                continue
            n = among_best(score, order, place, n, scores[b, c], ids[row], c)
        for i in range(n):
            pool[i] = rows[b, place[i]]
        if n == 0:
            continue
        scale = max(score[0] - score[n - 1], 1e-6) * diversity
        nearest[:n], left[:n] = 0, True
        above = np.inf
        for step in range(min(ks[b], n)):
            best, highest = 0, -np.inf
            for i in range(n):
                if left[i]:
                    value = np.rint((score[i] - nearest[i]) * 1e5) / 1e5
                    if value > highest:
                        best, highest = i, value
            among = min(n - step, exploration_pool)
            take = best
            if drawn[b, 2 * step] < exploration and among > 0:
                skip = int(drawn[b, 2 * step + 1] * among)
                take = 0
                while skip > 0 or not left[take]:
                    skip -= left[take]
                    take += 1
            ahead = 0
            for i in range(take):
                ahead += left[i]
            left[take] = False
            chosen[b, step] = place[take]
            propensities[b, step] = 1.0
            if exploration > 0:
                propensities[b, step] = (1 - exploration if take == best else 0.0) + (
                    exploration / among if ahead < among else 0.0
                )
            if take != best:
                moved[b, step] = 2
            elif ahead > 0 or score[take] > above:
                moved[b, step] = 1
            above = score[take]
            if diversity > 0:
                row = pool[take]
                for i in range(n):
                    if not left[i]:
                        continue
                    near = 0.0
                    if not meaning:
                        near = 1.0 if kinds[row] >= 0 and kinds[row] == kinds[pool[i]] else 0.0
                    elif has[row] and has[pool[i]]:
                        cosine = product(vectors, row, vectors, pool[i]) * float(STEP)
                        near = np.rint(min(max(cosine, 0.0), 1.0) * 1e4) / 1e4
                    nearest[i] = max(nearest[i], near * scale)
