"""Served: models reach the World, or there is a reason in words and what served before goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.features import SCHEMA_VERSION as FEATURE_SCHEMA
from recsys.index.sketch import SKETCH
from recsys.learning.guarded import _halves as halves
from recsys.learning.sequence import Rates, SequenceLearner
from recsys.rank import prior_weights
from recsys.sequence import SequenceModel
from recsys.world import World
from schemas.items import Item
from schemas.releases import Base, Release, TrainedThrough
from streams.releases import ReleaseStorage, ReleaseUnusable
from streams.served import SCHEMA_VERSION, Served, named

NOW = 1_760_000_000_000
DIM = 8


@pytest.fixture
def storage(tmp_path: Path) -> ReleaseStorage:
    return ReleaseStorage(tmp_path.as_uri(), "ns")


@pytest.fixture
def world() -> World:
    items = [Item(item_id=f"i{n}", title=f"thing {n}", categories=["things"]) for n in range(30)]
    vectors = [
        (i.item_id, np.random.default_rng(n).standard_normal(DIM).astype(np.float32)) for n, i in enumerate(items)
    ]
    return World.empty(DIM).advanced(items, vectors).settled()


def release(role: Any, sequence: int, place: Base, **changes: Any) -> Release:
    fields: dict[str, Any] = {
        "release_id": f"{role}-{place.sha256[:10]}-{sequence}", "role": role, "sequence": sequence, "created_ts": NOW,
        "trained_through": TrainedThrough(ts=NOW, offsets={}), "uri": place.uri, "sha256": place.sha256,
        "size": place.size, "schema_version": SCHEMA_VERSION, "status": "serving",
    }  # fmt: skip
    return Release(**(fields | changes))


def ranker(storage: ReleaseStorage, sequence: int, shift: float = 1.0, **changes: Any) -> Release:
    meta = {"feature_schema": changes.pop("feature_schema", FEATURE_SCHEMA)}
    weights = changes.pop("weights", prior_weights() + np.float32(shift))
    return release(
        "ranker", sequence, storage.save_model("ranker", {"weights": weights}, meta, sequence, NOW), **changes
    )


def model_of(world: World, seed: int = 1) -> SequenceModel:
    learner = SequenceLearner(world.catalogue.keys, world.dense.vectors(), Rates(epochs=1), seed=seed)
    users = np.repeat(np.arange(10), 6)
    rows = np.random.default_rng(seed).integers(30, size=60)
    learner.take(users, rows, np.arange(60) + NOW // 1000, np.ones(60, np.float32))
    learner.fit()
    return learner.snapshot()


def sequence(storage: ReleaseStorage, number: int, model: SequenceModel, items: Base | None = None) -> Release:
    items = items or storage.save_model("adapter", halves(model.item_side()), {}, number, NOW)
    place = storage.save_model("sequence", halves(model.user_side()), {}, number, NOW)
    return release("sequence", number, place, base=items)


def test_models_are_put_on_the_world_and_named(storage: ReleaseStorage, world: World) -> None:
    served = Served(storage)
    assert served.onto(world) is world
    first, model = ranker(storage, 1), model_of(world)
    both = sequence(storage, 1, model)
    served.take(first)
    served.take(both)
    made = served.onto(world)
    assert made.release_id == f"{first.release_id}+{both.release_id}"
    assert np.array_equal(made.ranker.weights, prior_weights() + 1)
    assert made.sequence is not None
    np.testing.assert_allclose(made.sequence.into, model.into[np.argsort(model.keys)], atol=1e-3)
    assert served.onto(made) is made
    assert world.release_id == "none", "a World is never changed in place"


def test_the_highest_sequence_counts_whatever_came_last(storage: ReleaseStorage, world: World) -> None:
    served = Served(storage)
    for one in (ranker(storage, 3, 3.0), ranker(storage, 2, 2.0), ranker(storage, 9, 9.0, status="candidate")):
        served.take(one)
    assert served.onto(world).ranker.weights[0, 0] == pytest.approx(prior_weights()[0, 0] + 3)


def test_a_new_user_side_over_the_same_items_keeps_their_tables(storage: ReleaseStorage, world: World) -> None:
    served, model = Served(storage), model_of(world)
    first = sequence(storage, 1, model)
    served.take(first)
    before = served.onto(world)
    tables = before.sequence_items
    other = model.with_users(model_of(world, 2).user_side())
    served.take(sequence(storage, 2, other, first.base))
    after = served.onto(before)
    assert after.sequence_items is tables
    assert after.release_id != before.release_id


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("bytes", "sha256"),
        ("gone", "HEADWATER_RELEASES_URL"),
        ("layout", "update Headwater"),
        ("features", "one version of Headwater"),
        ("nan", "numbers that are none"),
        ("shape", "features of schema"),
        ("empty", "no ranker"),
    ],
)
def test_what_cannot_serve_is_told_and_the_world_stays(
    storage: ReleaseStorage, world: World, spoil: str, says: str
) -> None:
    served = Served(storage)
    served.take(ranker(storage, 1))
    good = served.onto(world)
    match spoil:
        case "features":
            bad = ranker(storage, 2, feature_schema=99)
        case "nan":
            bad = ranker(storage, 2, weights=np.full_like(prior_weights(), np.nan))
        case "shape":
            bad = ranker(storage, 2, weights=np.zeros((2, 2), np.float32))
        case "empty":
            bad = release("ranker", 2, storage.save_model("ranker", {"x": np.zeros(1)}, {}, 2, NOW))
        case "layout":
            bad = ranker(storage, 2, schema_version=SCHEMA_VERSION + 1)
        case _:
            bad = ranker(storage, 2)
            path = Path(bad.uri.removeprefix("file://"))
            path.unlink() if spoil == "gone" else path.write_bytes(path.read_bytes()[:-1] + b"x")
    served.take(bad)
    assert served.onto(good) is good
    with pytest.raises(ReleaseUnusable, match=says):
        served.load(bad, world.dense.dim)
    served.take(ranker(storage, 3, 5.0))
    assert served.onto(good).ranker.weights[0, 0] == pytest.approx(prior_weights()[0, 0] + 5), "the next one serves"


def test_a_model_learnt_on_other_vectors_is_refused(storage: ReleaseStorage, world: World) -> None:
    served = Served(storage)
    other = World.empty(DIM + 4).advanced(world.catalogue.items, [
        (f"i{n}", np.ones(DIM + 4, np.float32)) for n in range(30)
    ])  # fmt: skip
    misfit = sequence(storage, 1, model_of(other))
    served.take(misfit)
    assert served.onto(world) is world
    with pytest.raises(ReleaseUnusable, match=f"those here have {DIM + SKETCH}"):
        served.load(misfit, world.dense.dim)


def candidate(release: Release, share: float | None = 0.3) -> Release:
    return release.model_copy(update={"status": "candidate", "share": share})


def test_a_canary_stands_beside_what_serves_until_it_serves_all_or_is_over(
    storage: ReleaseStorage, world: World
) -> None:
    served, model = Served(storage), model_of(world)
    first, items = ranker(storage, 1, 1.0), sequence(storage, 1, model)
    users = sequence(storage, 2, model.with_users(model_of(world, 2).user_side()), items.base)
    second, third = ranker(storage, 2, 2.0), ranker(storage, 3, 3.0)
    for one in (first, items, candidate(users)):
        served.take(one)
    alone = served.onto(world)
    assert alone.canary is None, "it begins with its ranker, which comes last"
    served.take(candidate(second))
    tried = served.onto(alone)
    assert tried.canary is not None
    assert (tried.canary.share, tried.canary.salt) == (0.3, second.release_id)
    assert tried.canary.release_id == f"{second.release_id}+{users.release_id}"
    assert tried.release_id == f"{alone.release_id}+canary:0.3:{second.release_id}+canary:0.3:{users.release_id}"
    assert named(tried.release_id) == (
        [first.release_id, items.release_id], 0.3, [second.release_id, users.release_id],
    )  # fmt: skip
    assert np.array_equal(tried.ranker.weights, alone.ranker.weights), "the others are served as before"
    assert tried.canary.sequence is not None
    assert tried.canary.sequence.into is tried.sequence.into
    assert served.onto(tried) is tried

    served.take(second.model_copy(update={"status": "quarantined"}))
    over = served.onto(tried)
    assert (over.canary, over.release_id) == (None, alone.release_id)

    served.take(candidate(third))
    assert served.onto(over).canary is not None
    served.take(third)
    after = served.onto(over)
    assert after.canary is None
    assert after.release_id == f"{third.release_id}+{items.release_id}"


def test_a_release_that_came_after_a_canary_ends_it_and_one_that_cannot_be_read_is_none(
    storage: ReleaseStorage, world: World
) -> None:
    served = Served(storage)
    served.take(ranker(storage, 1))
    bad = candidate(ranker(storage, 2, weights=np.full_like(prior_weights(), np.nan)))
    served.take(bad)
    assert served.onto(world).canary is None
    served.take(candidate(ranker(storage, 3, 3.0)))
    assert served.onto(world).canary is not None
    served.take(ranker(storage, 4, 4.0))
    assert served.onto(world).canary is None
    served.take(candidate(ranker(storage, 5, 5.0), None))
    assert served.onto(world).canary is None, "a candidate without a share is for nobody"


def test_an_operator_s_pin_on_a_sequence_model_outlasts_a_change_of_the_encoder(
    storage: ReleaseStorage, world: World
) -> None:
    served = Served(storage, encoder_id="frozen", frozen_id="frozen")
    pinned = sequence(storage, 1, model_of(world)).model_copy(update={"pinned": True})
    served.take(pinned)
    served.onto(world)
    assert served.pinned
    served.encoded_by("tuned", None)
    assert served.onto(world).sequence is None
    assert served.pinned, "the learner releases no other in its place"
    served.take(pinned.model_copy(update={"pinned": False, "sequence": 2, "release_id": "sequence-let-go"}))
    assert not served.pinned
