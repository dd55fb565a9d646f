"""Releases and quarantine from the terminal, against a real broker and real files; and what a worker serves then."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from recsys.features import INDEX, SCHEMA_VERSION
from recsys.learning.screen import Burst
from recsys.rank import prior_weights
from recsys.sequence import SequenceModel, SequenceNet
from recsys.tallies import Tallies
from recsys.world import World
from schemas.alerts import Alert
from schemas.releases import Base, Release, TrainedThrough
from schemas.topics import TOPICS
from schemas.wire import encode
from streams import lineage as lineage_module
from streams.cli import quarantine, releases
from streams.feed import Feed
from streams.kafka.clients import consumer, producer
from streams.kafka.topics import ensure_topics
from streams.learner.bursts import alert_of, vouched
from streams.learner.reading import last_release
from streams.records.read import follow
from streams.releases import ReleaseStorage
from streams.settings import Settings, settings
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.services

ENCODER = 384  # numbers of the packaged encoder's vectors
TEXT = World.empty(ENCODER, None).dense.dim
START = int(time.time() * 1000) - 3_600_000
Run = Callable[..., Result]


@pytest.fixture
def in_force(kafka: Any, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Settings]:
    monkeypatch.setenv("HEADWATER_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setenv("HEADWATER_NAMESPACE", namespace)
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HEADWATER_KAFKA_PARTITIONS", "1")
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.setattr(releases, "_SETTLE_S", 0.0)
    settings.cache_clear()
    ensure_topics(settings())
    yield settings()
    settings.cache_clear()


@pytest.fixture
def headwater(in_force: Settings) -> Run:
    app = typer.Typer()
    releases.register(app)
    quarantine.register(app)

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, list(words))

    return run


class Learner:
    """Releases as the learner does: the file first, then its record."""

    def __init__(self, in_force: Settings) -> None:
        self._settings, self.storage = in_force, ReleaseStorage.of(in_force)
        self._producer = producer(in_force, linger_ms=0)
        self._last: dict[str, Release] = {}

    def send(self, topic: str, key: str, record: Any) -> None:
        self._producer.produce(TOPICS[topic].full_name(self._settings.namespace), key=key, value=encode(record))
        assert self._producer.flush(20) == 0

    def release(self, role: str, place: Base, base: Base | None = None) -> Release:
        last = self._last.get(role)
        sequence = 1 + (last.sequence if last else 0)
        record = Release(
            release_id=f"{role}-{place.sha256[:10]}-{sequence}", role=role, sequence=sequence,
            parent=last.release_id if last else None, created_ts=START + 1000 * sequence,
            trained_through=TrainedThrough(ts=START, offsets={"0": sequence}),
            metrics={"serving": 0.3, "candidate": 0.31 + sequence / 100, "difference": 0.01 + sequence / 100},
            uri=place.uri, sha256=place.sha256, size=place.size, schema_version=1, status="serving", base=base,
        )  # fmt: skip
        self._last[role] = record
        self.send("releases", role, record)
        return record

    def ranker(self, brand: float, schema: int = SCHEMA_VERSION) -> Release:
        """A ranker that differs from the prior in the weight of brands."""
        weights = prior_weights()
        weights[0, INDEX["brand"]] = brand
        return self.release(
            "ranker", self.storage.save_model("ranker", {"weights": weights}, {"feature_schema": schema}, 1, START)
        )

    def sequence(self, items: int, seed: int) -> tuple[Release, Release]:
        """(adapter, sequence)."""
        torch.manual_seed(seed)
        net = SequenceNet(items, TEXT, dim=8)
        torch.nn.init.normal_(net.into)
        model = SequenceModel.of(net, np.arange(1, items + 1, dtype=np.uint64))
        side = self.storage.save_model("adapter", model.item_side(), {}, seed, START)
        adapter = self.release("adapter", side)
        users = self.storage.save_model("sequence", model.user_side(), {}, seed, START)
        return adapter, self.release("sequence", users, side)


@pytest.fixture
def learner(in_force: Settings) -> Learner:
    return Learner(in_force)


def served(in_force: Settings) -> tuple[World, bool]:
    """The World that a worker that starts now would serve, and whether an operator holds on to it."""
    feed = Feed(in_force, World.empty(ENCODER, None), ReleaseStorage.of(in_force), None)
    feed.start()
    try:
        assert feed.wait(PATIENCE_S)
        return feed.current().world, feed.served.pinned
    finally:
        feed.stop()


def brand_of(world: World) -> float:
    return round(float(world.ranker.weights[0, INDEX["brand"]]), 3)


def answer(ran: Result) -> dict[str, Any]:
    assert ran.exit_code == 0, ran.output
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def refused(ran: Result) -> str:
    assert ran.exit_code == 1
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    return ran.stderr


def test_without_releases_the_list_says_so_and_nothing_can_be_rolled_back(headwater: Run) -> None:
    ran = headwater("releases", "list")
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert "no release yet" in ran.stderr
    assert answer(headwater("releases", "list", "--json")) == {"roles": []}
    assert "No release of role ranker" in refused(headwater("releases", "rollback", "ranker"))


def test_a_bad_ranker_is_rolled_back_held_and_let_go(headwater: Run, learner: Learner, in_force: Settings) -> None:
    first, good, bad = (learner.ranker(brand) for brand in (0.6, 0.7, 9.0))
    assert brand_of(served(in_force)[0]) == 9.0

    done = answer(headwater("releases", "rollback", "ranker", "--json"))
    assert (done["same_as"], done["before"], done["pinned"]) == (good.release_id, bad.release_id, True)
    assert done["serving"] == f"ranker-{good.sha256[:10]}-4"
    world, pinned = served(in_force)
    assert (brand_of(world), world.release_id, pinned) == (0.7, done["serving"], True)
    # the topic is compacted by role: what is left must be the good one
    last = last_release(in_force, "ranker")
    assert last is not None
    assert (last.release_id, last.status) == (done["serving"], "serving")

    (role,) = answer(headwater("releases", "list", "--role", "ranker", "--json"))["roles"]
    assert role["serving"] == done["serving"]
    assert [(one["sequence"], one["status"], one["pinned"]) for one in role["releases"]] == [
        (4, "serving", True), (3, "rolled_back", False), (2, "serving", False), (1, "serving", False),
    ]  # fmt: skip

    again = answer(headwater("releases", "promote", done["serving"], "--json"))
    world, pinned = served(in_force)
    assert (brand_of(world), world.release_id, pinned) == (0.7, again["serving"], False)
    assert answer(headwater("releases", "promote", again["serving"], "--json"))["announced"] == []

    older = answer(headwater("releases", "rollback", "ranker", "--to", first.release_id, "--json"))
    world, pinned = served(in_force)
    assert (brand_of(world), world.release_id, pinned) == (0.6, older["serving"], True)


def test_the_first_ranker_goes_back_to_the_prior_weights(headwater: Run, learner: Learner, in_force: Settings) -> None:
    bad = learner.ranker(9.0)
    done = answer(headwater("releases", "rollback", "ranker", "--json"))
    assert (done["before"], done["pinned"], done["prior"]) == (bad.release_id, True, True)
    world, pinned = served(in_force)
    assert np.array_equal(world.ranker.weights, prior_weights())
    assert (world.release_id, pinned) == (done["serving"], True)
    assert "serve already" in refused(headwater("releases", "rollback", "ranker", "--to", "prior"))
    assert "--to" in refused(headwater("releases", "rollback", "ranker"))

    (role,) = answer(headwater("releases", "list", "--json"))["roles"]
    assert [(one["status"], one["prior"], one["staleness_s"] is None) for one in role["releases"]] == [
        ("serving", True, True), ("rolled_back", False, False),
    ]  # fmt: skip
    assert "serving, pinned, prior weights" in headwater("releases", "list").stdout
    found = answer(headwater("releases", "show", done["serving"], "--json"))
    assert (found["prior"], found["contents"]["from_prior"], found["file"]) == (True, [], {"state": "whole"})
    assert "nothing: the prior weights" in headwater("releases", "show", done["serving"]).stdout

    again = answer(headwater("releases", "promote", done["serving"], "--json"))
    assert (again["pinned"], again["prior"]) == (False, True)
    assert served(in_force)[0].release_id == again["serving"]


def test_the_prior_weights_can_be_named(headwater: Run, learner: Learner, in_force: Settings) -> None:
    _, bad = learner.ranker(0.6), learner.ranker(9.0)
    ran = headwater("releases", "rollback", "ranker", "--to", "prior")
    assert f"the prior weights, in place of {bad.release_id}" in ran.stdout
    assert np.array_equal(served(in_force)[0].ranker.weights, prior_weights())
    learner.sequence(3, 1)
    assert "those of role ranker" in refused(headwater("releases", "rollback", "sequence", "--to", "prior"))


def test_a_sequence_release_comes_back_with_its_items(headwater: Run, learner: Learner, in_force: Settings) -> None:
    (items, good), (_, bad) = learner.sequence(3, 1), learner.sequence(5, 2)
    before, _ = served(in_force)
    assert before.sequence is not None
    assert len(before.sequence.keys) == 5
    done = answer(headwater("releases", "rollback", "sequence", "--json"))
    assert (done["same_as"], done["before"]) == (good.release_id, bad.release_id)
    after, pinned = served(in_force)
    assert after.sequence is not None
    assert (len(after.sequence.keys), after.release_id, pinned) == (3, done["serving"], True)
    roles = {one["role"]: one for one in answer(headwater("releases", "list", "--json"))["roles"]}
    (adapter,) = [one for one in roles["adapter"]["releases"] if one["serves"]]
    assert (adapter["sha256"], adapter["sequence"]) == (items.sha256, 3)


def test_a_file_that_is_gone_damaged_or_of_another_version_is_not_announced(
    headwater: Run, learner: Learner, in_force: Settings
) -> None:
    other, gone, damaged, serving = (
        learner.ranker(0.1, schema=SCHEMA_VERSION + 1), learner.ranker(0.2), learner.ranker(0.3), learner.ranker(0.4),
    )  # fmt: skip
    Path(gone.uri.removeprefix("file://")).unlink()
    Path(damaged.uri.removeprefix("file://")).write_bytes(b"half")
    for release, said in ((other, "one version of Headwater"), (gone, "is gone"), (damaged, "is damaged")):
        for words in (("promote", release.release_id), ("rollback", "ranker", "--to", release.release_id)):
            told = refused(headwater("releases", *words))
            assert said in told
            assert "Nothing was announced" in told
    assert answer(headwater("releases", "show", gone.release_id, "--json"))["file"]["state"] == "gone"
    assert answer(headwater("releases", "show", damaged.release_id, "--json"))["file"]["state"] == "damaged"
    assert served(in_force)[0].release_id == serving.release_id


def test_a_release_is_shown_with_its_file_its_line_and_its_weights(headwater: Run, learner: Learner) -> None:
    first, second = learner.ranker(0.6), learner.ranker(0.8)
    found = answer(headwater("releases", "show", second.release_id, "--json"))
    assert (found["serves"], found["file"], found["sha256"]) == (True, {"state": "whole"}, second.sha256)
    assert [(one["release_id"], one["serves"]) for one in found["ancestors"]] == [(first.release_id, False)]
    assert [one["difference"] for one in found["history"]] == [0.02, 0.03]
    (weight,) = found["contents"]["from_parent"]
    assert (weight["feature"], weight["moment"], weight["change"]) == ("brand", "always", pytest.approx(0.2))
    shown = headwater("releases", "show", second.release_id)
    assert shown.exit_code == 0, shown.output
    for part in (first.release_id, "there and whole", "brand", "+0.2000", "█", "NDCG@10 before learning"):
        assert part in shown.stdout
    table = headwater("releases", "list")
    for part in (second.release_id, "serving", "superseded", "+0.0300"):
        assert part in table.stdout
    assert re.search(r"\b\d+(\.\d)? (min|h)\b", table.stdout), "its age: START was when the run began"


def test_a_canary_is_listed_with_its_share_and_can_be_made_to_serve_all(
    headwater: Run, learner: Learner, in_force: Settings
) -> None:
    serving = learner.ranker(0.6)
    canary = learner.ranker(0.8).model_copy(update={"status": "candidate", "share": 0.05})
    learner.send("releases", "ranker", canary)
    withdrawn = serving.model_copy(update={"status": "quarantined", "release_id": "ranker-x-3", "sequence": 3})
    learner.send("releases", "ranker", withdrawn)
    (role,) = answer(headwater("releases", "list", "--json"))["roles"]
    assert [(one["sequence"], one["serves"], one["canary"]) for one in role["releases"]] == [
        (3, False, False), (2, False, True), (1, True, False),
    ]  # fmt: skip
    table = headwater("releases", "list").stdout
    assert "canary, 5% of users" in table
    assert "quarantined" in table
    assert "canary, 5% of users" in headwater("releases", "show", canary.release_id).stdout
    assert answer(headwater("releases", "promote", canary.release_id, "--json"))["same_as"] == canary.release_id
    world, _ = served(in_force)
    assert (brand_of(world), world.canary) == (0.8, None)
    (role,) = answer(headwater("releases", "list", "--json"))["roles"]
    assert not any(one["canary"] for one in role["releases"])


def test_every_role_is_shown_and_compared(headwater: Run, learner: Learner) -> None:
    pairs = [learner.sequence(3, 1), learner.sequence(5, 2)]
    counts = [
        learner.release("statistics", learner.storage.save_statistics(tallies, 1, START, whole=True))
        for tallies in (replace(Tallies.blank(n), keys=np.arange(n, dtype=np.uint64)) for n in (2, 4))
    ]
    for before, after in (*zip(*pairs, strict=True), counts):
        shown = headwater("releases", "show", after.release_id)
        assert shown.exit_code == 0, shown.output
        different = answer(headwater("releases", "diff", before.release_id, after.release_id, "--json"))
        assert different["role"] == before.role
        assert headwater("releases", "diff", before.release_id, after.release_id).exit_code == 0
    adapter = answer(headwater("releases", "diff", pairs[0][0].release_id, pairs[1][0].release_id, "--json"))
    assert adapter["items"] == {"both": 3, "gained": 2, "lost": 0}
    contents = answer(headwater("releases", "show", pairs[1][1].release_id, "--json"))["contents"]
    assert (contents["items"], contents["dim"], contents["text"]) == (5, 8, TEXT)


def test_what_cannot_be_done_is_said_in_a_sentence(headwater: Run, learner: Learner) -> None:
    learner.sequence(3, 1)
    learner.release("statistics", learner.storage.save_statistics(Tallies.blank(0), 1, START, whole=True))
    assert "--to" in refused(headwater("releases", "rollback", "sequence"))
    assert "forget" in refused(headwater("releases", "rollback", "statistics"))
    for words in (("show", "ranker-0-9"), ("promote", "ranker-0-9"), ("diff", "a", "b")):
        assert "There is no release" in refused(headwater("releases", *words))
    for words in (("list", "--role", "rankers"), ("rollback", "rankers")):
        assert "no role" in refused(headwater("releases", *words))


def test_an_old_release_is_found_by_its_id_among_many(
    headwater: Run, learner: Learner, in_force: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage_module, "KEPT", 2)
    old = [learner.ranker(brand / 10) for brand in range(6)][1]
    (role,) = answer(headwater("releases", "list", "--json", "-n", "10"))["roles"]
    assert [one["sequence"] for one in role["releases"]] == [6, 5]
    answer(headwater("releases", "rollback", "ranker", "--to", old.release_id, "--json"))
    assert brand_of(served(in_force)[0]) == 0.1


def test_an_item_is_held_back_until_an_operator_vouches_for_it(
    headwater: Run, learner: Learner, in_force: Settings
) -> None:
    for item_id in ("sku-1", "sku-2"):
        learner.send("alerts", item_id, alert_of(Burst(item_id, START, 0.5, 0.01, 42.0, 3)))
    diverged = Alert(alert_id="d", kind="quarantine", subject="ranker", text="set back", ts=START)
    learner.send("alerts", "ranker", diverged)
    held = answer(headwater("quarantine", "list", "--json"))["items"]
    assert [(one["subject"], one["details"]["withheld"]) for one in held] == [("sku-1", 42.0), ("sku-2", 42.0)]
    assert "sku-2" in headwater("quarantine", "list").stdout

    assert answer(headwater("quarantine", "release", "sku-1", "--json"))["subject"] == "sku-1"
    reader = consumer(in_force, "test")
    name = TOPICS["alerts"].full_name(in_force.namespace)
    last = list(follow(reader, name, beginning=True, to_the_end=True))[-1]
    reader.close()
    assert (last.key(), vouched(last.value())) == (b"sku-1", "sku-1")
    assert [one["subject"] for one in answer(headwater("quarantine", "list", "--json"))["items"]] == ["sku-2"]

    learner.send("alerts", "sku-1", alert_of(Burst("sku-1", START, 0.5, 0.01, 42.0, 3)))
    listed = answer(headwater("quarantine", "list", "--json"))["items"]
    assert [one["subject"] for one in listed] == ["sku-2"], "told once more after a restart, it is no new burst"
    learner.send("alerts", "sku-1", alert_of(Burst("sku-1", START + 1, 0.5, 0.01, 7.0, 3)))
    assert [one["subject"] for one in answer(headwater("quarantine", "list", "--json"))["items"]] == ["sku-2", "sku-1"]
    assert "was its id meant" in headwater("quarantine", "release", "sku-9").stderr


def test_a_burst_that_has_calmed_down_is_told_from_one_that_lasts(headwater: Run, learner: Learner) -> None:
    for item_id in ("sku-1", "sku-2"):
        learner.send("alerts", item_id, alert_of(Burst(item_id, START, 0.5, 0.01, 42.0, 3)))
    learner.send("alerts", "sku-1", alert_of(Burst("sku-1", START, 0.0, 0.01, 99.0, 5, START + 60_000)))
    listed = answer(headwater("quarantine", "list", "--json"))["items"]
    assert [(one["subject"], one["until"]) for one in listed] == [("sku-2", None)]
    assert "1 that calmed down" in headwater("quarantine", "list").stderr
    past = answer(headwater("quarantine", "list", "--past", "--json"))["items"]
    assert [(one["subject"], one["until"]) for one in past] == [("sku-2", None), ("sku-1", START + 60_000)]
    assert past[1]["details"] == {"observed": 0.5, "expected": 0.01, "withheld": 99.0, "users": 5}
    assert "now" in headwater("quarantine", "list", "--past").stdout
    assert "was its id meant" in headwater("quarantine", "release", "sku-1").stderr, "nothing is held back any more"
    learner.send("alerts", "sku-2", alert_of(Burst("sku-2", START, 0.0, 0.01, 50.0, 3, START + 70_000)))
    assert "nothing is held back" in headwater("quarantine", "list").stderr
    learner.send("alerts", "sku-2", alert_of(Burst("sku-2", START + 90_000, 0.4, 0.01, 12.0, 3)))
    listed = answer(headwater("quarantine", "list", "--json"))["items"]
    assert [(one["subject"], one["ts"], one["until"]) for one in listed] == [("sku-2", START + 90_000, None)]
