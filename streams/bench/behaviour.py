"""Behaviour: what learning does when tastes flip, when users are malicious, and when labels are noise.

In: rehearsals of simulated shoppers (`streams.bench.rehearsal`). Out: hit rates before and after a flip, with learning
and frozen; how far a pushed item gets among what honest shoppers are shown; what the gate releases while labels are
random. The same shoppers and the same draws on all sides.

A flip and an attack are tried among circles (`streams.bench.circles`), where rankings lean on what other people did: in
the demo's shop a shopper's own evidence tells most of a taste, so that there frozen comes back as well, and a pushed
item gets nowhere with or without a screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recsys.learning.learner import Learnt
from recsys.world import World
from streams.bench.circles import Crowd
from streams.bench.rehearsal import Intruder, Lanes, Rehearsal, Window
from streams.demo.market import Market

SHOPPERS = 300
SEED = 7
ATTACKERS = 0.1
PRESSES = 2
"""Of the pushed item, by all attackers together, for each tick of 16 honest events."""
COMPANY = 200
"""Items that please most, beside which the pushed one is pressed."""
Items = Sequence[dict[str, Any]]


def flip(world: World, items: Items, events: int, per_user: int, windows: int) -> dict[str, list[Window]]:
    """Everybody's taste is another from one moment on (`Crowd.redeal`). By side: the window before, then windows of
    `per_user` events a shopper.

    `learning`  all lanes go on
    `frozen`    learnt all until then, and nothing over all users after: no statistics, no ranker, no sequence model.
                Users go on folding what they do themselves, as always
    `never`     nothing over all users was ever learnt: what own evidence alone is worth here; only the first window"""
    found: dict[str, list[Window]] = {}
    for side in ("learning", "frozen", "never"):
        crowd = Crowd(items, SHOPPERS, SEED)
        play = Rehearsal(world, crowd, Lanes(False, False, False) if side == "never" else Lanes())
        play.run(events)
        before = play.run(events // 2)
        if side == "never":
            found[side] = [before]
            continue
        crowd.redeal()
        if side == "frozen":
            play.lanes = Lanes(False, False, False)
        found[side] = [before, *(play.run(per_user * SHOPPERS) for _ in range(windows))]
    return found


def attack(world: World, items: Items, events: int) -> dict[str, Window]:
    """A tenth as many attackers as shoppers push one item that hardly anybody turns to, from the middle on: each
    clicks something popular, the item, something popular, over and over, so that it seems to go with everything. The
    share of places it has among honest shoppers: `calm` (nobody attacks), `screened`, and `open` without the screen."""
    found: dict[str, Window] = {}
    for side in ("calm", "screened", "open"):
        crowd = Crowd(items, SHOPPERS, SEED)
        ranked = crowd.by_appeal()
        pushed = ranked[2 * len(ranked) // 3]
        play = Rehearsal(world, crowd, Lanes(screen=side != "open"), watched=pushed)
        play.run(events)
        play.intruder = None if side == "calm" else _pushing(pushed, ranked[:COMPANY])
        found[side] = play.run(events)
    return found


def _pushing(pushed: str, popular: Sequence[str]) -> Intruder:
    random = np.random.default_rng(SEED)

    def intruder(tick: int, now: int) -> list[dict[str, Any]]:
        clicks: list[tuple[int, str]] = []
        for who in random.integers(int(SHOPPERS * ATTACKERS), size=PRESSES).tolist():
            before, after = random.integers(len(popular), size=2).tolist()
            clicks += [(who, popular[before]), (who, pushed), (who, popular[after])]
        return [
            {"event_id": f"a-{tick}-{at}", "type": "interaction", "user_id": f"attacker-{who}", "ts": now,
             "action": "click", "item_id": item}
            for at, (who, item) in enumerate(clicks)
        ]  # fmt: skip

    return intruder


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
