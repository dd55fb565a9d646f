"""Whatever dies when: the log is learnt once, releases are one line, and a worker ends with the last of them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from streams.releases import ReleaseStorage
from tests.streams.learner.line import assert_one_line

pytestmark = pytest.mark.services


def a_day(shop: Any, n: int) -> None:
    """Shoppers go about; on the day 4 a crowd presses one item."""
    random = np.random.default_rng(n)
    for _ in range(300):
        shop.interaction(f"u{random.integers(80)}", f"i{random.integers(60)}")
    if n == 4:
        for press in range(300):
            shop.interaction(f"crowd{press % 100}", "pushed")
    shop.topics.flush()


STATISTICS = (
    "statistics.read", "statistics.learn", "statistics.write", "statistics.move", "statistics.confirm",
    "statistics.deliver", "statistics-checkpoint.write", "statistics-checkpoint.move", "alert.confirm", "alert.deliver",
)  # fmt: skip


def test_statistics_are_the_same_wherever_the_learner_was_killed(shop: Any, wait_for: Any) -> None:
    alone = {"HEADWATER_LEARNING__MODELS": "false"}
    disturbed, calm = shop("d"), shop("c")
    with disturbed.worker() as worker, calm.worker() as other:
        order = [*STATISTICS[:4], *STATISTICS[8:], *STATISTICS[4:8]]
        for day, stage in enumerate(order):
            a_day(disturbed, day)
            a_day(calm, day)
            disturbed.killed(stage, **alone)
        assert len(disturbed.passing()) == 2, "killed between writing and moving, twice"
        for left in disturbed.passing():
            os.utime(left, (1, 1))  # an hour goes by
        (checkpoint,) = disturbed.settings.data_dir.rglob("checkpoints/statistics.safetensors")
        checkpoint.write_bytes(checkpoint.read_bytes()[:-100])  # and the log is read from its beginning once more
        pids = [one.start(**alone) for one in (disturbed, calm)]

        def read(shop: Any) -> bool:
            last = shop.released("statistics")[-1:]
            return bool(last) and last[0]["trained_through"]["offsets"] == {"0": shop.sent}

        for one, feed in ((disturbed, worker), (calm, other)):
            wait_for(lambda one=one: read(one), "all of the log in a release")
            last = one.released("statistics")[-1]["release_id"]
            wait_for(lambda f=feed, r=last: f.current().world.statistics.statistics_id == r, "the worker to have it")
            assert_one_line(one.released("statistics"))
        mine, theirs = worker.current().world.statistics, other.current().world.statistics
        for name in ("keys", "popularity", "refusals", "exposures", "first_ts", "neighbours", "neighbour_weights"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), err_msg=name)

        def told(shop: Any) -> dict[str, Any]:
            alerts = [value for _, value in shop.topics.read("alerts")]
            by_id = {alert["alert_id"]: alert for alert in alerts}
            assert all(by_id[alert["alert_id"]] == alert for alert in alerts), "one told again is the same"
            return by_id

        wait_for(lambda: told(disturbed) == told(calm) != {}, "the same alerts")
        assert {alert["subject"] for alert in told(calm).values()} == {"pushed"}
    assert not disturbed.passing()
    for one, pid in zip((disturbed, calm), pids, strict=True):
        one.stop(pid)


MODELS = (
    "models.read", "models.learn", "models-checkpoint.write", "models-checkpoint.move", "ranker.write", "ranker.move",
    "models.confirm", "models.deliver", "receipt.confirm", "receipt.deliver", "adapter.write", "adapter.move",
    "sequence.write", "sequence.move",
)  # fmt: skip


def test_models_learn_from_every_choice_once_wherever_the_learner_was_killed(shop: Any, wait_for: Any) -> None:
    one = shop("m")
    unscreened = {"HEADWATER_LEARNING__SCREEN": "false"}
    for n in range(40):
        one.topics.send("items", f"i{n}", {"item_id": f"i{n}", "title": f"thing {n} of sort {n % 7}"})
    waves = 0

    def wave(users: int = 30, n: int = 5) -> None:
        """Users who go round the catalogue in steps of three; each touches an item once."""
        nonlocal waves
        waves += 1
        for at in range(users * n):
            one.interaction(f"w{waves}-u{at % users}", f"i{(at % users * 5 + 3 * (at // users)) % 40}")
        one.topics.flush()

    def learnt() -> tuple[int, dict[str, Any]]:
        _, meta = ReleaseStorage.of(one.settings).load_checkpoint("models") or ({}, {})
        return (int(meta["state"]["learner"]["ranker"]["choices"]), meta) if meta else (0, {})

    with one.worker() as worker:
        wave(60, 10)
        for at, stage in enumerate(MODELS):
            if stage.startswith("receipt"):
                forget = {"event_id": f"f{at}", "type": "forget", "user_id": f"w1-u{at}", "scope": "all", "ts": 1}
                one.topics.send("events", f"w1-u{at}", forget)
            one.killed(stage, wave, **unscreened)
        left = one.passing()
        assert len(left) == 4, "killed between writing and moving"
        for path in left:
            os.utime(path, (1, 1))  # an hour goes by
        pid = one.start(**unscreened)

        def goes_on() -> bool:
            wave()
            return len(one.released("sequence")) > 0

        wait_for(goes_on, "releases after all that")
        wait_for(lambda: learnt()[0] >= one.sent, "all choices in the checkpoint")
        wait_for(lambda: not learnt()[1]["erasures"]["receipts"], "the receipts to be told")
        one.stop(pid)
        choices, meta = learnt()
        assert choices == one.sent
        assert sum(meta["offsets"]["events"].values()) == one.sent + 2
        for role in ("ranker", "sequence", "adapter"):
            assert_one_line(one.released(role))
        last = {role: one.released(role)[-1] for role in ("ranker", "sequence")}
        served = "+".join(release["release_id"] for release in last.values())
        wait_for(lambda: worker.current().world.release_id == served, "the worker to have the last of them")
        assert last["sequence"]["base"]["sha256"] == one.released("adapter")[-1]["sha256"]
    assert not one.passing()
    receipts = [value for key, value in one.topics.read("receipts") if key.startswith("w1-")]
    assert len({receipt["receipt_id"] for receipt in receipts}) == 2
    assert all(receipt["removed"]["training_visits"] == 10 for receipt in receipts)
