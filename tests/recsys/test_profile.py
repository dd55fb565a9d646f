"""What a profile says is what the evidence says, read plainly."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.profile import BRAND, DISLIKES, FOUND, LIKES, SHARE, _find
from recsys.user import RECENT

_COLUMNS = RECENT + 4


def _plain(rows, weights, codes, categories, brands, category_ranks, brand_ranks):
    """A line of what `_find` finds, for one user."""
    evidence = [(r, w) for r, w in zip(rows, weights, strict=True) if r >= 0]
    whole = max(sum(abs(w) for _, w in evidence), 1e-9)

    def best(values_of, sign, least, ranks):
        sums = defaultdict(float)
        for row, weight in evidence:
            for value in values_of(row):
                sums[value] += weight
        shares = {value: round(sign * total / whole * SHARE) for value, total in sums.items() if value >= 0}
        return sorted((v for v, s in shares.items() if s >= least), key=lambda v: (-shares[v], ranks[v]))

    def places(holds):
        """The latest two recent places for whose row and weight it holds, the newest last."""
        hits = [at for at in range(RECENT) if rows[at - RECENT] >= 0 and holds(rows[at - RECENT], weights[at - RECENT])]
        return ([-1, -1, *hits])[-2:]

    def of(row):
        return [c for c in categories[row] if c >= 0]

    liked = best(of, 1, LIKES, category_ranks)[:2]
    disliked = next(iter(best(of, -1, DISLIKES, category_ranks)), -1)
    brand = next(iter(best(lambda row: [brands[row]], 1, BRAND, brand_ranks)), -1)
    last = places(lambda _row, _weight: True)[1]
    return [
        *(*liked, -1, -1)[:2],
        *places(lambda row, weight: weight > 0 and bool({*of(row)} & {*liked})),
        disliked, places(lambda row, weight: weight < 0 and disliked in of(row))[1],
        brand, places(lambda row, weight: weight > 0 and brand >= 0 and brands[row] == brand)[1],
        last, *((-1, -1) if last < 0 else (rows[last - RECENT], codes[last - RECENT])),
    ]  # fmt: skip


@given(st.integers(0, 2**32 - 1))
def test_the_kernel_reads_evidence_as_plain_words_would(seed):
    rng = np.random.default_rng(seed)
    users, items, names = 4, 9, 5
    rows = rng.integers(-1, items, (users, _COLUMNS)).astype(np.int32)
    # halves, so that shares tie and sums are exact
    weights = (rng.integers(-4, 7, rows.shape) / 2).astype(np.float32)
    codes = rng.integers(0, 14, rows.shape).astype(np.uint8)
    categories = rng.integers(-1, names, (items, 3)).astype(np.int32)
    brands = rng.integers(-1, names, items).astype(np.int32)
    ranks = [rng.permutation(names) for _ in range(2)]

    def found(some):
        lines = np.full((len(rows[some]), FOUND), -1, np.int64)
        safe, kept = np.empty_like(rows[some]), np.empty_like(weights[some])
        _find(rows[some], weights[some], codes[some], categories, brands, *ranks, safe, kept, lines)
        assert (safe == np.maximum(rows[some], 0)).all()
        assert (kept == np.where(rows[some] >= 0, weights[some], 0)).all()
        return lines.tolist()

    for u, line in enumerate(found(slice(None))):
        assert line == _plain(
            rows[u].tolist(), weights[u].tolist(), codes[u].tolist(), categories.tolist(), brands.tolist(), *ranks
        )
        assert [line] == found(slice(u, u + 1)), "the same without company"
