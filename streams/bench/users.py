"""`users`: a small and a large population in Redis: does the rate of state events fall, what does a user take?

Each population has a namespace of its own with one partition. Two kinds of traffic: `the same few` are ten thousand
users that a worker soon holds in memory, in both populations; `anybody` draws every event's user from all of them, so
that with a million nearly every user has to be fetched. All events come soon after their user's last one, so that no
population has more recommendations whose time is over, and that are to be closed, than the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import fmean
from typing import Any

import numpy as np
import orjson

from recsys.user import decode_user, encode_user
from streams.bench.laboratory import Laboratory
from streams.bench.people import EVENTS, fields_of_people
from streams.bench.result import Aim, Comparison, Figure, Result
from streams.bench.rounds import by_turns
from streams.bench.shop import Shop, open_shop
from streams.bench.state import NO_RANKINGS
from streams.bench.wave import Record, Waves

BOUND_BYTES = 1024
SAMPLE = 500
_PIPE = 2000


@dataclass
class _Population:
    """A number of stored users, and waves of events of theirs. `last_ms`: of their last events, in turn."""

    shop: Shop
    size: int
    waves: Waves
    active: int
    last_ms: Sequence[int]

    def anybody(self) -> Iterator[Record]:
        return _events(self.shop, self.size, self.last_ms, seed=1)

    def same_few(self) -> Iterator[Record]:
        return _events(self.shop, self.active, self.last_ms, seed=2)


def users(lab: Laboratory) -> Result:
    """Rates and bytes with a small and a large population."""
    few, many, distinct, events, rounds = (500, 2_000, 200, 2_000, 1) if lab.quick else (
        10_000, 1_000_000, 2_000, 50_000, 3
    )  # fmt: skip
    result = Result(
        "users", f"{many:,} users in Redis against {few:,}: rate of state events, and bytes a user at {EVENTS} events"
    )
    with ExitStack() as stack:
        populations: dict[int, _Population] = {}
        fields: list[dict[str, bytes]] = []
        for size in (few, many):
            shop = open_shop(lab, 1_000 if lab.quick else 5_000, kafka_partitions=1)
            redis = stack.enter_context(lab.redis(shop.settings))
            if not fields:
                # rewriting the append-only file would fall into one side's rounds and not into the other's
                redis.config_set("auto-aof-rewrite-percentage", 0)
                lab.say(f"users: {distinct:,} users of {EVENTS} events")
                fields = fields_of_people(shop, distinct)
                result.figures += _bytes_by_field(fields)
            before = redis.info("memory")["used_memory"]
            lab.say(f"users: filling Redis with {size:,}")
            _fill(redis, shop, fields, size)
            taken = (redis.info("memory")["used_memory"] - before) / size
            whole, closed = _usage(redis, shop, size)
            name = f"{size:,} users"
            result.figures += [
                Figure(f"{name}: used_memory", "bytes/user", [taken]),
                Figure(f"{name}: MEMORY USAGE", "bytes/user", [whole]),
                Figure(f"{name}: the same without `open`", "bytes/user", [closed], Aim("at most", BOUND_BYTES)),
            ]
            worker = stack.enter_context(lab.worker(shop.settings, f"worker-{size}", **NO_RANKINGS))
            waves = Waves(shop.settings, redis, worker.check)
            last_ms = [1000 * decode_user("", _stored(one)).last_s for one in fields]
            populations[size] = _Population(shop, size, waves, few, last_ms)
        for kind in ("same_few", "anybody"):
            logs = {size: getattr(one, kind)() for size, one in populations.items()}

            def rate(size: int, logs: dict[int, Iterator[Record]]) -> float:
                return events / populations[size].waves.run(islice(logs[size], events))[1]

            for size in (few, many):
                populations[size].waves.run(islice(logs[size], events // 2))
            large, small = by_turns(partial(rate, many, logs), partial(rate, few, logs), rounds, partial(_say, lab))
            words = {"same_few": "events of the same few", "anybody": "events of anybody"}[kind]
            result.comparisons.append(Comparison(words, "events/s", large, small, f"{few:,} users"))
    result.setting = {"few": few, "many": many, "events_a_round": events, "distinct": distinct, "events_a_user": EVENTS}
    return result


def _say(lab: Laboratory, line: str) -> None:
    lab.say(f"users: {line}")


def _name(number: int) -> str:
    return f"user{number:012d}"


def _stored(fields: Mapping[str, bytes]) -> dict[bytes, bytes]:
    return {name.encode(): value for name, value in fields.items()}


def _events(shop: Shop, of: int, last_ms: Sequence[int], seed: int) -> Iterator[Record]:
    """Endless interactions of the first `of` users, each as likely as the next."""
    random = np.random.default_rng([seed, of])
    ids = [item.item_id for item in shop.items]
    number = 0
    while True:
        who, what = random.integers(of, size=10_000).tolist(), random.integers(len(ids), size=10_000).tolist()
        for user, item in zip(who, what, strict=True):
            number += 1
            event = {
                "event_id": f"{seed}-{number:014d}",
                "type": "interaction",
                "user_id": _name(user),
                "ts": last_ms[user % len(last_ms)] + number,
                "action": "click",
                "item_id": ids[item],
            }
            yield _name(user).encode(), orjson.dumps(event)


def _fill(redis: Any, shop: Shop, fields: list[dict[str, bytes]], size: int) -> None:
    """Users under the keys that the worker's store reads, of partition 0."""
    prefix = f"{{{shop.settings.namespace}:0}}:u:"
    for start in range(0, size, _PIPE):
        pipe = redis.pipeline(transaction=False)
        for number in range(start, min(start + _PIPE, size)):
            pairs = [word for pair in fields[number % len(fields)].items() for word in pair]
            pipe.execute_command("HSET", prefix + _name(number), *pairs)
        pipe.execute()


def _usage(redis: Any, shop: Shop, size: int) -> tuple[float, float]:
    """Mean MEMORY USAGE of sampled users: as they are, and with `open` empty, as where no ranking waits."""
    prefix = f"{{{shop.settings.namespace}:0}}:u:"
    whole, closed = [], []
    scratch = f"{prefix}{'0' * 16}"
    for number in np.random.default_rng(5).integers(size, size=min(SAMPLE, size)).tolist():
        key = prefix + _name(number)
        whole.append(redis.memory_usage(key, samples=0))
        fields = redis.hgetall(key)
        user = decode_user(_name(number), fields)
        user.open = ()
        redis.delete(scratch)
        redis.hset(scratch, mapping=encode_user(user))
        closed.append(redis.memory_usage(scratch, samples=0))
    redis.delete(scratch)
    return fmean(whole), fmean(closed)


def _bytes_by_field(fields: list[dict[str, bytes]]) -> list[Figure]:
    return [
        Figure(f"mean of field `{name}`", "bytes", [fmean(len(one[name]) for one in fields)])
        for name in ("state", "profile", "open")
    ]
