"""What the worker does with each record, good or bad: the worker never stops for one, and no other record suffers."""

from __future__ import annotations

import json

import httpx
import pytest

from streams.registry import roles

pytestmark = pytest.mark.services


def event(event_id: str, user_id: str = "ann", **more) -> bytes:
    whole = {"event_id": event_id, "type": "interaction", "user_id": user_id, "ts": 1, "action": "view", "item_id": "i"}
    return json.dumps(whole | more).encode()


BAD = {
    "not_json": (b"ann", b'{"event_id": '),
    "not_utf8": (b"ann", b'{"event_id": "\xff"}'),
    "too_deep": (b"ann", b'{"a":' * 40 + b"1" + b"}" * 40),
    "not_finite": (b"ann", event("nan").replace(b'"ts": 1', b'"ts": NaN')),
    "lone_surrogate": (b"ann", event("s").replace(b'"view"', b'"\\ud800"')),
    "missing_field": (b"ann", event("m").replace(b'"item_id"', b'"other"')),
    "wrong_field": (b"ann", event("w", action=7)),
    "no_key": (None, event("k")),
    "key_mismatch": (b"bob", event("x")),
    "no_value": (b"ann", None),
    "too_large": (b"ann", event("l", text="x" * 5000)),
    "step_failed": (b"ann", event("p", context={"poison": True})),
}


def test_bad_records_become_dead_letters_and_nothing_else_changes(lab):
    worker = lab.worker()
    lab.send([(b"ann", event("first"))])
    lab.until_done()
    sent = []
    for at, bad in enumerate(BAD.values()):
        sent += [bad, (b"ann", event(f"good-{at}"))]
    lab.send(sent, headers=[("trace", b"abc"), ("dlq_reason", b"forged")])
    lab.until_done()
    letters = {one.headers["dlq_reason"].decode(): one for one in lab.published("dead-letters")}
    assert set(letters) == set(BAD)
    assert len(lab.published("dead-letters")) == len(BAD)
    for reason, (key, value) in BAD.items():
        letter = letters[reason]
        assert (letter.key, letter.value) == (key, value), reason
        assert letter.headers["trace"] == b"abc"
        assert letter.headers["dlq_topic"].decode() == lab.topic("events")
        assert letter.headers["dlq_partition"].isdigit()
        assert letter.headers["dlq_offset"].isdigit()
        assert letter.headers["dlq_time"].endswith(b"Z")
        assert {"dlq_path", "dlq_expected", "ce_id", "ce_type", "ce_source", "ce_time"} <= set(letter.headers)
    assert letters["missing_field"].headers["dlq_path"] == b"item_id"
    recommended = [one.message_id for one in lab.published("recommendations")]
    assert recommended == ["r-first", *[f"r-good-{at}" for at in range(len(BAD))]]
    assert lab.users()["ann"][b"profile"] == b"seen %d events" % (1 + len(BAD))
    assert worker.poll() is None


def test_no_text_of_a_person_and_no_user_id_is_logged(lab):
    lab.worker()
    lab.send([(b"secret-user", event("p", "secret-user", text="my secret words", context={"poison": True}))])
    lab.send([(b"secret-user", b'{"user_id": "secret-user", "text": "my secret words"}')])
    lab.until_done()
    log = lab.log()
    assert "worker.event_failed" in log
    assert "secret" not in log


def test_what_goes_out_carries_cloudevents_headers_and_both_times(lab):
    lab.worker()
    lab.send([(b"ann", event("a"))])
    lab.until_done()
    (one,) = lab.published("recommendations")
    value = json.loads(one.value)
    assert one.key == b"ann"
    assert one.headers["ce_id"] == b"r-a"
    assert one.headers["ce_specversion"] == b"1.0"
    assert one.headers["ce_type"] == b"headwater.recommendation"
    assert one.headers["ce_source"].decode() == f"/{lab.settings.namespace}/worker"
    assert one.headers["content-type"] == b"application/json"
    assert value["timing"]["event_ts"] == 1
    assert value["timing"]["received_ts"] <= value["timing"]["emitted_ts"]


def test_a_users_records_stay_on_the_partition_of_the_users_events(lab, shoppers):
    from streams.kafka.partition import partition_of

    lab.worker()
    lab.send(shoppers(200))
    lab.until_done()
    for one in lab.published("recommendations"):
        assert one.partition == partition_of(one.key, lab.settings.kafka_partitions)
    assert lab.store.read_user("user-7", lab.settings.kafka_partitions)[b"profile"].startswith(b"seen ")


def test_the_journal_names_the_world_once_for_each_partition(lab, shoppers):
    lab.send(shoppers(300))
    first = lab.worker()
    lab.until_done()
    assert lab.stop(first) == 0
    lab.send(shoppers(300, start=300))
    lab.worker()
    lab.until_done()
    entries = lab.published("journal")
    assert sorted(one.key for one in entries) == [b"0:0", b"1:0", b"2:0"]
    assert json.loads(entries[0].value)["world"]["release_id"] == "none"


def test_a_log_that_became_shorter_is_read_from_its_new_end(lab):
    """A broker that lost its newest records gives their offsets to new ones, which are not to be taken for old."""
    lab.send([(b"ann", event(f"e{at}")) for at in range(5)])
    at = next(at for at, end in lab.ends("events").items() if end)
    lab.store.save(at, None, 900, {}, [])
    lab.worker()
    lab.until(lambda: "worker.log_is_shorter" in lab.log(), "the worker to notice")
    lab.send([(b"ann", event("new"))])
    lab.until(lambda: lab.store.position(at).offset == 5, "the new event to be applied")
    lab.until(lambda: lab.published("recommendations"), "its recommendation")
    assert [one.message_id for one in lab.published("recommendations")] == ["r-new"]


def test_a_worker_is_ready_once_it_holds_partitions_and_tells_what_it_did(lab, shoppers, redis_server):
    import redis

    client = redis.Redis.from_url(redis_server.url)
    lab.worker()
    lab.until(lambda: roles(client, lab.settings.namespace), "the worker to register")
    (role,) = roles(client, lab.settings.namespace)
    assert (role.role, role.instance) == ("worker", "worker-0")
    lab.until(lambda: httpx.get(role.url + "/readyz").status_code == 200, "the worker to be ready")
    assert httpx.get(role.url + "/livez").status_code == 200
    lab.send([*shoppers(98), (b"ann", b"{")])
    lab.until_done()

    def told() -> bool:
        text = httpx.get(role.url + "/metrics").text
        wanted = (
            'headwater_events_total{type="interaction"} 97.0',
            'headwater_events_total{type="forget"} 1.0',
            'headwater_dead_letters_total{reason="not_json"} 1.0',
            'headwater_recommendations_total{kind="ranking"} 98.0',
            "headwater_outbox_pending 0.0",
        )
        stages = ("decode", "load", "step", "save", "publish")
        return all(one in text for one in wanted) and all(f'stage="{one}"' in text for one in stages)

    lab.until(told, "the metrics")


def test_a_worker_started_before_its_services_waits_for_them(lab, shoppers, kafka):
    kafka.stop()
    try:
        worker = lab.worker()
        lab.until(lambda: "worker.kafka_away" in lab.log(), "the worker to notice")
    finally:
        kafka.start()
    lab.send(shoppers(50))
    lab.until_done()
    assert worker.poll() is None
    assert lab.stop(worker) == 0
