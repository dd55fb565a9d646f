"""Demo: a log of simulated shoppers to try a backtest on, made on the spot, the same each time.

In: nothing but a seed. Out: items.jsonl and events.jsonl. The demo's shoppers come and go over some weeks, find most
things by themselves, and now and then look at a list of what is popular; their tastes are hidden and change.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from schemas.items import Item
from streams.backtest.progress import Watch
from streams.demo.catalogue import load
from streams.demo.measure import POSITIVE, Popularity
from streams.demo.shoppers import Shopper, Turn
from streams.demo.taste import features

SHOPPERS = 900
DAYS = 60
VISITS = 6.0
"""Mean visits of a shopper."""
TURNS = 8
"""Most turns of a visit."""
LATE = 0.3
"""Share of the items that come out on the way."""
_LIST = 0.35  # chance of a turn that a list of popular things is looked at
_START = 1_790_000_000_000
_DAY_MS = 86_400_000


def demo_files(folder: Path, watch: Watch, shoppers: int = SHOPPERS, seed: int = 0) -> tuple[list[str], list[str]]:
    """([path of the items], [path of the events]) below `folder`."""
    items = load()
    random = np.random.default_rng([seed, 20])
    for item, late in zip(items, random.random(len(items)) < LATE, strict=True):
        day = random.random() * DAYS if late else -1000 * random.random()
        item["published_at"] = _START + int(day * _DAY_MS)
    paths = folder / "demo-items.jsonl", folder / "demo-events.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    _write(paths[0], items)
    watch.task("simulating shoppers", DAYS)
    _write(paths[1], demo_log(items, shoppers, seed, watch))
    return [str(paths[0])], [str(paths[1])]


def _write(path: Path, records: Any) -> None:
    """Leaves a file alone that holds the same, so that an interrupted run finds its input unchanged."""
    data = b"".join(orjson.dumps(record) + b"\n" for record in records)
    if not (path.exists() and path.read_bytes() == data):
        path.write_bytes(data)


def demo_log(items: list[dict[str, Any]], shoppers: int, seed: int, watch: Watch) -> Iterator[dict[str, Any]]:
    """The events in order of time."""
    catalogue = features(items, seed)
    random = np.random.default_rng([seed, 21])
    popular = Popularity(len(items))
    people = [Shopper(number, catalogue, seed) for number in range(shoppers)]
    published = np.array([Item.model_validate(item).published_at or 0 for item in items], np.int64)
    # the next turn of each visit: (time, number of the shopper, turns left; -1: arrives)
    due: list[tuple[int, int, int]] = []
    for number in range(shoppers):
        first = max(0.0, random.random() * 1.5 - 0.5)  # a third are there from the beginning
        for _ in range(1 + random.poisson(VISITS * (1 - first))):
            day = DAYS * (first + random.random() * (1 - first))
            due.append((_START + int(day * _DAY_MS), number, -1))
    heapq.heapify(due)
    while due:
        now, number, left = heapq.heappop(due)
        watch.at((now - _START) // _DAY_MS)
        shopper = people[number]
        hidden = published > now
        shopper.seen |= hidden  # nobody finds what is not there yet
        turn = shopper.arrive(now) if left < 0 else _turn(shopper, popular, random, now)
        shopper.seen &= ~hidden
        for event in turn.events:
            if event["type"] == "interaction" and event["action"] in POSITIVE:
                popular.counts[catalogue.row[event["item_id"]]] += 1
            yield event
        left = int(random.integers(1, TURNS)) if left < 0 else left - 1
        if left > 0 and not turn.leaves:
            heapq.heappush(due, (now + int(random.integers(15_000, 90_000)), number, left))


def _turn(shopper: Shopper, popular: Popularity, random: np.random.Generator, now: int) -> Turn:
    if random.random() >= _LIST:
        return shopper.wander(now)
    return shopper.act(popular.top(shopper.seen), f"list-{shopper.user_id}-{now}", shopper.look(), now)
