"""The learner when another text encoder serves: nothing that was learnt on the old vectors goes on serving."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.learning.learner import Bounds, Learner
from recsys.learning.sequence import Rates
from recsys.policy import Policy
from recsys.world import World
from schemas.events import EVENT
from schemas.items import Item

DIM, START = 8, 1_760_000_000_000
ITEMS = [Item(item_id=f"i{n}", title=f"thing {n}", categories=["things"]) for n in range(30)]


def world(encoder: int, without: str = "") -> World:
    vectors = np.random.default_rng(encoder).standard_normal((len(ITEMS), DIM)).astype(np.float32)
    known = [(item.item_id, v) for item, v in zip(ITEMS, vectors, strict=True) if item.item_id != without]
    return World.empty(DIM).advanced(ITEMS, known)


def clicks(since: int = 0):
    return [
        EVENT.validate_python({
            "event_id": f"e{since}-{user}-{turn}", "type": "interaction", "user_id": f"u{user}", "action": "click",
            "ts": START + since + turn * 60_000, "item_id": f"i{(user * 3 + turn) % 30}",
        })
        for turn in range(6)
        for user in range(30)
    ]  # fmt: skip


def fitted(learner: Learner) -> Learner:
    while not learner.work(lambda: True, items=True):
        pass
    return learner


@pytest.fixture
def learner() -> Learner:
    made = Learner(Policy(), Bounds(first_fit=100), Rates(epochs=1, positions=256))
    assert not made.encoded_by("frozen", world(1)), "there was none before"
    made.follow(world(1), clicks())
    return fitted(made)


def test_the_sequence_model_is_fitted_anew_on_the_next_encoders_vectors(learner: Learner) -> None:
    version, following = learner.items_version, world(2, without="i7")
    before = learner.learnt().sequence
    assert before is not None
    assert not learner.encoded_by("frozen", world(1))
    assert learner.learnt().sequence is before
    assert learner.encoded_by("tuned", following)
    assert learner.learnt().sequence is None, "no candidate carries what was learnt on other vectors"
    fitted(learner)
    after = learner.learnt().sequence
    assert after is not None
    assert learner.items_version > version, "both sides are released"
    assert not np.array_equal(before.adapter, after.adapter)
    rows = learner.sequence.rows_of(following.catalogue.keys)  # type: ignore[union-attr]
    texts = learner.sequence.trainer.texts.numpy()[rows]  # type: ignore[union-attr]
    there = following.dense.has[: len(rows)]
    np.testing.assert_array_equal(texts[there], following.dense.vectors()[: len(rows)][there])
    assert not texts[~there].any(), "an item without a new vector keeps none of the old"
    assert (~there).sum() == 1


def test_a_checkpoint_in_between_has_no_model_either(learner: Learner) -> None:
    learner.encoded_by("tuned", world(2))
    again = Learner.restore(*learner.dump(), learner.policy, learner.bounds, Rates(epochs=1, positions=256))
    assert again.encoder_id == "tuned"
    assert again.learnt().sequence is None
    assert not again.encoded_by("tuned", world(2))
    again.follow(world(2), clicks(10**7))
    assert fitted(again).learnt().sequence is not None


def test_a_learner_whose_users_did_nothing_yet_can_be_gone_on_with() -> None:
    made = Learner(Policy(), Bounds(first_fit=100), Rates(epochs=1))
    made.follow(world(1), [])
    again = Learner.restore(*made.dump(), made.policy, made.bounds)
    assert again.users == {}
    again.follow(world(1), clicks())
    assert fitted(again).learnt().sequence is not None
