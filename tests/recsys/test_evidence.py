"""Evidence as arrays: what `recsys.user` packs, row by row; and the vectors and the moment that follow from it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.actions import code_weights
from recsys.evidence import PAST, SPAN, evidence_of
from recsys.keys import item_key
from recsys.policy import Policy
from recsys.query import Query, block_of
from recsys.user import EPOCH_2000_S, HISTORY_ROW, HISTORY_STEP_S, KEY_MASK, RECENT, RECENT_ROW, User

POLICY = Policy(evidence_half_life_hours=1000)
TABLE = code_weights(POLICY)
NOW_S = 1_760_000_000
_IDS = ["books-00", "books-01", "laptops-10", "dresses-23", "games-12", "help-returns", "never-was"]
_KEYS = st.sampled_from([item_key(i) for i in _IDS])
_RECENT = st.tuples(_KEYS, st.integers(0, 255), st.integers(0, 2**32 - 1), st.floats(-100, 100, width=16))
_PAST = st.tuples(_KEYS, st.integers(0, 15), st.integers(0, (1 << 12) - 1))
_USER = st.builds(
    lambda recent, past, start: User(
        "u",
        recent=b"".join(RECENT_ROW.pack(key | code << 48, ts, weight) for key, code, ts, weight in recent),
        history=b"".join(HISTORY_ROW.pack(key | code << 48 | step << 52) for key, code, step in past),
        session_start_s=start,
    ),
    st.lists(_RECENT, max_size=RECENT), st.lists(_PAST, max_size=2 * PAST), st.integers(0, 2**32 - 1),
)  # fmt: skip


def _rows(user: User) -> list[tuple[int, int, int, float]]:
    """(key, code, seconds, weight before decay) of a user's evidence, oldest first."""
    found = []
    for (packed,) in list(HISTORY_ROW.iter_unpack(user.history))[-PAST:]:
        code = packed >> 48 & 15
        found.append((packed & KEY_MASK, code, (packed >> 52) * HISTORY_STEP_S + EPOCH_2000_S, float(TABLE[code])))
    padding = [(0, 0, 0, 0.0)] * (PAST - len(found))
    recent = [(p & KEY_MASK, p >> 48 & 255, ts, weight) for p, ts, weight in RECENT_ROW.iter_unpack(user.recent)]
    return [*padding, *found, *[(0, 0, 0, 0.0)] * (RECENT - len(recent)), *recent]


def _decayed(rows: list[tuple[int, int, int, float]]) -> list[float]:
    ages = [max(NOW_S - ts, 0) / 3600 / POLICY.evidence_half_life_hours for _, _, ts, _ in rows]
    return [weight * 0.5**age if key else 0.0 for (key, _, _, weight), age in zip(rows, ages, strict=True)]


@settings(max_examples=60)
@given(users=st.lists(_USER, min_size=1, max_size=5), cut=st.integers(0, 5))
def test_evidence_is_what_was_packed_decayed_to_now(users, cut):
    now = np.full(len(users), NOW_S)
    evidence = evidence_of(users, now, POLICY, TABLE)
    assert (
        evidence.keys.shape == evidence.codes.shape == evidence.ts.shape == evidence.weights.shape == (len(users), SPAN)
    )
    for line, user in enumerate(users):
        rows = _rows(user)
        assert evidence.keys[line].tolist() == [key for key, _, _, _ in rows]
        there = evidence.keys[line] > 0
        assert evidence.codes[line][there].tolist() == [code for key, code, _, _ in rows if key]
        assert evidence.ts[line][there].tolist() == [ts for key, _, ts, _ in rows if key]
        assert np.allclose(evidence.weights[line], _decayed(rows), rtol=2e-5)
    bounds = sorted({0, min(cut, len(users)), len(users)})
    parts = [evidence_of(users[a:b], now[a:b], POLICY, TABLE).weights for a, b in pairwise(bounds)]
    assert (np.concatenate(parts) == evidence.weights).all()


@settings(max_examples=40)
@given(users=st.lists(_USER, min_size=1, max_size=4), like=st.sampled_from([(), ("books-00", "games-12", "never-was")]))
def test_a_query_starts_from_the_mean_of_what_was_liked_and_of_the_session(world, users, like):
    queries = [Query(n, user, f"q{n}", "request", NOW_S * 1000, like_items=like) for n, user in enumerate(users)]
    block, c = block_of(world, queries, POLICY, TABLE), world.catalogue
    assert (block.rows == np.vectorize(lambda key: _row(c, key))(block.evidence.keys)).all()
    for b, user in enumerate(users):
        weights = block.evidence.weights[b].astype(float)
        known = [s for s in range(SPAN) if block.rows[b, s] >= 0 and world.dense.has[block.rows[b, s]]]
        vectors = {s: world.dense.vectors(block.rows[b, s]).astype(float) for s in known}
        whole = sum(((weights[s] if weights[s] > 0 else weights[s] / 2) * vectors[s] for s in known), np.zeros(1))
        lately = [s for s in known if weights[s] > 0 and block.evidence.ts[b, s] >= user.session_start_s]
        if like:
            whole = sum(world.dense.vectors(c.row_of[i]).astype(float) for i in like if i in c.row_of)
        for vector, total in (
            (block.profile[b], whole),
            (block.session[b], sum(weights[s] * vectors[s] for s in lately)),
        ):
            norm = np.linalg.norm(total)
            # where almost nothing is left of a sum, its direction is noise
            if norm > 1e-2 or not np.any(total):
                assert np.allclose(vector, total / norm if norm else 0, atol=1e-3 if norm < 1 else 1e-5)
        many, newest = int((block.evidence.keys[b] > 0).sum()), int(block.evidence.ts[b, -1])
        stated = [True, many == 0, many in (1, 2), many >= 10]
        stated += [many > 0 and NOW_S - newest < 86_400, many > 0 and NOW_S - newest > 60 * 86_400]
        assert block.context[b].tolist() == [float(holds) for holds in stated]


def _row(catalogue, key: int) -> int:
    return next((row for item_id, row in catalogue.row_of.items() if item_key(item_id) == key), -1)
