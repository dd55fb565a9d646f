"""`state`: events that only change users, through the real worker, beside a bare loop on the same topic.

Ours validates, folds, writes the profile in words, and gives every guarantee. The bare loop is what one would write
without any of that: confluent-kafka's consume(1000), orjson.loads, one pipelined HSET an event, a commit a batch.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import islice

from schemas.topics import TOPICS
from streams.bench.apart import apart
from streams.bench.laboratory import Laboratory
from streams.bench.processes import spent
from streams.bench.result import Aim, Comparison, Result
from streams.bench.rounds import by_turns
from streams.bench.shop import open_shop
from streams.bench.wave import Laid, Waves
from streams.settings import Settings

NO_RANKINGS = {"HEADWATER_POLICY__RANKING_ACTIONS": "[]"}


def state(lab: Laboratory) -> Result:
    """Rates of state events, ours and the bare loop's."""
    events, users, items, rounds = (5_000, 1_000, 500, 2) if lab.quick else (200_000, 10_000, 5_000, 3)
    shop = open_shop(lab, items)
    log = shop.log(users)
    with (
        lab.redis(shop.settings) as redis,
        lab.worker(shop.settings, **NO_RANKINGS) as worker,
        apart() as call,
    ):
        waves = Waves(shop.settings, redis, worker.check)
        wave, _ = waves.run(islice(log, events // 4))  # both sides warm, all users known
        call(bare_loop, shop.settings, wave)
        before = worker.stages()

        def ours() -> float:
            nonlocal wave
            wave, seconds = waves.run(islice(log, events))
            return events / seconds

        mine, bare = by_turns(
            ours, lambda: wave.records / call(bare_loop, shop.settings, wave), rounds, partial(_say, lab)
        )
        stages = spent(before, worker.stages())
    return Result(
        "state",
        "events that only change users: the worker against a bare consume, loads, HSET, commit loop",
        [Comparison("state events", "events/s", mine, bare, "bare loop", Aim("at least", 0.4))],
        stages=stages,
        setting={"events": events, "users": users, "items": items, "batch_records": shop.settings.batch_records},
    )


def _say(lab: Laboratory, line: str) -> None:
    lab.say(f"state: {line}")


def bare_loop(settings: Settings, wave: Laid) -> float:
    """Seconds to read a wave and write one hash field an event. Runs in a process of its own."""
    import orjson
    import redis
    from confluent_kafka import TopicPartition

    from streams.kafka.clients import consumer

    assert settings.redis_url is not None
    name = TOPICS["events"].full_name(settings.namespace)
    store = redis.Redis.from_url(settings.redis_url.get_secret_value())
    reader = consumer(settings, f"{settings.namespace}.bare")
    try:
        reader.assign([TopicPartition(name, partition, at) for partition, at in wave.first.items()])
        left = wave.records
        started = time.perf_counter()
        while left > 0:
            records = reader.consume(1000, 1.0)
            pipe = store.pipeline(transaction=False)
            for record in records:
                event = orjson.loads(record.value())
                pipe.hset(f"bare:{event['user_id']}", "state", record.value())
            pipe.execute()
            reader.commit(asynchronous=True)
            left -= len(records)
        return time.perf_counter() - started
    finally:
        reader.close()
        store.close()
