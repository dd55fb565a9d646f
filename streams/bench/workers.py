"""`workers`: two workers against one, on the same rankings. What it can show depends on the cores: the broker, Redis
and both workers share them, and a single worker already uses a second core for index search and publishing."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from itertools import islice

from streams.bench.laboratory import Laboratory
from streams.bench.processes import RoleUnderTest
from streams.bench.result import Comparison, Result
from streams.bench.shop import open_shop
from streams.bench.wave import Waves

REBALANCE_S = 3.0


def workers(lab: Laboratory) -> Result:
    """Rates of rankings with two workers and with one."""
    items, users, seconds, rounds = (500, 100, 1.0, 1) if lab.quick else (20_000, 1_000, 6.0, 3)
    shop = open_shop(lab, items)
    log = shop.log(users)
    two: list[float] = []
    one: list[float] = []
    with lab.redis(shop.settings) as redis, lab.worker(shop.settings, "worker-0") as first:
        running: list[RoleUnderTest] = [first]

        def check() -> None:
            for process in running:
                process.check()

        waves = Waves(shop.settings, redis, check)
        warm = 2 * users
        size = max(200, int(warm / waves.run(islice(log, warm))[1] * seconds))

        def measure() -> float:
            # until the partitions have found their owners, and these have their users
            time.sleep(REBALANCE_S)
            waves.run(islice(log, max(100, size // 8)))
            return size / waves.run(islice(log, size))[1]

        for at in range(rounds):
            one.append(measure())
            with ExitStack() as stack:
                running.append(stack.enter_context(lab.worker(shop.settings, "worker-1")))
                two.append(measure())
                running.pop()
            lab.say(f"workers: round {at + 1} of {rounds}: {two[-1]:,.0f} with two, {one[-1]:,.0f} with one")
    return Result(
        "workers",
        f"rankings from {items:,} items: two workers against one",
        [Comparison("rankings", "events/s", two, one, "one worker")],
        setting={"items": items, "users": users, "events_a_round": size, "cores": os.cpu_count()},
    )
