"""Whatever dies when: the users and the messages are those of a run in which nothing happened."""

from __future__ import annotations

import os
import signal

import pytest

from streams.faults import WORKER as STAGES

pytestmark = pytest.mark.services

OUTPUTS = ("recommendations", "dead-letters", "journal")


def assert_same(lab, calm, outputs=OUTPUTS):
    """Same users, same messages in the same order; a message seen twice is the identical bytes (an unconfirmed one was
    sent again by the next owner)."""
    assert lab.users() == calm.users()
    for name in outputs:
        expected = _by_partition([one.without_circumstances() for one in calm.published(name)])
        first: dict[str, object] = {}
        for one in lab.published(name):
            same = first.setdefault(one.message_id, one)
            assert (same.partition, same.key, same.value, same.headers) == (
                one.partition, one.key, one.value, one.headers
            )  # fmt: skip
        assert _by_partition([one.without_circumstances() for one in first.values()]) == expected, name


def _by_partition(records):
    """The journal has one partition for the entries of all; their order among each other means nothing."""
    return sorted(records, key=lambda one: (one[0], one[1]) if b":" in (one[1] or b"") else (one[0], b""))


def with_bad_records(events):
    """Every fortieth record is no event."""
    mixed = []
    for at, event in enumerate(events):
        mixed.append(event)
        if at % 40 == 0:
            mixed.append((event[0], b"not json %d" % at))
    return mixed


def test_a_worker_killed_at_every_point_loses_nothing_and_does_nothing_twice(lab, undisturbed, shoppers):
    events = with_bad_records(shoppers(2500))
    lab.send(events)
    for stage in STAGES:
        # the second pass: in the middle of the stream, with other batches before and behind it
        killed = lab.worker(fault=f"after:{stage}:2")
        assert killed.wait(150) == -signal.SIGKILL, f"{stage}\n{lab.log()[-3000:]}"
    lab.worker()
    lab.until_done()
    assert_same(lab, undisturbed(events))


def test_the_real_core_gives_the_same_after_a_kill_in_the_middle_of_a_batch(lab, undisturbed, shoppers, items):
    events = shoppers(300)
    lab.send(items, to="items")
    lab.send(events)
    for stage in ("load", "save", "produce"):
        killed = lab.worker(fault=f"after:{stage}:3", real=True)
        assert killed.wait(150) == -signal.SIGKILL, f"{stage}\n{lab.log()[-3000:]}"
    lab.worker(real=True)
    lab.until_done()
    calm = undisturbed(events, items, real=True)
    assert len(calm.published("receipts")) == 6
    assert_same(lab, calm, ("recommendations", "receipts", "dead-letters"))


def test_a_broker_that_restarts_is_waited_for(lab, undisturbed, shoppers, kafka):
    events = shoppers(3000)
    worker = lab.worker(STAND_IN_SLOW_S="0.02")
    lab.send(events[:1500])
    lab.until_done(share=0.3)
    kafka.restart()
    lab.send(events[1500:])
    lab.until_done()
    assert worker.poll() is None, lab.log()[-3000:]
    assert_same(lab, undisturbed(events))


def test_a_redis_that_restarts_is_waited_for(lab, undisturbed, shoppers, redis_server):
    events = shoppers(3000)
    worker = lab.worker(STAND_IN_SLOW_S="0.02")
    lab.send(events)
    lab.until_done(share=0.3)
    redis_server.restart()
    lab.until_done()
    assert worker.poll() is None, lab.log()[-3000:]
    assert_same(lab, undisturbed(events))


def test_a_redis_that_lost_its_newest_writes_is_filled_again_from_the_log(lab, shoppers, redis_server):
    """The messages of the lost batches go out again with the same ids; users end as if nothing had happened."""
    import redis

    events = shoppers(1200)
    lab.send(events[:600])
    worker = lab.worker()
    lab.until_done()
    with redis.Redis.from_url(redis_server.url) as client:
        keys = list(client.scan_iter(match=f"{{{lab.settings.namespace}:*", count=1000))
        before = {key: client.dump(key) for key in keys}
        lab.send(events[600:])
        lab.until_done()
        expected = lab.users()
        with client.pipeline() as pipe:
            for key in client.scan_iter(match=f"{{{lab.settings.namespace}:*", count=1000):
                pipe.delete(key)
            for key, value in before.items():
                pipe.restore(key, 0, value)
            pipe.execute()
        assert lab.users() != expected
    lab.until_done()  # noticed without any new event
    assert lab.users() == expected
    assert worker.poll() is None
    assert {one.message_id for one in lab.published("recommendations")} == {
        f"r-e{at}" for at in range(1200) if at % 50 != 49
    } | {f"r-e{at}" for at in range(1200)}


def test_a_position_that_somebody_else_moved_ends_the_worker(lab, shoppers):
    events = shoppers(400)
    lab.send(events[:200])
    worker = lab.worker()
    lab.until_done()
    for at in range(lab.settings.kafka_partitions):
        position = lab.store.position(at)
        lab.store.save(at, position.offset, position.offset + 5, {}, [], token=b"somebody else")
    lab.send(events[200:])
    assert worker.wait(150) == 3
    assert "worker.fenced" in lab.log()
    assert "another worker went on with it" in lab.log()


def test_two_workers_share_the_partitions_and_one_takes_over_from_the_other(lab, undisturbed, shoppers):
    events = shoppers(4000)
    lab.send(events[:1000])
    first = lab.worker("worker-0", STAND_IN_SLOW_S="0.02")
    lab.until_done(share=0.3)
    second = lab.worker("worker-1", STAND_IN_SLOW_S="0.02")
    lab.until(lambda: lab.log().count("worker.partition_open") >= 2 * 3, "the second worker to get partitions")
    lab.send(events[1000:2500])
    lab.until_done(share=0.7)
    os.kill(first.pid, signal.SIGKILL)  # the group misses it after its session; the second takes all
    first.wait()
    lab.send(events[2500:])
    lab.until_done()
    assert lab.stop(second) == 0
    assert_same(lab, undisturbed(events))


def test_a_worker_asked_to_stop_finishes_and_tells_kafka(lab, undisturbed, shoppers):
    events = shoppers(3000)
    lab.send(events)
    worker = lab.worker(STAND_IN_SLOW_S="0.02")
    lab.until_done(share=0.2)
    assert lab.stop(worker) == 0
    held = [lab.store.position(at) for at in range(lab.settings.kafka_partitions)]
    applied = sum(position.offset + 1 for position in held if position)
    assert 0 < applied < 3000
    assert lab.committed() == applied
    assert not any(lab.store.pending(at) for at in range(lab.settings.kafka_partitions))
    lab.worker()
    lab.until_done()
    published = lab.published("recommendations")
    assert len({one.message_id for one in published}) == len(published), "a stop in order repeats nothing"
    assert_same(lab, undisturbed(events))


@pytest.mark.parametrize("away", ["kafka", "redis_server"])
def test_a_worker_asked_to_stop_while_a_service_is_away_leaves_the_rest_to_the_next(
    lab, undisturbed, shoppers, request, away
):
    events = shoppers(2000)
    service = request.getfixturevalue(away)
    lab.send(events)
    worker = lab.worker(STAND_IN_SLOW_S="0.02")
    lab.until_done(share=0.2)
    service.stop()
    try:
        lab.until(lambda: "_away" in lab.log() or "onnection" in lab.log(), "the worker to notice")
        assert lab.stop(worker) == 0
    finally:
        service.start()
    lab.worker()
    lab.until_done()
    assert_same(lab, undisturbed(events))
