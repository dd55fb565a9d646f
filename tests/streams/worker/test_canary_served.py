"""A canary on a real broker: its share of the users only, then everybody or nobody, by what its users do with it; and a
replay makes all of it again."""

from __future__ import annotations

import json
import time

import orjson
import pytest

from recsys.experiments.canary import is_dealt
from streams.replay.player import Player
from streams.replay.recording import Recording
from streams.replay.shelf import Shelf
from streams.replay.span import Span
from streams.replay.topics import recorded, replay_topic
from streams.replay.watching import watching
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.services
SHARE = 0.4
LEARNER = {
    "HEADWATER_STATISTICS_INTERVAL_MS": "500",
    "HEADWATER_LEARNING__SEQUENCE_INTERVAL_S": "2",
    "HEADWATER_LEARNING__ADAPTER_INTERVAL_S": "5",
    "HEADWATER_LEARNING__CANARY_SHARE": str(SHARE),
    "HEADWATER_LEARNING__CANARY_OUTCOMES": "20",
    "HEADWATER_LEARNING__CANARY_SETTLED_S": "1.5",
}


def _click(item_id, **more):
    return {"type": "interaction", "action": "click", "item_id": item_id} | more


class Shop:
    """Waves of new users: each has one item, asks for more, and takes the first offer, if `takes` says so."""

    def __init__(self, lab):
        self.lab, self.waves, self.seen = lab, 0, {}

    def wave(self, takes=lambda _: True, users=80):
        self.waves += 1
        names = [f"w{self.waves}-u{n}" for n in range(users)]
        now = int(time.time() * 1000)
        self._send((_click(f"item-{n % 7}"), name, now) for n, name in enumerate(names))
        self._send(({"type": "request", "k": 5}, name, now + 1) for name in names)
        self.lab.until_done()
        made = {
            r["user_id"]: r
            for r in self.recommendations()
            if r["user_id"] in names and r["trigger"]["type"] == "request"
        }
        self._send(
            (_click(r["items"][0]["item_id"], rec_id=r["rec_id"]), name, now + 2)
            for name, r in made.items()
            if takes(r)
        )
        self.lab.until_done()
        return list(made.values())

    def _send(self, some):
        records = []
        for at, (event, user, ts) in enumerate(some):
            event |= {
                "event_id": f"{self.waves}-{at}-{event['type']}-{event.get('rec_id', '')}",
                "user_id": user,
                "ts": ts,
            }
            records.append((user.encode(), orjson.dumps(event)))
        self.lab.send(records)

    def recommendations(self):
        return [orjson.loads(one.value) for one in self.lab.published("recommendations")]

    def releases(self, role="ranker"):
        return [orjson.loads(one.value) for one in self.lab.published("releases") if one.key == role.encode()]

    def until(self, found, takes=lambda _: True):
        """Waves until there is what `found` looks for."""
        deadline = time.monotonic() + PATIENCE_S
        while not (what := found()):
            assert time.monotonic() < deadline, self.lab.log()[-5000:]
            self.wave(takes)
        return what


@pytest.fixture
def shop(lab, items, at_once):
    lab.send(items, to="items")
    lab.learner(**at_once, **LEARNER)
    lab.worker(real=True)
    return Shop(lab)


def by(release):
    return lambda r: release["release_id"] in r["world"]["release_id"].split("+")


def replayed(lab):
    settings = lab.settings.model_copy(update={"encoder": "none", "data_dir": lab.folder})
    with Recording(1 << 20) as recording, Shelf(30) as shelf, watching() as watch:
        replay_topic(settings, Player(settings.policy, shelf, recording), Span(), watch, batch=37)
        return recording.digest(), recording.kept


def test_a_canary_serves_its_share_and_what_its_users_do_decides(lab, shop):
    def by_the_prior(r):
        return "ranker-" not in r["world"]["release_id"]  # it serves first: what a canary recommends, nobody wants

    (bad, *_) = shop.until(lambda: [one for one in shop.releases() if one["status"] == "candidate"], by_the_prior)
    assert bad["share"] == SHARE
    is_its = by(bad)

    def withdrawn():
        its = [one for one in shop.releases() if one["release_id"] == bad["release_id"]]
        return [one for one in its if one["status"] != "candidate"]

    (ended, *_) = shop.until(withdrawn, by_the_prior)
    its = [r for r in shop.recommendations() if is_its(r)]
    assert its
    assert all(is_dealt(r["user_id"], bad["release_id"], SHARE) for r in its)
    assert ended["status"] == "quarantined"
    assert ended["metrics"]["live_upper"] < 0

    def told():
        alerts = [orjson.loads(one.value) for one in lab.published("alerts")]
        return [one for one in alerts if one["kind"] == "quarantine" and bad["release_id"] in one["text"]]

    lab.until(told, "the alert")
    assert "its users earn less" in told()[0]["text"]
    assert not any(is_its(r) for r in shop.wave()[40:]), "nobody is served by it any more"

    def promoted():
        found = {one["release_id"]: one for one in shop.releases()}
        return [one for one in found.values() if one["status"] == "serving"]

    (good, *_) = shop.until(promoted)
    assert good["share"] is None
    assert good["metrics"]["live_outcomes"] >= 20
    lab.until(lambda: all(map(by(good), shop.wave()[-5:])) or len(promoted()) > 1, "all are served by it")

    process = lab.workers[0]
    assert lab.stop(process) == 0, lab.log()[-3000:]
    last = {one["release_id"]: one for one in shop.releases()}
    assert not any(one["share"] for one in last.values()), "a learner that ends leaves no canary"
    shop.wave()
    with Recording() as recording, watching() as watch:
        recorded(lab.settings, recording, watch)
        live = recording.digest(), recording.kept
    assert replayed(lab) == live
    journal = [json.loads(one.value)["world"]["release_id"] for one in lab.published("journal")]
    assert any("canary:0.4:ranker-" in name for name in journal)
