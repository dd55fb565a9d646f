"""The whole line as an engineer meets it: `headwater up`, records in, records out, on real Kafka, Redis and encoder."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import redis
from confluent_kafka import Consumer, Producer

from schemas.items import Item
from schemas.recommendations import Recommendation
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.services, pytest.mark.model]
_COLOURS, _THINGS = ("red", "blue", "green", "black"), ("silk dress", "linen dress", "office laptop", "sea novel")
CATALOGUE = [
    Item(
        item_id=f"{thing.replace(' ', '-')}-{colour}-{n}",
        title=f"{colour} {thing} no. {n}",
        categories=[f"{thing.split()[1]}es" if thing.endswith("dress") else f"{thing.split()[1]}s"],
        price={"amount": 100.0 + 150 * n, "currency": "CNY"},
        attributes={"colour": colour},
    )
    for thing in _THINGS
    for colour in _COLOURS
    for n in range(5)
]


class Line:
    """A running `headwater up` and clients beside it."""

    def __init__(self, up: dict[str, Any]) -> None:
        self.up, self.ns = up, up["namespace"]
        self._producer = Producer({"bootstrap.servers": up["kafka"], "partitioner": "murmur2_random", "linger.ms": 1})
        self._consumer = Consumer(
            {"bootstrap.servers": up["kafka"], "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
        )
        names = ("recommendations", "receipts", "dead-letters")
        self._consumer.subscribe([self.topic(n) for n in names])
        self.seen: list[Any] = []

    def topic(self, name: str) -> str:
        return f"{self.ns}.{name}.v1"

    def item(self, item: Item | str) -> None:
        key, value = (item, None) if isinstance(item, str) else (item.item_id, item.model_dump_json())
        self._producer.produce(self.topic("items"), key=key, value=value)
        self._producer.flush(10)

    def event(self, type: str, user: str, **fields: Any) -> str:
        event_id = uuid.uuid4().hex[:16]
        data = {"event_id": event_id, "type": type, "user_id": user, "ts": int(time.time() * 1000), **fields}
        self.raw(user, orjson.dumps(data))
        return event_id

    def raw(self, key: str | None, value: bytes) -> None:
        self._producer.produce(self.topic("events"), key=key, value=value)
        self._producer.flush(10)

    def find(self, wanted: Callable[[Any], Any], seconds: float = 30) -> Any:
        """The first record out, of those that came and those to come, for which `wanted` gives something."""
        at, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            while at < len(self.seen):
                found = wanted(self.seen[at])
                if found:
                    return found
                at += 1
            self.seen += [m for m in self._consumer.consume(200, 0.1) if m.error() is None]
        raise AssertionError(f"not seen within {seconds} s")

    def answer(self, event_id: str) -> dict[str, Any]:
        def is_it(message: Any) -> Any:
            value = json.loads(message.value()) if message.topic() == self.topic("recommendations") else None
            return value if value and value["trigger"]["event_id"] == event_id else None

        return self.find(is_it)

    def ask(self, user: str, **fields: Any) -> list[str]:
        return [i["item_id"] for i in self.answer(self.event("request", user, **fields))["items"]]

    def items_counted(self) -> int:
        text = httpx.get(self.up["console"] + "/metrics", timeout=10).text
        return int(max((float(v) for v in re.findall(r"^headwater_catalogue_items\S* (\S+)$", text, re.M)), default=0))


def until(holds: Callable[[], bool], seconds: float) -> float:
    start = time.monotonic()
    while not holds():
        assert time.monotonic() - start < seconds, f"did not come to hold within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - start


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder: Path = tmp_path_factory.mktemp("line")
    env = {**os.environ, "HEADWATER_DATA_DIR": str(folder / "data"), "HEADWATER_NAMESPACE": "line"}
    for own in ("HEADWATER_KAFKA_BOOTSTRAP_SERVERS", "HEADWATER_REDIS_URL"):
        env.pop(own, None)
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "up", "--json"], stdout=subprocess.PIPE, stderr=log, env=env
        )
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first, (folder / "up.log").read_text()[-4000:]
            running = Line(json.loads(first))
            for item in CATALOGUE:
                running.item(item)
            until(lambda: running.items_counted() == len(CATALOGUE), 120)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(PATIENCE_S)
    assert status == 0


def test_a_click_comes_back_as_a_ranking_with_reasons_and_a_receipt_of_time(line: Line) -> None:
    event = line.event("interaction", "ann", action="purchase", item_id="silk-dress-red-0")
    made = line.answer(event)
    record = Recommendation.model_validate_json(orjson.dumps(made))
    assert len(record.items) == 10
    assert "silk-dress-red-0" not in {i.item_id for i in record.items}
    assert any({"event": event} in [e.model_dump() for e in r.evidence] for i in record.items for r in i.reasons)
    assert record.timing.event_ts <= record.timing.emitted_ts  # type: ignore[operator]
    assert record.timing.received_ts <= record.timing.emitted_ts  # type: ignore[operator]


def test_the_profile_stands_in_redis_as_plain_text(line: Line) -> None:
    line.answer(line.event("interaction", "bob", action="like", item_id="sea-novel-blue-1"))
    client = redis.Redis.from_url(line.up["redis"])
    keys = [k for k in client.scan_iter("*") if k.endswith(b":u:bob")]
    assert len(keys) == 1
    fields = client.hgetall(keys[0])
    assert "Likes novels" in fields[b"profile"].decode()


def test_a_chat_in_either_language_is_understood_answered_and_obeyed(line: Line) -> None:
    by_id = {i.item_id: i for i in CATALOGUE}
    for user, text in (("cat", "a red dress under 300 yuan"), ("明", "我想买一件红色的连衣裙，价格不超过300元")):
        made = line.answer(line.event("chat", user, text=text))
        assert made["kind"] == "dialogue"
        assert made["reply"]
        for offered in ([i["item_id"] for i in made["items"]], line.ask(user, k=50)):
            assert offered
            for item_id in offered:
                item = by_id[item_id]
                assert item.price is not None
                assert item.price.amount <= 300
                assert item.attributes["colour"] == "red"
                assert item.categories == ["dresses"]


def test_a_new_item_is_offered_and_a_withdrawn_one_is_gone_soon_under_load(line: Line) -> None:
    before = line.items_counted()
    for n in range(300):
        line._producer.produce(
            line.topic("events"),
            key=f"crowd-{n % 40}",
            value=orjson.dumps(
                {"event_id": f"crowd-{n}", "type": "interaction", "user_id": f"crowd-{n % 40}", "ts": int(time.time() * 1000),  # noqa: E501
                 "action": "click", "item_id": CATALOGUE[n % len(CATALOGUE)].item_id}
            ),
        )  # fmt: skip
    line.item(Item(item_id="novelty", title="ultraviolet accordion", categories=["music"]))
    counted = until(lambda: line.items_counted() == before + 1, 30)
    assert "novelty" in line.ask("dan", query="ultraviolet accordion")
    line.item("novelty")
    gone = until(lambda: line.items_counted() == before, 30)
    assert "novelty" not in line.ask("dan", query="ultraviolet accordion", k=100)
    print(f"counted after {counted:.1f} s, gone after {gone:.1f} s")


def test_what_many_do_shows_in_the_statistics_of_later_recommendations(line: Line) -> None:
    for n in range(30):
        for item in ("office-laptop-green-3", "sea-novel-black-4"):
            line.event("interaction", f"fan-{n}", action="purchase", item_id=item)

    def together() -> bool:
        made = line.answer(
            line.event("interaction", f"new-{uuid.uuid4().hex[:8]}", action="click", item_id="office-laptop-green-3")
        )
        texts = [r["text"] for i in made["items"] if i["item_id"] == "sea-novel-black-4" for r in i["reasons"]]
        return made["world"]["statistics_id"] != "none" and any("together" in t for t in texts)

    until(together, 30)


def test_bad_records_become_dead_letters_and_the_next_event_is_answered(line: Line) -> None:
    bad = [
        ("eve", b"{"),
        (None, b"{}"),
        ("eve", b'{"event_id": 1}'),
        ("eve", b"\xff"),
        ("eve", b"[" * 100 + b"]" * 100),
    ]
    for key, value in bad:
        line.raw(key, value)
    good = line.event("request", "eve")
    assert line.answer(good)["items"]

    def all_there(_: Any) -> bool:
        letters = [m for m in line.seen if m.topic() == line.topic("dead-letters")]
        return sorted(m.value() for m in letters) == sorted(value for _, value in bad)

    line.find(all_there)


def test_forgetting_leaves_nothing_and_says_so(line: Line) -> None:
    line.answer(line.event("chat", "fay", text="a blue dress"))
    forget = line.event("forget", "fay", scope="all")

    def receipt(message: Any) -> Any:
        value = json.loads(message.value()) if message.topic() == line.topic("receipts") else None
        return value if value and value["event_id"] == forget else None

    assert line.find(receipt)["removed"]["texts"] == 1
    client = redis.Redis.from_url(line.up["redis"])
    assert [k for k in client.scan_iter("*") if b"fay" in k] == []


def test_a_worker_that_is_killed_comes_back_and_nothing_is_lost(line: Line) -> None:
    before = [line.event("interaction", f"gus-{n}", action="click", item_id="silk-dress-blue-1") for n in range(40)]
    os.kill(line.up["pids"]["worker"][0], signal.SIGKILL)
    after = [line.event("interaction", f"gus-{n}", action="click", item_id="silk-dress-blue-2") for n in range(40)]

    def all_answered(_: Any) -> bool:
        values = [json.loads(m.value()) for m in line.seen if m.topic() == line.topic("recommendations")]
        made: dict[str, set[bytes]] = {}
        for value in values:
            made.setdefault(value["trigger"]["event_id"], set()).add(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
        assert all(len(versions) == 1 for versions in made.values()), "one event made two different recommendations"
        return set(before + after) <= made.keys()

    line.event("request", "gus-0")
    line.find(all_answered, 200)
