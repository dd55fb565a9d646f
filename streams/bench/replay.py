"""`replay`: the same events replayed from a file and through the real worker.

Ours reads the file, decodes, steps, writes recommendations down and digests them, in a process of its own that keeps
its users from round to round as the worker does. The worker has Kafka, Redis and all its guarantees to see to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from streams.bench.apart import Call, apart
from streams.bench.laboratory import Laboratory
from streams.bench.result import Aim, Comparison, Result
from streams.bench.rounds import by_turns
from streams.bench.shop import Shop, open_shop
from streams.bench.state import NO_RANKINGS
from streams.bench.wave import Record, Waves
from streams.settings import Settings

_WARM = 0.3  # of a round


@dataclass(frozen=True)
class Side:
    """`size`: events of a round; `told`: settings of the worker."""

    name: str
    size: int
    users: int
    seed: int
    told: dict[str, str] = field(default_factory=dict)


def replay(lab: Laboratory) -> Result:
    """Rates of rankings and of events that only change users, replayed and live."""
    items, rounds = (1_000, 2) if lab.quick else (100_000, 3)
    rankings, states = (Side("rankings", 500, 100, 0), Side("state events", 20_000, 1_000, 1, NO_RANKINGS))
    if not lab.quick:
        rankings, states = replace(rankings, size=8_000, users=1_000), replace(states, size=150_000, users=10_000)
    shop = open_shop(lab, items)
    vectors = lab.folder / f"{shop.settings.namespace}-vectors.npy"
    np.save(vectors, shop.vectors)
    given = (shop.settings, items, vectors, shop.statistics.statistics_id)
    found = []
    with apart(prepare, *given) as call:
        for side in (rankings, states):
            mine, live = _measured(lab, shop, call, side, rounds)
            found.append(Comparison(side.name, "events/s", mine, live, "the worker", Aim("at least", 1.0)))
    return Result(
        "replay",
        f"replay of a log against the worker at its highest rate, {items:,} items",
        found,
        setting={"items": items} | {f"{side.name}_a_round": side.size for side in (rankings, states)},
    )


def _measured(lab: Laboratory, shop: Shop, call: Call, side: Side, rounds: int) -> tuple[list[float], list[float]]:
    log, ranked = shop.log(side.users, side.seed), not side.told
    with lab.redis(shop.settings) as redis, lab.worker(shop.settings, **side.told) as worker:
        waves = Waves(shop.settings, redis, worker.check)
        first = list(islice(log, int(side.size * _WARM)))
        call(played, _written(lab.folder / "log.jsonl", first), ranked)
        waves.run(first)
        wave: list[Record] = []

        def ours() -> float:
            return float(call(played, _written(lab.folder / "log.jsonl", wave or _next()), ranked))

        def live() -> float:
            return len(wave or _next()) / waves.run(wave)[1]

        def _next() -> list[Record]:
            wave[:] = islice(log, side.size)
            return wave

        def fresh(line: str) -> None:
            wave.clear()
            lab.say(f"replay, {side.name}: {line}")

        return by_turns(ours, live, rounds, fresh)


def _written(path: Path, records: Iterable[Record]) -> Path:
    path.write_bytes(b"".join(value + b"\n" for _, value in records))
    return path


_held: list[Any] = []  # of the process that replays: World, settings, shelf


def prepare(settings: Settings, items: int, vectors: Path, release: str) -> None:
    """Builds the World of the shop."""
    import gc

    from schemas.items import Item
    from streams.demo.log import synthetic_items
    from streams.models import load_models
    from streams.replay.pinned import pinned_statistics
    from streams.replay.shelf import Shelf
    from streams.worker.bootstrap import empty_world

    stock = [Item.model_validate(item) for item in synthetic_items(items)]
    pairs = list(zip((item.item_id for item in stock), np.load(vectors), strict=True))
    world = empty_world(load_models(settings, ahead=False))
    _held[:] = [world.advanced(stock, pairs, pinned_statistics(settings, release)).settled(), settings, Shelf()]
    gc.set_threshold(50_000, 50, 100)
    gc.collect()
    gc.freeze()


def played(path: Path, ranked: bool) -> float:
    """Events a second of one replay: from the file's first byte to the digest."""
    import time

    from streams.replay.files import play_all
    from streams.replay.player import Player
    from streams.replay.recording import Recording
    from streams.replay.rows import Faults, events_of
    from streams.replay.span import Span

    world, settings, shelf = _held
    policy = settings.policy if ranked else settings.policy.model_copy(update={"ranking_actions": frozenset()})
    with Recording() as recording:
        player = Player(policy, shelf, recording)
        started = time.perf_counter()
        faults = Faults(player.tally, print, strict=True)
        most, partitions = settings.max_record_bytes, settings.kafka_partitions
        play_all(world, events_of([str(path)], partitions, most, faults, None, lambda _: None), player, Span())
        recording.digest()
        return player.tally.events / (time.perf_counter() - started)
