"""On another device the same comes out, and nothing that belongs there was left here: see `tests.elsewhere`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys.encoder import TextEncoder
from recsys.features import CONTEXT, FEATURES
from recsys.learning.sequence import Rates, SequenceLearner
from recsys.learning.tuning import EncoderTuner, Pair
from recsys.learning.tuning import Rates as TuningRates
from recsys.rank import Ranker
from tests.elsewhere import Elsewhere, MixedDevices, elsewhere

ITEMS, TEXT = 40, 16
KEYS = np.arange(1, ITEMS + 1, dtype=np.uint64)
TEXTS = np.random.default_rng(2).standard_normal((ITEMS + 5, TEXT)).astype(np.float32) / 4


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """On all processors: where bfloat16 is native, what is compared would be rounded to three digits."""
    for module in ("encoder", "learning.trainer", "learning.tuning"):
        monkeypatch.setattr(f"recsys.{module}.native_bfloat16", lambda device: False)


def test_what_was_left_here_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere(monkeypatch) as device:
        there = torch.ones(3, device=device)
        assert (there + 1).cpu().tolist() == [2, 2, 2]
        with pytest.raises(MixedDevices):
            there + torch.ones(3)
        with pytest.raises(RuntimeError):
            there.numpy()


def trained(device: str, rates: Rates) -> SequenceLearner:
    """All that the lane does: fits, follows, takes in new items, goes on from a release and from a checkpoint."""
    learner = SequenceLearner(KEYS, TEXTS[:ITEMS], rates, device=device)

    def rounds(since: int, items: int) -> None:
        rng = np.random.default_rng(since)
        for turn in range(8):
            learner.take(
                np.arange(30), rng.integers(items, size=30), np.full(30, since + turn * 60), np.ones(30, np.float32)
            )

    everything = np.arange(1, ITEMS + 6, dtype=np.uint64)
    rounds(0, ITEMS)
    learner.fit()
    learner.stock(everything, TEXTS)
    rounds(10_000, ITEMS + 5)
    learner.update()
    learner.update_users()
    learner = SequenceLearner.restore(*learner.dump(), rates, device)
    learner.stock(everything, TEXTS)
    rounds(20_000, ITEMS + 5)
    learner.update()
    learner.update_users()
    learner.adopt(learner.snapshot())
    rounds(30_000, ITEMS + 5)
    learner.update()
    return learner


@pytest.mark.parametrize("sampled_from", [1, 10**9], ids=["sampled", "full"])
def test_the_sequence_lane_trains_the_same_there(sampled_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = Rates(fit=1e-2, update=1e-2, epochs=2, positions=64, sampled_from=sampled_from, negatives=16)
    here = trained("cpu", rates)
    with elsewhere(monkeypatch) as device:
        learner = trained(device, rates)
        there = learner.snapshot()
        assert learner.trainer.device.type == device
        assert all(isinstance(p, Elsewhere) for p in learner.trainer.net.parameters()), "it was trained there"
        assert not learner.trainer.relieved
        optimiser = learner.dump()[0]
        learner.trainer.go_to("cpu")  # as where its memory ends
        back = learner.dump()[0]
        assert optimiser.keys() == back.keys()
        assert all(np.array_equal(optimiser[name], back[name]) for name in back)
        learner.trainer.step([[(0, 0, 0), (1, 60, 0)]], learner._popularity, 1e-2)
    mine = here.snapshot()
    expected = {**mine.item_side(), **mine.user_side()}
    found = {**there.item_side(), **there.user_side()}
    assert expected.keys() == found.keys()
    assert all(np.allclose(expected[name], found[name], atol=1e-4) for name in expected), "steps move them by .01"


def test_the_encoder_is_tuned_the_same_there(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tuned(device: str) -> EncoderTuner:
        tuner = EncoderTuner(tiny_encoder, device, TuningRates(pairs=8))
        tuner.take([Pair(f"u{n}", f"red thing {n % 5}", f"i{n % 7}", f"blue thing {n % 7}") for n in range(30)])
        tuner.step(2)
        left = tuner.dump()
        tuner = EncoderTuner(tiny_encoder, device, TuningRates(pairs=8), adapter=tuner.snapshot())
        tuner.restore(left)
        tuner.step(2)
        return tuner

    here = tuned("cpu").snapshot()
    with elsewhere(monkeypatch) as device:
        tuner = tuned(device)
        assert all(isinstance(weight, Elsewhere) for weight in tuner._weights.values())
        there = tuner.snapshot()
    assert here.keys() == there.keys()
    assert all(np.allclose(here[name], there[name], atol=1e-6) for name in here)


def test_texts_are_encoded_the_same_there(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a red dress", "an old lamp for the kitchen table", "我想买一件红色的连衣裙"]
    here = TextEncoder(tiny_encoder)
    with elsewhere(monkeypatch) as device:
        there = TextEncoder(tiny_encoder, device)
        assert np.allclose(there.encode(texts), here.encode(texts), atol=1e-6)
        assert np.allclose(there.encode_query(texts[0]), here.encode_query(texts[0]), atol=1e-6)


@pytest.mark.parametrize("of", [Ranker.scores, Ranker.contributions], ids=["scores", "contributions"])
def test_candidates_are_scored_the_same_there(of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 30, len(FEATURES))).astype(np.float32)
    context = rng.random((5, len(CONTEXT))).astype(np.float32)
    here = of(Ranker("cpu"), x, context)
    with elsewhere(monkeypatch) as device:
        there = of(Ranker(device), x, context)
    assert np.allclose(here, there, atol=2e-5)
