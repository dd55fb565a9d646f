"""The feature table: each feature is what its line in `recsys.features` says, whoever else is in the block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from recsys.actions import code_weights
from recsys.counting import Counts
from recsys.features import FEATURES, INDEX
from recsys.policy import Policy
from recsys.priors import Shelf
from recsys.query import Query, block_of
from recsys.retrieve import retrieve, search
from recsys.score import NEW_HALF_LIFE_MS, features_of, price_taste, tastes_of
from recsys.sequence import SequenceModel, SequenceNet
from recsys.shared import SHARED
from recsys.statistics import Statistics
from recsys.user import SHOWN_ROW, Statement, User
from recsys.world import World

POLICY = Policy()
WEIGHTS = code_weights(POLICY)
ACTIONS = ("click", "purchase", "dislike", "like", "view", "skip")


@pytest.fixture(scope="module")
def shoppers(new_log, world) -> tuple[dict[str, User], Statistics, int]:
    """(users with likes, dislikes and texts, the statistics of what they did, the time behind it)."""
    log, random = new_log(world), np.random.default_rng(5)
    ids, counts, shelf = [*world.catalogue.ids, "never-was"], Counts(POLICY), Shelf()
    for item in world.catalogue.items:
        shelf.place(item)
    for at in range(150):
        item_id, action = ids[int(random.integers(len(ids)))], ACTIONS[int(random.integers(len(ACTIONS)))]
        event = log.event("interaction", f"u{int(random.integers(8))}", action=action, item_id=item_id)
        log.run([event])
        counts.learn([event.event])
        if at % 17 == 0:
            log.send("chat", f"u{at % 8}", text="a red gaming laptop")
    log.users["u0"].statements += (Statement("category:laptops", "muted", ""),)
    for user in ("u1", "u2"):
        some = random.choice(world.catalogue.keys, 20, replace=False) & np.uint64(0xFFFFFFFF)
        log.users[user].shown = b"".join(SHOWN_ROW.pack(int(key), times) for times, key in enumerate(some, 1))
    users = {**log.users, "stranger": User.new("stranger")}
    return users, Statistics.of(counts.tallies(shelf), "test"), log.event("request").event.ts


def _sequence(world: World) -> SequenceModel:
    torch.manual_seed(3)
    net = SequenceNet(len(world.catalogue.keys), world.dense.dim, 16, 0.0)
    for part in (net.into, net.out, net.bias):
        torch.nn.init.normal_(part)
    return SequenceModel.of(net, world.catalogue.keys)


@pytest.fixture(params=["whole", "bare", "sequence", "half without vectors"])
def shop(request, shoppers, build_world, shop_items) -> World:
    if request.param == "bare":  # no prices, brands, dates, categories
        bare = {"price": None, "brand": None, "published_at": None, "categories": []}
        return build_world([item.model_copy(update=bare) for item in shop_items], dim=0)
    world = build_world(shop_items, shoppers[1])
    if request.param == "sequence":
        world = replace(world, sequence=_sequence(world))
    if request.param == "half without vectors":
        has = world.dense.has & (np.arange(len(world.dense.has)) % 2 == 0)
        world = replace(world, dense=replace(world.dense, has=has))
    return world


def _queries(shoppers):
    users, _, ts = shoppers
    return [
        Query(at, user, f"q{at}", "request", ts, k=5 + at, text="blue silk dress" if at % 3 == 1 else None)
        for at, user in enumerate(users.values())
    ]


def _table(world, queries):
    block = block_of(world, queries, POLICY, WEIGHTS)
    candidates = retrieve(world, block, search(world, block, POLICY), POLICY)
    tastes = tastes_of(world, block)
    return block, candidates, tastes, features_of(world, block, candidates, tastes)


def _plain(world, block, candidates, tastes, b, place) -> dict[str, float]:
    """The features of one candidate, one by one."""
    c, row = world.catalogue, candidates.rows[b, place]
    shown = dict(SHOWN_ROW.iter_unpack(block.queries[b].user.shown))
    lexical, price = float(candidates.lexical[b, place]), tastes.price[b]
    fit = 1 - abs(world.price_level[row] - price) / 2
    dim, has = world.dense.dim, world.dense.has
    vector = world.dense.vectors(row) if dim else np.zeros(0, np.float32)
    anchors = candidates.anchors[b]
    near = [float(world.dense.vectors(a) @ vector) if dim and a >= 0 and has[a] else 0.0 for a in anchors]
    found = {
        "lexical": lexical / (lexical + 4),
        "newness": 0.5 ** (max(block.now[b] - c.published[row], 0) / NEW_HALF_LIFE_MS) if c.published[row] >= 0 else 0,
        "category": np.clip(sum(tastes.categories[b, k] for k in c.categories[row] if k >= 0), -1, 1),
        "brand": tastes.brands[b, c.brand[row]] if c.brand[row] >= 0 else 0,
        "price_fit": 0 if np.isnan(fit) else fit,
        "shown": -np.log2(1 + shown.get(int(c.keys[row]) & 0xFFFFFFFF, 0)) / 4,
        "available": 1,
        "similarity": block.profile[b] @ vector,
        "session_similarity": block.session[b] @ vector,
        "words": block.words[b] @ vector,
        "similarity_last": near[0],
        "similarity_best": max(near),
        "similarity_recent": sum(n / (1 + age) / 2 for age, n in enumerate(near)),
        **dict(zip(SHARED, world.shared_features[row], strict=True)),
    }
    if world.sequence is not None:
        _, out, bias = world.sequence_items
        found |= {"sequence": out[row] @ candidates.users[b] / 8, "sequence_bias": bias[row] / 4}
    among = candidates.neighbours
    if (at := among.places(np.full((b + 1, 1), c.keys[row], np.uint64))[b, 0]) >= 0:
        found |= {
            "covisitation": np.log1p(among.weights[at]) / 4,
            "covisitation_last": np.log1p(among.last[at]) / 4,
            "covisitation_log": np.log1p(among.weights[at] / 0.05) / 8,
            "covisitation_last_log": np.log1p(among.last[at] / 0.05) / 8,
            "covisitation_share": np.log1p(among.shares[at] / 1e-4) / 8,
            "covisitation_lift": np.log1p(among.lifts[at] / np.sqrt(world.weights[row, -1] + 5) / 1e-3) / 6,
        }
    return found


def test_each_feature_is_what_it_says(shop, shoppers):
    block, candidates, tastes, x = _table(shop, _queries(shoppers))
    for b, place in zip(*np.nonzero(candidates.rows >= 0), strict=True):
        found = _plain(shop, block, candidates, tastes, b, place)
        wanted = [found.get(feature.name, 0.0) for feature in FEATURES]
        assert np.allclose(x[b, place], wanted, atol=5e-5), shop.catalogue.items[candidates.rows[b, place]].item_id
    assert not x[candidates.rows < 0].any()


def test_the_features_of_a_shop_that_was_shopped_in_are_not_empty(build_world, shop_items, shoppers):
    """What the law above is tested on holds every feature."""
    world = build_world(shop_items, shoppers[1])
    x = _table(replace(world, sequence=_sequence(world)), _queries(shoppers))[3]
    empty = {feature.name for feature in FEATURES if not x[:, :, INDEX[feature.name]].any()}
    assert empty <= {"untouched", "fresh"}


def test_a_query_has_the_same_features_alone_and_in_any_company(shop, shoppers):
    queries = _queries(shoppers)
    block, candidates, tastes, x = _table(shop, queries)
    for at, query in enumerate(queries):
        alone, its_own, taste, features = _table(shop, [query])
        width = its_own.rows.shape[1]
        assert (its_own.rows[0] == candidates.rows[at, :width]).all()
        assert (features[0] == x[at, :width]).all()
        for name in ("profile", "session", "words", "context", "rows", "liked"):
            assert (getattr(alone, name)[0] == getattr(block, name)[at]).all(), name
        assert np.array_equal(taste.price[0], tastes.price[at], equal_nan=True)


def test_tastes_are_shares_of_the_evidence(build_world, shop_items, shoppers):
    world = build_world(shop_items, shoppers[1])
    queries = _queries(shoppers)
    block = block_of(world, queries, POLICY, WEIGHTS)
    tastes, c = tastes_of(world, block), world.catalogue
    for b, query in enumerate(queries):
        kinds, makers = np.zeros(tastes.categories.shape[1]), np.zeros(tastes.brands.shape[1])
        pairs = [(r, float(w)) for r, w in zip(block.rows[b], block.evidence.weights[b], strict=True) if r >= 0]
        total = max(sum(abs(w) for _, w in pairs), 1e-9)
        for row, weight in pairs:
            kinds[[k for k in c.categories[row] if k >= 0]] += weight / total
            makers[[m for m in c.brand[row : row + 1] if m >= 0]] += weight / total
        if query.user.statements:
            muted = c.category_names.of["laptops"]
            kinds[muted] = min(kinds[muted], 0)
        assert np.allclose(tastes.categories[b], kinds, atol=1e-6)
        assert np.allclose(tastes.brands[b], makers, atol=1e-6)
        liked = [(world.price_level[r], w) for r, w in pairs if w > 0 and not np.isnan(world.price_level[r])]
        price = sum(p * w for p, w in liked) / sum(w for _, w in liked) if liked else np.nan
        assert np.isclose(tastes.price[b], price, atol=1e-6, equal_nan=True)
        mine = price_taste(world, block.rows[b : b + 1], block.evidence.weights[b : b + 1])
        assert np.array_equal(mine, tastes.price[b : b + 1], equal_nan=True)


def test_an_empty_catalogue_has_no_features(shoppers):
    block, candidates, tastes, x = _table(World.empty(), _queries(shoppers))
    assert x.shape == (*candidates.rows.shape, len(FEATURES))
    assert not x.any()
    assert np.isnan(tastes.price).all()
    assert block.profile.shape == (len(x), block.words.shape[1])
