"""`latency`: from the send of an event to the receipt of its recommendation, at a third of the most the worker can do.

Beside it, at the same rate through the same broker, the bare hop: produce, consume, produce, consume, with
confluent-kafka and nothing in between. Both are measured by the same clock (`streams.bench.hop`), once the broker has
been at work for a while: a Java machine that has just started spends half a core on compiling.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from statistics import fmean

import orjson

from schemas.topics import TOPICS
from streams.bench.errors import BenchFailed
from streams.bench.hop import Answer, echo, make_topics, mark_of, paced, percentile
from streams.bench.laboratory import Laboratory
from streams.bench.processes import spent
from streams.bench.result import Aim, Comparison, Figure, Result
from streams.bench.shop import Shop, open_shop
from streams.bench.wave import Waves

SHARE = 1 / 3
P99_AIM_MS = 50
WARM_S = 40.0  # at the measured rate: by then the broker's compiler has become quiet
_PARTS = ("send to receipt", "receipt to outbox", "outbox to reader")


def latency(lab: Laboratory) -> Result:
    """p50 and p99 with catalogues of two sizes, and where the time goes."""
    result = Result(
        "latency", "from an event to its recommendation, at a third of the highest rate, against a bare hop"
    )
    for at, items in enumerate((500,) if lab.quick else (5_000, 100_000)):
        _measure(lab, items, result, warm_s=0 if lab.quick or at else WARM_S)
    result.notes.append(
        "send to receipt: into the worker; receipt to outbox: decode, load, step, encode; outbox to reader: save, "
        "publish, and the reader's fetch. Seconds by stage are those of the last catalogue, at the rate named. The "
        "broker had been at work for a minute; one that has just started costs as much again."
    )
    return result


def _measure(lab: Laboratory, items: int, result: Result, warm_s: float) -> None:
    users, seconds, rounds = (50, 3.0, 1) if lab.quick else (500, 10.0, 3)
    shop = open_shop(lab, items)
    with lab.redis(shop.settings) as redis, lab.worker(shop.settings) as worker, _bare_hop(shop) as (there, back):
        waves, log = Waves(shop.settings, redis, worker.check), shop.log(users)
        waves.run(islice(log, 4 * users))
        size = 200 if lab.quick else 4_000
        most = size / waves.run(islice(log, size))[1]
        rate = most * SHARE
        lab.say(f"latency: {items:,} items, at most {most:,.0f}/s, measured at {rate:,.0f}/s")
        events = shop.clicks(users)
        topics = [TOPICS[name].full_name(shop.settings.namespace) for name in ("events", "recommendations")]
        ours: list[list[Answer]] = []
        bare: list[list[Answer]] = []
        if warm_s:
            lab.say("latency: warming the broker up")
            paced(shop.settings, topics[0], topics[1], events, mark_of, rate, warm_s)
        before = worker.stages()
        for at in range(rounds):
            sides = [(ours, topics[0], topics[1]), (bare, there, back)]
            for answers, to, fro in sides if at % 2 == 0 else reversed(sides):
                answers.append(paced(shop.settings, to, fro, events, mark_of, rate, seconds))
            lab.say(f"latency: p99 {percentile(ours[-1], 99):.1f} ms against {percentile(bare[-1], 99):.1f} ms")
        result.stages = spent(before, worker.stages())
    name = f"{items:,} items"
    for p in (50, 99):
        mine, other = ([percentile(one, p) for one in side] for side in (ours, bare))
        result.comparisons.append(Comparison(f"{name}: p{p}", "ms", mine, other, "bare hop"))
    p99 = [percentile(one, 99) for one in ours]
    result.figures.append(Figure(f"{name}: p99", "ms", p99, Aim("at most", P99_AIM_MS)))
    for place, part in enumerate(_PARTS):
        result.figures.append(Figure(f"{name}: mean {part}", "ms", [_part(one, place) for one in ours]))
    result.setting[name] = {"most_per_s": most, "rate_per_s": rate, "answers": [len(one) for one in ours]}


@contextmanager
def _bare_hop(shop: Shop) -> Iterator[tuple[str, str]]:
    """Topics there and back, with the echo between them running."""
    there, back = (f"{shop.settings.namespace}.bare-{way}" for way in ("there", "back"))
    make_topics(shop.settings, [there, back])
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    process = context.Process(target=echo, args=(shop.settings, there, back, ready, stop), daemon=True)
    process.start()
    try:
        if not ready.wait(60):
            raise BenchFailed("the bare hop did not start within 60 s")
        yield there, back
    finally:
        stop.set()
        process.join(10)
        process.kill()


def _part(answers: list[Answer], place: int) -> float:
    """Mean milliseconds of one part of the way, by the receipt times that a recommendation carries (whole ms)."""
    parts = []
    for one in answers:
        timing = orjson.loads(one.value)["timing"]
        marks = (one.sent * 1000, timing["received_ts"] + 0.5, timing["emitted_ts"] + 0.5, one.caught * 1000)
        parts.append(marks[place + 1] - marks[place])
    return fmean(parts)
