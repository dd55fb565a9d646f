"""Chatting and looking at a profile from the terminal, against a real broker and a real Redis."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from recsys.user import User, Words, encode_user
from schemas.topics import TOPICS
from streams.cli import people
from streams.kafka.clients import consumer, producer
from streams.kafka.partition import partition_of
from streams.kafka.topics import ensure_topics
from streams.records.read import assign
from streams.settings import Settings, settings
from streams.store.redis import RedisStore

pytestmark = pytest.mark.services

Run = Callable[..., Result]


@pytest.fixture
def in_force(kafka: Any, redis_server: Any, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("HEADWATER_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setenv("HEADWATER_REDIS_URL", redis_server.url)
    monkeypatch.setenv("HEADWATER_NAMESPACE", namespace)
    monkeypatch.setenv("HEADWATER_KAFKA_PARTITIONS", "3")
    monkeypatch.setenv("COLUMNS", "200")
    settings.cache_clear()
    ensure_topics(settings())
    yield settings()
    settings.cache_clear()


@pytest.fixture
def headwater(in_force: Settings) -> Run:
    app = typer.Typer()
    people.register(app)

    def run(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, list(words), input=stdin)

    return run


@contextmanager
def answering(in_force: Settings) -> Iterator[None]:
    """Something that answers every chat, each time after a recommendation that nobody waits for."""
    stop = threading.Event()
    reader, to = consumer(in_force, "answers"), producer(in_force, linger_ms=0)
    out = TOPICS["recommendations"].full_name(in_force.namespace)

    def answer() -> None:
        assign(reader, TOPICS["events"].full_name(in_force.namespace), dict.fromkeys(range(3), 0))
        while not stop.is_set():
            for message in reader.consume(10, timeout=0.1):
                event = json.loads(message.value())
                for trigger, reply in (("other", "not for this"), (event["event_id"], f"you said [{event['text']}]")):
                    record = {
                        "rec_id": f"r-{trigger}", "user_id": event["user_id"], "kind": "dialogue", "reply": reply,
                        "trigger": {"event_id": trigger, "type": "chat", "ts": event["ts"]}, "constraints": [],
                        "items": [{"item_id": "i1", "rank": 1, "score": 1, "source": "dense",
                                   "reasons": [{"text": "it is red", "weight": 1, "evidence": []}]}],
                    }  # fmt: skip
                    to.produce(out, key=message.key(), value=json.dumps(record).encode())
                to.flush(10)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        reader.close()


def test_one_message_gets_the_answer_to_it_and_no_other(headwater: Run, in_force: Settings) -> None:
    with answering(in_force):
        ran = headwater("chat", "--user", "anna", "--once", "a red dress", "--json")
    assert ran.exit_code == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert (answer["user_id"], answer["reply"]) == ("anna", "you said [a red dress]")


def test_a_conversation_goes_on_until_the_input_ends(headwater: Run, in_force: Settings) -> None:
    with answering(in_force):
        ran = headwater("chat", "--user", "小明", stdin="我想买裙子\n\nin red\n")
    assert ran.exit_code == 0, ran.stderr
    for part in ("you said [我想买裙子]", "you said [in red]", "it is red"):
        assert part in ran.stdout
    assert "not for this" not in ran.stdout


def test_no_answer_ends_with_a_message_and_exit_code_1(headwater: Run) -> None:
    ran = headwater("chat", "--user", "anna", "--once", "anyone?", "--timeout", "1")
    assert ran.exit_code == 1
    assert "headwater doctor" in ran.stderr
    assert ran.stdout == ""


def test_a_profile_is_shown_in_its_sentences_with_the_state(
    headwater: Run, in_force: Settings, redis_server: Any
) -> None:
    user = User.new("anna")
    user.profile = "Looks for red dresses [e1].\nSpends up to 500 CNY [e1]."
    user.words = (Words("e1", 1_700_000_000, "a red dress"),)
    user.traits = {"city": "Turin"}
    store = RedisStore(redis_server.url, in_force.namespace)
    store.save(partition_of("anna", 3), None, 0, {"anna": encode_user(user)})
    store.close()
    shown = headwater("profile", "show", "anna")
    assert shown.exit_code == 0, shown.stderr
    for part in ("Looks for red dresses [e1].", "city: Turin", "a red dress"):
        assert part in shown.stdout
    found = json.loads(headwater("profile", "show", "anna", "--json").stdout)
    assert found["profile"] == ["Looks for red dresses [e1].", "Spends up to 500 CNY [e1]."]
    assert found["words"] == [{"event_id": "e1", "at": "2023-11-14T22:13:20.000Z", "text": "a red dress"}]


def test_a_user_that_nobody_knows_is_said_to_be_so(headwater: Run) -> None:
    ran = headwater("profile", "show", "nobody")
    assert ran.exit_code == 1
    assert "nobody" in ran.stderr
