"""Behaviour: what learning does when tastes flip, when users are malicious, and when labels are noise.

In: rehearsals of the demo's shoppers (`streams.bench.rehearsal`). Out: hit rates before and after a flip, with learning
and frozen; how far a pushed item gets among what honest shoppers are shown; what the gate releases while labels are
random. The same shoppers and the same draws on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recsys.learning.learner import Learnt
from recsys.world import World
from streams.bench.rehearsal import Lanes, Rehearsal, Window
from streams.demo.market import Market

SHOPPERS = 300
SEED = 7
ATTACKERS = 0.1
Items = Sequence[dict[str, Any]]


def flip(world: World, items: Items, events: int, per_user: int, windows: int) -> dict[str, list[Window]]:
    """Everybody's taste is another from one moment on. By side, `learning` and `frozen` (which learnt until then and
    nothing shared after): the window before, then windows of `per_user` events a shopper."""
    found: dict[str, list[Window]] = {}
    for side in ("learning", "frozen"):
        play = Rehearsal(world, Market(items, SHOPPERS, SEED))
        play.run(events)
        before = play.run(events // 2)
        for shopper in play.market.shoppers:
            shopper.shift()
        if side == "frozen":
            play.lanes = Lanes(False, False, False)
        found[side] = [before, *(play.run(per_user * SHOPPERS) for _ in range(windows))]
    return found


def attack(world: World, items: Items, events: int) -> dict[str, Window]:
    """A tenth as many attackers as shoppers click one unpopular item as often as they like, from the middle on. The
    share of places it has among honest shoppers: `calm` (nobody attacks), `screened`, and `open` without the screen."""
    pushed = items[len(items) // 3]["item_id"]
    random = np.random.default_rng(SEED)

    def intruder(tick: int, now: int) -> list[dict[str, Any]]:
        who = random.integers(int(SHOPPERS * ATTACKERS), size=6)
        return [
            {"event_id": f"a-{tick}-{at}", "type": "interaction", "user_id": f"attacker-{one}", "ts": now,
             "action": "click", "item_id": pushed}
            for at, one in enumerate(who.tolist())
        ]  # fmt: skip

    found: dict[str, Window] = {}
    for side in ("calm", "screened", "open"):
        lanes = Lanes(screen=side != "open")
        play = Rehearsal(world, Market(items, SHOPPERS, SEED), lanes, watched=pushed)
        play.run(events)
        play.intruder = None if side == "calm" else intruder
        found[side] = play.run(events)
    return found


def noise(world: World, items: Items, events: int) -> tuple[Rehearsal, int, Learnt]:
    """Shoppers whose clicks name random items for a while. (The rehearsal, releases before, what served before.)"""
    play = Rehearsal(world, Market(items, SHOPPERS, SEED), Lanes(screen=False))
    play.run(events)
    random = np.random.default_rng(SEED)
    ids = [item["item_id"] for item in items]

    def spoil(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {**record, "item_id": ids[int(random.integers(len(ids)))], "rec_id": None}
            if record["type"] == "interaction"
            else record
            for record in records
        ]

    before, served = play.released, replace(play.served)
    play.spoil = spoil
    play.run(events)
    return play, before, served
