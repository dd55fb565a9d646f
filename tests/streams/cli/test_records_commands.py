"""The commands that move records, run as a person runs them, against a real broker and a real Redis."""

from __future__ import annotations

import csv
import gzip
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
import typer
from typer.testing import CliRunner, Result

from schemas.topics import TOPICS
from streams.cli import records
from streams.kafka.clients import consumer, producer
from streams.kafka.partition import partition_of
from streams.kafka.topics import ensure_topics
from streams.observe import metrics
from streams.observe.health import HealthServer
from streams.records.read import follow
from streams.registry import Registration
from streams.settings import Settings, settings

pytestmark = pytest.mark.services

Run = Callable[..., Result]


@pytest.fixture
def in_force(kafka: Any, redis_server: Any, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HEADWATER_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap)
    monkeypatch.setenv("HEADWATER_REDIS_URL", redis_server.url)
    monkeypatch.setenv("HEADWATER_NAMESPACE", namespace)
    monkeypatch.setenv("HEADWATER_KAFKA_PARTITIONS", "3")
    monkeypatch.setenv("COLUMNS", "200")
    settings.cache_clear()
    ensure_topics(settings())
    return settings()


@pytest.fixture
def headwater(in_force: Settings) -> Run:
    app = typer.Typer()
    records.register(app)

    def run(*words: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, list(words), input=stdin)

    return run


def item(number: int, **more: Any) -> dict[str, Any]:
    return {"item_id": f"i{number}", "title": f"Item {number}", **more}


def click(number: int, user: str = "anna", **more: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}", "type": "interaction", "user_id": user, "ts": 1_700_000_000_000 + number,
        "action": "click", "item_id": "i1", **more,
    }  # fmt: skip


def jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def on_topic(topic: str, in_force: Settings) -> list[Any]:
    reader = consumer(in_force, "test")
    try:
        return list(follow(reader, TOPICS[topic].full_name(in_force.namespace), beginning=True, to_the_end=True))
    finally:
        reader.close()


def values(messages: list[Any]) -> dict[str, Any]:
    return {m.key().decode(): json.loads(m.value()) if m.value() is not None else None for m in messages}


def dead_letter(in_force: Settings, value: bytes, reason: str, offset: int, topic: str = "events") -> None:
    to = producer(in_force)
    headers = {
        "dlq_reason": reason, "dlq_path": "ts", "dlq_expected": "a time", "dlq_partition": "1",
        "dlq_topic": TOPICS[topic].full_name(in_force.namespace), "dlq_offset": str(offset), "dlq_time": "now",
    }  # fmt: skip
    to.produce(TOPICS["dead-letters"].full_name(in_force.namespace), key=b"anna", value=value, headers=headers)
    assert to.flush(20) == 0


def test_valid_items_arrive_under_their_own_keys_and_wrong_rows_are_named(
    headwater: Run, in_force: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "items.jsonl"
    lines = [
        json.dumps(item(1)),
        "{broken",
        json.dumps({"item_id": "i2"}),
        "",
        json.dumps(item(3, title=7)),
        json.dumps(item(4)),
    ]
    path.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    ran = headwater("items", "load", str(path), "--json")
    assert ran.exit_code == 1
    assert json.loads(ran.stdout) | {"seconds": 0} == {"sent": 2, "rejected": 3, "failed": 0, "seconds": 0}
    rejected = [line for line in ran.stderr.splitlines() if line.startswith(str(path))]
    assert [line.split(": ")[:2] for line in rejected] == [
        [f"{path}:2", "(value)"], [f"{path}:3", "title"], [f"{path}:5", "title"],
    ]  # fmt: skip
    assert "[missing_field]" in rejected[1]
    assert values(on_topic("items", in_force)) == {"i1": item(1), "i4": item(4)}


def test_a_forced_row_is_sent_as_it_stands(headwater: Run, in_force: Settings) -> None:
    ran = headwater("events", "send", "-", "--force", stdin='{"user_id": "anna", "type": 5}\n{broken\n')
    assert ran.exit_code == 0
    assert sorted((m.key(), m.value()) for m in on_topic("events", in_force) if m.key()) == [
        (b"anna", b'{"user_id": "anna", "type": 5}')
    ]
    assert [m.value() for m in on_topic("events", in_force) if not m.key()] == [b"{broken"]


def test_csv_columns_become_nested_fields_lists_and_numbers(headwater: Run, in_force: Settings, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["item_id", "title", "price.amount", "price.currency", "categories", "attributes.ram",
                      "attributes.tags", "available", "published_at", "sponsored", "brand"])  # fmt: skip
        out.writerow(["007", "[new] A\nlamp", "12.5", "CNY", "home|light", "16",
                      "a|b", "false", "2026-01-02T03:04:05Z", '{"label": "Ad", "bid": 1}', ""])  # fmt: skip
        out.writerow(["8", "Chair", "cheap", "CNY", "", "", "", "", "", "", ""])
    ran = headwater("items", "load", str(path))
    assert ran.exit_code == 1
    assert f"{path}:4: price.amount: expected" in ran.stderr
    assert values(on_topic("items", in_force)) == {
        "007": {
            "item_id": "007",
            "title": "[new] A\nlamp",
            "price": {"amount": 12.5, "currency": "CNY"},
            "categories": ["home", "light"],
            "attributes": {"ram": 16, "tags": ["a", "b"]},
            "available": False,
            "published_at": "2026-01-02T03:04:05Z",
            "sponsored": {"label": "Ad", "bid": 1},
        }
    }


def test_parquet_and_gzipped_files_give_the_same_records_as_jsonl(
    headwater: Run, in_force: Settings, tmp_path: Path
) -> None:
    rows = [item(n, price={"amount": n / 2, "currency": "EUR"}, categories=["a", "b"]) for n in range(5000)]
    pq.write_table(pa.Table.from_pylist(rows[:3000]), tmp_path / "one.parquet")
    with gzip.open(tmp_path / "two.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows[3000:])
    ran = headwater("items", "load", str(tmp_path / "one.parquet"), str(tmp_path / "two.jsonl.gz"))
    assert ran.exit_code == 0, ran.stderr
    assert values(on_topic("items", in_force)) == {row["item_id"]: row for row in rows}


def test_one_users_events_keep_their_order_on_the_partition_that_java_clients_choose(
    headwater: Run, in_force: Settings, tmp_path: Path
) -> None:
    rows = [click(n, user) for n in range(200) for user in ("anna", "ben", "小明")]
    ran = headwater("events", "send", jsonl(tmp_path / "events.jsonl", rows))
    assert ran.exit_code == 0, ran.stderr
    messages = on_topic("events", in_force)
    where = {user: {m.partition() for m in messages if m.key() == user.encode()} for user in ("anna", "ben", "小明")}
    assert where == {user: {partition_of(user, 3)} for user in where}
    anna = [json.loads(m.value())["event_id"] for m in messages if m.key() == b"anna"]
    assert anna == [f"e{n}" for n in range(200)]


def test_rate_holds_sending_back(headwater: Run, in_force: Settings, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "events.jsonl", [click(n) for n in range(40)])
    slow = json.loads(headwater("events", "send", path, "--rate", "40", "--json").stdout)["seconds"]
    fast = json.loads(headwater("events", "send", path, "--json").stdout)["seconds"]
    assert slow >= 39 / 40 > fast


def test_speed_follows_the_events_own_times(headwater: Run, in_force: Settings, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "events.jsonl", [click(n * 10_000) for n in range(3)])  # 20 s of log
    assert json.loads(headwater("events", "send", path, "--speed", "20", "--json").stdout)["seconds"] >= 1


def test_a_withdrawn_item_is_a_null_on_its_key(headwater: Run, in_force: Settings) -> None:
    assert headwater("items", "withdraw", "i1", "i2").exit_code == 0
    assert values(on_topic("items", in_force)) == {"i1": None, "i2": None}


def test_wait_returns_once_every_worker_counts_the_items(
    headwater: Run, in_force: Settings, redis_server: Any, tmp_path: Path
) -> None:
    path = jsonl(tmp_path / "items.jsonl", [item(1), item(2), item(1)])
    metrics.CATALOGUE_ITEMS.set(1)
    short = headwater("items", "load", path, "--wait", "--wait-seconds", "0")
    assert short.exit_code == 1
    assert "no worker runs" in short.stderr
    with (
        HealthServer("127.0.0.1", 0, list, role="worker") as worker,
        Registration(redis_server.url, in_force.namespace, "worker", "worker-0", worker.url),
    ):
        counted = threading.Event()

        def count() -> None:
            time.sleep(1)
            counted.set()
            metrics.CATALOGUE_ITEMS.set(2)

        threading.Thread(target=count).start()
        ran = headwater("items", "load", path, "--wait", "--wait-seconds", "60")
    assert counted.is_set(), "it did not wait"
    assert ran.exit_code == 0, ran.stderr
    assert "every worker counts 2 items" in ran.stderr


def test_tail_shows_one_users_records_and_ends_after_n(headwater: Run, in_force: Settings, tmp_path: Path) -> None:
    rows = [click(n, "anna" if n % 2 else "ben") for n in range(10)]
    headwater("events", "send", jsonl(tmp_path / "events.jsonl", rows))
    ran = headwater("tail", "events", "--user", "anna", "--from-beginning", "--json", "-n", "3")
    assert ran.exit_code == 0
    shown = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(one["key"], one["value"]["event_id"]) for one in shown] == [
        ("anna", "e1"),
        ("anna", "e3"),
        ("anna", "e5"),
    ]
    plain = headwater("tail", "events", "--no-follow")
    assert len(plain.stdout.splitlines()) == 10


def test_tail_shows_a_recommendation_with_its_reasons(headwater: Run, in_force: Settings) -> None:
    record = {
        "rec_id": "r1", "user_id": "anna", "kind": "dialogue", "trigger": {"event_id": "e1", "type": "chat", "ts": 1},
        "reply": "[Three] dresses", "constraints": [{"name": "price", "op": "<=", "value": 500, "unit": "CNY"}],
        "items": [{"item_id": "i1", "rank": 1, "score": 0.5, "propensity": 1, "source": "dense",
                   "reasons": [{"text": "you liked [red]", "weight": 1, "evidence": []}]}],
        "world": {}, "timing": {"event_ts": 1, "received_ts": 2, "emitted_ts": 5},
    }  # fmt: skip
    to = producer(in_force)
    to.produce(
        TOPICS["recommendations"].full_name(in_force.namespace),
        key=b"anna",
        value=json.dumps(record).encode(),
    )
    assert to.flush(20) == 0
    shown = headwater("tail", "recommendations", "--no-follow").stdout
    for part in (
        "anna dialogue for chat e1",
        "[Three] dresses",
        "price <= 500 CNY",
        "i1",
        "you liked [red]",
        "3 ms",
    ):
        assert part in shown


def test_tail_of_an_unknown_topic_says_which_there_are(headwater: Run) -> None:
    ran = headwater("tail", "recomendations")
    assert ran.exit_code == 1
    assert "recommendations" in ran.stderr


def test_dead_letters_are_listed_with_why_and_whence(headwater: Run, in_force: Settings) -> None:
    dead_letter(in_force, b'{"a": 1}', "missing_field", 7)
    dead_letter(in_force, b"\xff", "not_utf8", 8)
    listed = [json.loads(line) for line in headwater("dead-letters", "list", "--json").stdout.splitlines()]
    assert {(one["reason"], one["from_offset"], one.get("value"), one.get("value_base64")) for one in listed} == {
        ("missing_field", 7, '{"a": 1}', None),
        ("not_utf8", 8, None, "/w=="),
    }
    only = headwater("dead-letters", "list", "--reason", "not_utf8").stdout
    assert "not_utf8 1" in only
    assert "missing_field" not in only


def test_redriving_sends_the_bytes_as_received_once(headwater: Run, in_force: Settings, redis_server: Any) -> None:
    for n in range(3):
        dead_letter(in_force, b'{"n": %d}' % n, "wrong_field", n)
        dead_letter(in_force, b"{x%d" % n, "not_json", n)

    def sent() -> list[tuple[int, bytes, bytes]]:
        return [(m.partition(), m.key(), m.value()) for m in on_topic("events", in_force)]

    def redriven(*words: str) -> int:
        ran = headwater("dead-letters", "redrive", "--json", *words)
        assert ran.exit_code == 0, ran.stderr
        return sum(row["sent"] for row in json.loads(ran.stdout)["redriven"])

    assert redriven("--dry-run") == 6
    assert sent() == []
    assert redriven("--reason", "not_json") == 3
    assert sent() == [(1, b"anna", b"{x0"), (1, b"anna", b"{x1"), (1, b"anna", b"{x2")]
    assert redriven("--topic", "items") == 0
    assert redriven() == 3
    assert redriven() == 0
    dead_letter(in_force, b"{late", "not_json", 9)
    assert redriven() == 1
    assert [value for _, _, value in sent()][3:] == [b'{"n": 0}', b'{"n": 1}', b'{"n": 2}', b"{late"]
    redis.Redis.from_url(redis_server.url).delete(f"{in_force.namespace}:redriven")


def test_without_a_running_headwater_the_message_says_what_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADWATER_KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    app = typer.Typer()
    records.register(app)
    ran = CliRunner().invoke(app, ["tail", "events"])
    settings.cache_clear()
    assert ran.exit_code == 1
    assert "headwater up" in ran.stderr
    assert str(tmp_path) in ran.stderr
