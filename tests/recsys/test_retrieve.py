"""Retrieval: what goes together is summed as written, the first retriever to name an item is its source, nothing that
is kept out gets in, and no query knows of the others in its block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.actions import CODES, code_weights
from recsys.keys import item_key
from recsys.neighbours import ANCHORS
from recsys.policy import Policy
from recsys.query import Query, block_of, kept_out
from recsys.retrieve import CODE, PLACES, retrieve, search
from recsys.statistics import NEIGHBOURS, WINDOWS_DAYS, Statistics
from recsys.user import EPOCH_2000_S, HISTORY_ROW, HISTORY_STEP_S, RECENT_ROW, User

NOW = 1_760_000_000_000


def _user(name, deeds):
    """A user with (key, action) deeds, oldest first, an hour apart: the last eight are recent ones."""
    user = User.new(name)
    old, new = deeds[:-8], deeds[-8:]
    steps = (NOW // 1000 - 30 * 86_400 - EPOCH_2000_S) // HISTORY_STEP_S
    user.history = b"".join(HISTORY_ROW.pack(key | CODES[action] << 48 | steps << 52) for key, action in old)
    weights = code_weights(Policy())
    user.recent = b"".join(
        RECENT_ROW.pack(key | CODES[action] << 48, NOW // 1000 - 3600 * (len(new) - at), weights[CODES[action]])
        for at, (key, action) in enumerate(new)
    )
    return user


@pytest.fixture(scope="module")
def shop(build_world, shop_items):
    """A world whose items, and some that it lacks, stand in statistics at random."""
    random = np.random.default_rng(0)
    known = [item_key(i.item_id) for i in shop_items if i.item_id != "laptops-00"]
    keys = np.sort(np.array([*known, *(item_key(f"gone-{n}") for n in range(9))], np.uint64))
    near = np.zeros((len(keys), NEIGHBOURS), np.uint64)
    weights = np.zeros((len(keys), NEIGHBOURS), np.float32)
    for at in range(len(keys)):
        n = random.integers(0, 40)
        near[at, :n] = random.choice(keys, n, replace=False)
        weights[at, :n] = np.sort(random.integers(1, 50, n))[::-1] / 8
    blank = Statistics.empty()
    counted = Statistics(
        "made", NOW, keys, random.random((len(keys), len(WINDOWS_DAYS))).astype(np.float32) * 9,
        np.zeros(len(keys), np.float32), np.ones(len(keys), np.float32), np.full(len(keys), NOW - 86_400_000),
        near, weights, blank.category_popularity,
    )  # fmt: skip
    return build_world(statistics=counted)


def _block(world, users, policy=None, **fields):
    policy = policy or Policy()
    queries = [Query(n, user, f"q{n}", "request", NOW, **fields) for n, user in enumerate(users)]
    return block_of(world, queries, policy, code_weights(policy))


def _candidates(world, users, policy=None, **fields):
    policy = policy or Policy()
    block = _block(world, users, policy, **fields)
    return block, retrieve(world, block, search(world, block, policy), policy)


ITEMS = [f"{kind}-{n}{c}" for kind in ("dresses", "laptops", "books", "games") for n in range(3) for c in range(4)]
deeds = st.lists(
    st.tuples(
        st.sampled_from([item_key(i) for i in [*ITEMS, "help-returns", "gone-1", "never-seen"]]),
        st.sampled_from(["click", "purchase", "view", "dislike", "other"]),
    ),
    max_size=40,
)


def _company(world, block, at):
    """{key: [weight, last, share, lift, evidence column]} of a query, as the words of `Neighbours` say."""
    stats, evidence = world.statistics, block.evidence
    liked = [s for s in range(block.rows.shape[1]) if evidence.weights[at, s] > 0][::-1][:ANCHORS]
    found: dict[int, list[float]] = {}
    loudest: dict[int, float] = {}
    for step, s in enumerate(liked):
        place = int(stats.take(evidence.keys[at, s : s + 1])[0])
        if place < 0:
            continue
        mass = stats.neighbour_weights[place].sum() + 5
        fame = np.sqrt(stats.popularity[place, -1] + 5)
        for key, weight in zip(stats.neighbours[place].tolist(), stats.neighbour_weights[place].tolist(), strict=True):
            if key:
                line = found.setdefault(key, [0, 0, 0, 0, -1])
                part = weight * np.log1p(evidence.weights[at, s]) / (1 + step)
                line[0] += part
                line[1] += weight * (step == 0)
                line[2] += weight / mass
                line[3] += weight / fame
                if part > loudest.get(key, -1) * (1 + 1e-6):
                    loudest[key], line[4] = part, s
    return found


@given(st.lists(deeds, min_size=1, max_size=4))
@settings(max_examples=60)
def test_company_is_what_its_words_say(shop, lists):
    block, found = _candidates(shop, [_user(f"u{n}", d) for n, d in enumerate(lists)])
    near = found.neighbours
    for at in range(len(lists)):
        mine = (near.codes >> np.uint64(48)) == at
        keys = (near.codes[mine] & np.uint64((1 << 48) - 1)).tolist()
        company = _company(shop, block, at)
        assert keys == sorted(company)
        expected = np.array([company[key] for key in keys]).reshape(len(keys), 5)
        got = np.stack([near.weights, near.last, near.shares, near.lifts, near.anchors], axis=1)[mine]
        np.testing.assert_allclose(got, expected, rtol=1e-5)
        assert (
            near.rows[mine].tolist()
            == shop.catalogue.rows_of_keys(near.codes[mine] & np.uint64((1 << 48) - 1)).tolist()
        )
        liked = (block.evidence.weights[at] > 0).nonzero()[0][::-1][:ANCHORS]
        assert found.anchors[at].tolist() == [*block.rows[at, liked].tolist(), *[-1] * (ANCHORS - len(liked))]


@given(st.lists(deeds, min_size=2, max_size=5), st.data())
@settings(max_examples=40)
def test_a_query_finds_the_same_alone(shop, lists, data):
    users = [_user(f"u{n}", d) for n, d in enumerate(lists)]
    _, whole = _candidates(shop, users)
    at = data.draw(st.integers(0, len(users) - 1))
    _, alone = _candidates(shop, [users[at]])
    for name in ("rows", "sources", "anchors", "lexical"):
        assert (getattr(alone, name)[0] == getattr(whole, name)[at]).all()
    mine = (whole.neighbours.codes >> np.uint64(48)) == at
    for name in ("weights", "last", "shares", "lifts", "anchors", "rows"):
        assert (getattr(alone.neighbours, name) == getattr(whole.neighbours, name)[mine]).all()


@given(
    deeds,
    st.none() | st.frozensets(st.sampled_from(["click", "purchase", "zoom"])),
    st.lists(st.sampled_from(ITEMS), max_size=9),
    st.booleans(),
)
@settings(max_examples=60)
def test_what_is_kept_out_stays_out_and_the_rest_comes_once(shop, mine, actions, exclude, asked):
    policy = Policy(keep_out_actions=actions)
    block, found = _candidates(shop, [_user("u", mine)], policy, exclude=exclude, asked=asked, k=60)
    rows = found.rows[0][found.rows[0] >= 0]
    assert len(set(rows.tolist())) == len(rows)
    assert (found.rows[0][len(rows) :] == -1).all()
    offered = shop.offered if asked else shop.shop
    out = np.isin(shop.catalogue.keys, kept_out(block.queries[0], policy))
    assert set(rows.tolist()) == set((offered & ~out).nonzero()[0].tolist())  # few enough that all are candidates


def test_the_first_retriever_to_name_an_item_is_its_source(shop):
    block, found = _candidates(
        shop, [_user("u", [(item_key("books-00"), "click"), (item_key("games-11"), "purchase")])]
    )
    near, order = found.neighbours, shop.catalogue.order
    seen = set(block.rows[0].tolist())
    for name, weights, places in (
        ("session", near.last, PLACES["session"]),
        ("together", near.weights, PLACES["together"]),
    ):
        heavy = [(-weight, order[row], row) for weight, row in zip(weights.tolist(), near.rows.tolist(), strict=True)]
        best = [row for weight, _, row in sorted(heavy) if weight < 0 and row >= 0][:places]
        sources = dict(zip(found.rows[0].tolist(), found.sources[0].tolist(), strict=True))
        expected = [row for row in best if row not in seen and shop.shop[row]]
        assert expected
        for row in expected:
            assert sources[row] in (CODE[name], CODE["session"])
    listed = [row for row in found.rows[0].tolist() if sources[row] == CODE["session"]]
    last = dict(zip(near.rows.tolist(), near.last.tolist(), strict=True))
    assert [last[row] for row in listed] == sorted((last[row] for row in listed), reverse=True)
