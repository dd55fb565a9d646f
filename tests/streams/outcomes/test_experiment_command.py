"""`headwater experiment`: a live A/B test and an interleaving, made by the step itself, read from files and topics."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import typer
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from recsys.policy import Policy
from recsys.step import Incoming, step
from recsys.world import World
from schemas.events import EVENT
from schemas.items import Item
from schemas.topics import TOPICS
from streams.cli import experiment, outcomes
from streams.kafka.clients import producer
from streams.kafka.topics import ensure_topics
from streams.settings import settings

app = typer.Typer()
experiment.register(app)
outcomes.register(app)
START = 1_760_000_000_000
ARMS = {
    "dull": {"share": 0.3, "weights": {"newness": 0.0}},
    "both": {"share": 0.4, "interleave": ["main", "dull"]},
}


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    settings.cache_clear()
    yield monkeypatch
    settings.cache_clear()


@pytest.fixture(scope="module")
def shop() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Recommendations and events: 600 users who like new items better; one arm cannot see what is new."""
    days = {f"i{n}": n for n in range(60)}
    items = [
        Item(item_id=i, title=f"thing {n}", categories=[f"c{n % 3}"], published_at=START - n * 86_400_000)
        for i, n in days.items()
    ]
    world = World.empty(0, None).advanced(items, ()).settled()
    policy, draw = Policy.model_validate({"arms": ARMS, "arms_salt": "spring"}), random.Random(5)
    asked = [
        {"event_id": f"q{n}", "type": "request", "user_id": f"u{u}", "ts": START + n * 60_000, "k": 6}
        for u in range(600) for n in range(2)
    ]  # fmt: skip
    incoming = [Incoming(EVENT.validate_python(event), 0, at) for at, event in enumerate(asked)]
    recs = [m.value for m in step(world, {}, incoming, policy).messages]
    events = list(asked)
    for rec in recs:
        for item in rec["items"]:
            if draw.random() < (0.3 if days[item["item_id"]] < 6 else 0.1):
                events.append(
                    {
                        "event_id": f"c{len(events)}", "type": "interaction", "action": "click",
                        "user_id": rec["user_id"], "ts": rec["trigger"]["ts"] + 1000, "item_id": item["item_id"],
                        "rec_id": rec["rec_id"],
                    }
                )  # fmt: skip
    return recs, events


def write(folder: Path, recs: list[dict[str, Any]], events: list[dict[str, Any]]) -> tuple[str, ...]:
    for name, rows in (("r.jsonl", recs), ("e.jsonl", events)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "--recommendations", str(folder / "r.jsonl"), "--events", str(folder / "e.jsonl")


def test_the_better_ranking_wins_in_its_arm_and_in_the_interleaving(shop: Any, tmp_path: Path) -> None:
    result = run("experiment", "results", *write(tmp_path, *shop), "--shares", "main=0.3,dull=0.3,both=0.4", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    arms = {arm["name"]: arm for arm in found["arms"]}
    assert set(arms) == {"main", "dull", "both"}
    assert sum(arm["users"] for arm in arms.values()) == 600
    assert sum(arm["recommendations"] for arm in arms.values()) == 1200
    difference = next(d for d in found["differences"] if d["name"] == "dull")
    assert difference["baseline"] == "main"
    assert difference["high"] < 0
    assert difference["adjusted"] < 0.01
    assert arms["dull"]["rate"] < arms["both"]["rate"] < arms["main"]["rate"]
    (duel,) = found["interleaving"]
    assert (duel["first"], duel["second"]) == ("main", "dull")
    assert duel["wins_first"] > duel["wins_second"]
    assert duel["p"] < 0.01
    assert found["sample_ratio"]["p"] > 0.001
    assert found["warnings"] == []


def test_a_lost_share_is_told_in_plain_words(shop: Any, tmp_path: Path) -> None:
    recs, events = shop
    kept = [r for r in recs if not (r["arm"] == "dull" and r["user_id"].endswith(("1", "2", "3", "4", "5")))]
    files = write(tmp_path, kept, events)
    result = run("experiment", "results", *files, "--shares", "main=0.3,dull=0.3,both=0.4")
    assert result.exit_code == 0
    assert "find out why before believing" in " ".join(result.stdout.split())
    without = run("experiment", "results", *files)
    assert "shares are not known here" in " ".join(without.stdout.split())


def test_users_in_two_arms_are_left_out_and_told(shop: Any, tmp_path: Path) -> None:
    recs, events = shop
    moved = [r | {"arm": "main"} if r["user_id"] == "u7" and r["trigger"]["event_id"] == "q0" else r for r in recs]
    moved = [r | {"arm": "dull"} if r["user_id"] == "u7" and r["trigger"]["event_id"] == "q1" else r for r in moved]
    found = json.loads(run("experiment", "results", *write(tmp_path, moved, events), "--json").stdout)
    assert sum(arm["users"] for arm in found["arms"]) == 599
    assert "1 users were seen in more than one arm" in found["warnings"][0]


def test_one_arm_says_that_there_is_nothing_to_compare(shop: Any, tmp_path: Path) -> None:
    recs, events = shop
    main = [r for r in recs if r["arm"] == "main"]
    result = run("experiment", "results", *write(tmp_path, main, events), "--json")
    assert result.exit_code == 0
    assert any("one arm only" in note for note in json.loads(result.stdout)["notes"])


def test_arms_come_from_the_environment(environment: pytest.MonkeyPatch, shop: Any, tmp_path: Path) -> None:
    environment.setenv("HEADWATER_POLICY__ARMS", json.dumps(ARMS))
    environment.setenv("HEADWATER_POLICY__ARMS_SALT", "spring")
    said = json.loads(run("experiment", "arm", "u0", "u1", "u2", "--json").stdout)
    assert said == {r["user_id"]: r["arm"] for r in shop[0] if r["user_id"] in said}
    found = json.loads(run("experiment", "results", *write(tmp_path, *shop), "--json").stdout)
    expected = found["sample_ratio"]["expected"]
    assert expected == pytest.approx({"main": 180, "dull": 180, "both": 240})


@pytest.mark.parametrize("shares", ["main", "main=x", "main=-1,new=2", "main=0"])
def test_shares_that_are_none_are_refused(shop: Any, tmp_path: Path, shares: str) -> None:
    result = run("experiment", "results", *write(tmp_path, *shop), "--shares", shares)
    assert result.exit_code == 1
    assert "--shares" in result.output


@settings_of_hypothesis(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(partitions=st.integers(2, 9), order=st.randoms(use_true_random=False))
def test_the_order_in_which_partitions_are_read_changes_no_bit(
    shop: Any, tmp_path: Path, partitions: int, order: random.Random
) -> None:
    recs, events = shop
    parts: list[list[dict[str, Any]]] = [[] for _ in range(partitions)]
    for rec in recs:
        parts[crc32(rec["user_id"].encode()) % partitions].append(rec)
    order.shuffle(parts)
    for command in (("experiment", "results"), ("counterfactual", "--target", "no-exploration")):
        once, again = (
            run(*command, *write(tmp_path, rows, events), "--json") for rows in (recs, [r for p in parts for r in p])
        )
        assert once.exit_code == 0, once.output
        assert once.stdout == again.stdout


@pytest.mark.services
def test_straight_from_the_topics_is_the_same(
    shop: Any, tmp_path: Path, kafka: Any, redis_server: Any, namespace: str, environment: pytest.MonkeyPatch
) -> None:
    recs, events = shop
    for name, value in (("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap), ("REDIS_URL", redis_server.url)):
        environment.setenv(f"HEADWATER_{name}", value)
    environment.setenv("HEADWATER_NAMESPACE", namespace)
    environment.setenv("HEADWATER_KAFKA_PARTITIONS", "3")
    ensure_topics(settings())
    sender = producer(settings())
    for topic, rows in (("recommendations", [*recs, *recs[:50]]), ("events", events)):
        for row in rows:  # some twice, as a retry after a lost confirmation would have them
            sender.produce(TOPICS[topic].full_name(namespace), key=row["user_id"], value=json.dumps(row))
    assert sender.flush(30) == 0
    files = write(tmp_path, recs, events)
    for command in (("experiment", "results"), ("counterfactual", "--target", "no-exploration", "--arm", "main")):
        live, kept = run(*command, "--from-topic", "--json"), run(*command, *files, "--json")
        assert live.exit_code == 0, live.output
        one, other = json.loads(live.stdout), json.loads(kept.stdout)
        assert one.get("arms") == other.get("arms")
        assert one.get("interleaving") == other.get("interleaving")
        assert one.get("logging", {}).get("value") == other.get("logging", {}).get("value")
        assert one.get("estimates", {}).get("ips", {}).get("value") == other.get("estimates", {}).get("ips", {}).get(
            "value"
        )
