"""`ranking`: events that each trigger a ranking of 200 candidates, through the real worker, beside the bare kernel.

Ours: validate, fold, nine retrievers, seventeen features, diversity, exploration, reasons, profile, save, publish. The
kernel (`streams.bench.kernel`) searches, scores and writes JSON. Both with the same index, model and threads.
"""

from __future__ import annotations

from functools import partial
from itertools import islice

import numpy as np

from streams.bench import kernel
from streams.bench.apart import apart
from streams.bench.laboratory import Laboratory
from streams.bench.processes import spent
from streams.bench.result import Aim, Comparison, Figure, Result
from streams.bench.rounds import by_turns
from streams.bench.shop import Shop, open_shop
from streams.bench.wave import Waves

RECALL_AT = 100
RECALL_AIM = 0.95


def ranking(lab: Laboratory) -> Result:
    """Rates of rankings, ours and the kernel's; recall of the index; seconds by stage."""
    items, users, seconds, rounds = (1_000, 100, 1.0, 2) if lab.quick else (100_000, 1_000, 8.0, 3)
    shop = open_shop(lab, items)
    vectors = lab.folder / f"{shop.settings.namespace}-vectors.npy"
    np.save(vectors, shop.indexed)
    log = shop.log(users)
    with (
        lab.redis(shop.settings) as redis,
        apart(kernel.prepare, vectors, lab.models.device, shop.settings.torch_threads) as call,
        lab.worker(shop.settings) as worker,
    ):
        waves = Waves(shop.settings, redis, worker.check)
        warm = max(200, 2 * users)
        _, passed = waves.run(islice(log, warm))
        size = max(200, int(warm / passed * seconds))
        found = call(kernel.recall, min(RECALL_AT, items // 2), 256 if lab.quick else 1024)
        call(kernel.rate, seconds / 4)
        before = worker.stages()

        def ours() -> float:
            wave, passed = waves.run(islice(log, size))
            return wave.records / passed

        mine, bare = by_turns(ours, lambda: call(kernel.rate, seconds), rounds, partial(_say, lab))
        stages = spent(before, worker.stages())
    return Result(
        "ranking",
        f"rankings from {items:,} items: the worker against the bare kernel",
        [Comparison("rankings", "events/s", mine, bare, "bare kernel", Aim("at least", 0.5))],
        [Figure(f"recall@{min(RECALL_AT, items // 2)} of the index", "", [found], Aim("at least", RECALL_AIM))],
        stages=stages,
        setting=_setting(shop, items, users, size),
    )


def _setting(shop: Shop, items: int, users: int, size: int) -> dict[str, int]:
    return {
        "items": items,
        "users": users,
        "events_a_round": size,
        "candidates": shop.settings.policy.candidates,
        "batch_records": shop.settings.batch_records,
    }


def _say(lab: Laboratory, line: str) -> None:
    lab.say(f"ranking: {line}")
