"""`learn`: how fast what users do counts, what learning costs, and what it does when the world turns.

Four parts: the lanes' training rate beside a bare torch loop (`training`); freshness and swaps with a worker and a
learner running (`freshness`, `swaps`); and rehearsals with simulated shoppers, without Kafka (`behaviour`).
"""

from __future__ import annotations

import numpy as np

from schemas.items import Item
from streams.bench.behaviour import attack, flip, noise
from streams.bench.errors import BenchFailed
from streams.bench.freshness import RANKED, flow, staleness
from streams.bench.hop import percentile
from streams.bench.laboratory import Laboratory
from streams.bench.rehearsal import shop_world
from streams.bench.result import Aim, Comparison, Figure, Result
from streams.bench.rounds import by_turns
from streams.bench.shop import Shop, open_shop
from streams.bench.swaps import swaps
from streams.bench.training import bare_ranker_rate, choices, ranker_rate, sequence_rates
from streams.demo.catalogue import load
from streams.replay.stock import vectors_of

FRESH_AIM_S, SWAP_AIM_MS, RATE_AIM, BACK_AIM, PUSHED_AIM = 10.0, 20.0, 0.5, 0.9, 1.0
BACK_EVENTS = 20  # of a shopper, after which the hit rate should be back
RATE = 500.0
SWAP_RATE = 200.0


def learn(lab: Laboratory) -> Result:
    """See the module's docstring."""
    result = Result("learn", "learning while it serves: rate, freshness, swaps, flips of taste, attacks")
    _training(lab, result)
    _freshness(lab, result)
    _behaviour(lab, result)
    return result


def _training(lab: Laboratory, result: Result) -> None:
    some = choices(640 if lab.quick else 3_200)
    rounds = 2 if lab.quick else 5
    ours, bare = by_turns(
        lambda: ranker_rate(some), lambda: bare_ranker_rate(some), rounds, lambda line: lab.say(f"ranker: {line}")
    )
    aim = Aim("at least", RATE_AIM)
    result.comparisons.append(Comparison("ranker lane", "choices/s", ours, bare, "bare torch loop", aim))
    pairs = [sequence_rates(500, 64) if lab.quick else sequence_rates(5_000, 512, at) for at in range(rounds)]
    result.comparisons.append(
        Comparison(
            "sequence lane", "predictions/s", [a for a, _ in pairs], [b for _, b in pairs], "bare torch loop", aim
        )
    )


def _freshness(lab: Laboratory, result: Result) -> None:
    items, rate, seconds, warm = (300, 200.0, 16.0, 4.0) if lab.quick else (5_000, RATE, 60.0, 30.0)
    shop = open_shop(lab, items)
    with lab.worker(shop.settings, "worker-0", **RANKED):
        found = flow(lab, shop, rate, seconds, warm)
        for role, name in (("statistics", "statistics lane"), ("ranker", "ranker lane"), ("sequence", "user side")):
            waited = staleness(found, role)
            known = waited[np.isfinite(waited)]
            if not len(known):
                result.notes.append(f"{name}: no recommendation was made by a release that learnt from the events sent")
                continue
            for p in (50, 95):
                aim = Aim("at most", FRESH_AIM_S) if role != "sequence" and p == 95 else None
                measure = f"event to a World that learnt from it, {name}: p{p}"
                result.figures.append(Figure(measure, "s", [float(np.percentile(known, p))], aim))
        _swaps(lab, shop, result)
    result.setting["freshness"] = {
        "items": items, "events_per_s": rate, "seconds": seconds, "events": len(found.sent),
        "recommendations": len(found.recommended),
        "releases": {role: len(some) for role, some in found.releases.items()},
    }  # fmt: skip


def _swaps(lab: Laboratory, shop: Shop, result: Result) -> None:
    """Two figures of one run: whether a swap can be told in what recommendations wait."""
    rate, seconds, rounds = (30.0, 6.0, 1) if lab.quick else (SWAP_RATE, 20.0, 4)
    lab.say(f"learn: {rate:.0f} clicks a second, with and without swaps of models")
    try:
        found = swaps(shop, rate, seconds, rounds)
    except BenchFailed as error:  # a learner that got no core has released too little
        result.notes.append(f"swaps: {error}")
        return
    swapped, calm = ([percentile(one, 99) for one in side] for side in (found.swapped, found.calm))
    against = "the same without swaps"
    result.comparisons.append(Comparison("p99 while models are swapped", "ms", swapped, calm, against))
    beyond = [a - b for a, b in zip(swapped, calm, strict=True)]
    result.figures.append(Figure("what swaps cost beyond the p99 without", "ms", beyond, Aim("at most", SWAP_AIM_MS)))
    result.setting["swaps"] = {"clicks_per_s": rate, "seconds": seconds, "changes": found.changes}


def _behaviour(lab: Laboratory, result: Result) -> None:
    items = load()
    stock = [Item.model_validate(item) for item in items]
    vectors = vectors_of(lab.base.model_copy(update={"data_dir": lab.folder}), lab.models, stock, lambda *_: None)
    world = shop_world(items, vectors, lab.models.encode_query)
    events, windows = (600, 1) if lab.quick else (6_000, 3)
    lab.say("learn: everybody's taste flips")
    each = 2 if lab.quick else 10
    sides = flip(world, items, events, each, windows)
    for side, (before, *after) in sides.items():
        result.figures.append(Figure(f"hit rate before the flip, {side}", "", [before.rate]))
        for at, window in enumerate(after):
            aim = Aim("at least" if side == "learning" else "at most", BACK_AIM) if at * each == BACK_EVENTS else None
            share = window.rate / max(before.rate, 1e-9)
            measure = f"share of it, events {at * each + 1} to {(at + 1) * each} a shopper after it, {side}"
            result.figures.append(Figure(measure, "", [share], aim))
    lab.say("learn: a tenth of the users push an item")
    shares = attack(world, items, events)
    for side in ("screened", "open"):
        rise = 100 * (shares[side].share - shares["calm"].share)
        aim = Aim("at most", PUSHED_AIM) if side == "screened" else None
        result.figures.append(Figure(f"rise of the pushed item's share of places, {side}", "points", [rise], aim))
    lab.say("learn: labels are random for a while")
    play, released, _ = noise(world, items, events)
    result.figures.append(
        Figure("releases promoted while labels were random", "", [float(play.released - released)], Aim("at most", 0))
    )
