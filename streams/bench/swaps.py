"""Swaps: what it costs recommendations when a worker takes up other models.

In: a worker that serves, and releases that a learner has left behind. Out: the times of recommendations in rounds by
turns, with the models left alone and with others announced every few seconds, at the same rate and with nothing else
at work. Under a learner's full load a swap cannot be told from what goes with it: releases come when choices do.

What is announced is what an operator's rollback announces: the files of two releases take turns, ranker, user side and
item side.
"""

from __future__ import annotations

import threading
import time
from itertools import cycle
from typing import NamedTuple

import orjson

from schemas.releases import Release
from schemas.topics import TOPICS
from schemas.wire import encode
from streams.bench.errors import BenchFailed
from streams.bench.hop import Answer, mark_of, paced
from streams.bench.shop import Shop
from streams.kafka.clients import consumer, producer
from streams.lineage import Lineage, Log, again
from streams.records.send import Sender
from streams.settings import Settings

EVERY_S = 2.0
ROLES = ("ranker", "sequence")


class Swaps(NamedTuple):
    """Rounds of answers, and how often the models changed in those with swaps."""

    calm: list[list[Answer]]
    swapped: list[list[Answer]]
    changes: int


def swaps(shop: Shop, rate: float, seconds: float, rounds: int, users: int = 500) -> Swaps:
    """`rate`: clicks a second, each of which is ranked. Raises BenchFailed where too little was ever released."""
    settings = shop.settings
    there, back = (TOPICS[name].full_name(settings.namespace) for name in ("events", "recommendations"))
    clicks = shop.clicks(users)
    found = Swaps([], [], 0)
    with _Announcer(settings) as announcer:
        paced(settings, there, back, clicks, mark_of, rate, seconds)  # after other work: the rate's own pace
        for at in range(rounds):
            sides = [(found.calm, False), (found.swapped, True)]
            for answers, swapping in sides if at % 2 == 0 else reversed(sides):
                announcer.active = swapping
                answers.append(paced(settings, there, back, clicks, mark_of, rate, seconds))
                announcer.active = False
                time.sleep(EVERY_S)  # a swap under way ends outside of the next round
    changes = sum(len({orjson.loads(one.value)["world"]["release_id"] for one in some}) - 1 for some in found.swapped)
    if changes < rounds:
        raise BenchFailed(f"the models changed {changes} times in {rounds} rounds of {seconds:.0f} s with swaps")
    return found._replace(changes=changes)


class _Announcer:
    """Announces other models every EVERY_S while it is `active`, from a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self.active = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="swaps", daemon=True)
        self._reader = consumer(settings, f"{settings.namespace}.swaps")
        self._log = Log(self._reader, settings.namespace)
        self._sender = Sender(producer(settings, linger_ms=0), TOPICS["releases"].full_name(settings.namespace))
        lineage = self._log.read()
        self._turns = list(zip(*(_two(lineage, role) for role in ROLES), strict=True))

    def __enter__(self) -> _Announcer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        self._reader.close()

    def _run(self) -> None:
        turns = cycle(self._turns)
        while not self._stop.wait(EVERY_S):
            if self.active:
                self._announce(next(turns))

    def _announce(self, targets: tuple[Release, ...]) -> None:
        lineage, now = self._log.read(), int(time.time() * 1000)
        for target in targets:
            for record in again(lineage, target, pinned=False, take_back=False, now_ms=now):
                self._sender.send(record.role.encode(), encode(record))
        self._sender.finish()


def _two(lineage: Lineage, role: str) -> tuple[Release, Release]:
    """The newest release that serves and the oldest of another file: of sequence models with another item side, too,
    where there is one."""
    served = [one for one in lineage.of(role) if one.status == "serving"]
    others = [one for one in served if one.sha256 != served[0].sha256]
    if not others:
        raise BenchFailed(f"fewer than two releases of role {role} have served: there is nothing to swap")
    return others[-1], served[0]
