"""Freshness: how long until what a user did counts in what others are shown, with everything running.

In: a laboratory. Out: seconds from the send of an interaction to the receipt of the first recommendation whose World
has learnt from it, for the statistics lane and for the models. Which event a World has learnt from is read from the
outside, as any client can: a recommendation names its releases, and a release says how far its learner had read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from confluent_kafka import TopicPartition

from schemas.topics import TOPICS
from streams.bench.errors import BenchFailed
from streams.bench.hop import from_the_end
from streams.bench.laboratory import Laboratory
from streams.bench.shop import Shop
from streams.kafka.clients import consumer, producer
from streams.settings import Settings

RANKED = {"HEADWATER_POLICY__RANKING_ACTIONS": '["click", "purchase"]'}
"""The environment of a worker and a learner; of the synthetic log four events in ten."""
LAST_S = 15.0
Offsets = dict[int, int]


@dataclass
class Flow:
    """What went in and what came out, by the wall clock in seconds."""

    sent: list[tuple[int, int, float]] = field(default_factory=list)  # partition, offset, when
    recommended: list[tuple[float, str, str]] = field(default_factory=list)  # when, release_id, statistics_id
    releases: dict[str, list[tuple[int, Offsets]]] = field(default_factory=dict)  # role -> sequence, offsets


def flow(lab: Laboratory, shop: Shop, rate: float, seconds: float, warm_s: float) -> Flow:
    """A learner beside the shop's worker, under `rate` events a second; what happens within `warm_s` is not looked at.
    Both rank by RANKED."""
    with lab.role(shop.settings, "learner", **RANKED):
        found = _run(shop.settings, shop.log(2_000), rate, warm_s + seconds, warm_s)
    found.releases = _releases(shop.settings)
    return found


def _run(settings: Settings, log: Iterator[tuple[bytes, bytes]], rate: float, seconds: float, warm_s: float) -> Flow:
    found, stop = Flow(), threading.Event()
    reader = consumer(settings, f"{settings.namespace}.freshness", extra={"fetch.wait.max.ms": 20})
    from_the_end(reader, TOPICS["recommendations"].full_name(settings.namespace))
    start = time.time()

    def send() -> None:
        out, topic = producer(settings, linger_ms=1), TOPICS["events"].full_name(settings.namespace)
        at = 0
        while not stop.is_set() and time.time() - start < seconds:
            if time.time() < start + at / rate:
                out.poll(0.001)
                continue
            when, (key, value) = start + at / rate, next(log)
            event = orjson.loads(value) | {"ts": int(when * 1000)}

            def told(error: Any, message: Any, when: float = when) -> None:
                if error is None and when - start > warm_s:
                    found.sent.append((message.partition(), message.offset(), when))

            out.produce(topic, orjson.dumps(event), key, on_delivery=told)
            at += 1
        out.flush(20)

    thread = threading.Thread(target=send, name="send", daemon=True)
    thread.start()
    try:
        while time.time() - start < seconds + LAST_S:
            for message in reader.consume(500, 0.05):
                if message.error() is not None:
                    continue
                now, value = time.time(), orjson.loads(message.value())
                names = value["world"]
                found.recommended.append((now, names["release_id"], names["statistics_id"]))
            if not thread.is_alive() and found.recommended and time.time() - found.recommended[-1][0] > 2:
                break
    finally:
        stop.set()
        thread.join(30)
        reader.close()
    if not found.recommended:
        raise BenchFailed("no recommendation came back")
    return found


def staleness(found: Flow, role: str) -> np.ndarray:
    """float64[n]: seconds from each event to the first recommendation of a World whose release of `role` holds it; inf
    where none came before the end."""
    releases = sorted(found.releases.get(role, []))
    if not releases:
        return np.full(len(found.sent), np.inf)
    partitions = sorted({p for p, _, _ in found.sent})
    read = {p: np.array([offsets.get(p, 0) for _, offsets in releases]) for p in partitions}
    sequences = np.array([number for number, _ in releases])
    seen = [(when, _sequence(names, role)) for when, *pair in found.recommended for names in [tuple(pair)]]
    times = np.array([when for when, _ in seen])
    newest = np.maximum.accumulate(np.array([number for _, number in seen]))
    waited = np.full(len(found.sent), np.inf)
    for line, (partition, offset, when) in enumerate(found.sent):
        at = int(np.searchsorted(read[partition], offset, side="right"))  # offsets of a release grow with it
        if at < len(sequences):
            first = int(np.searchsorted(newest, sequences[at]))
            if first < len(times):
                waited[line] = max(0.0, times[first] - when)
    return waited


def _sequence(names: tuple[str, ...], role: str) -> int:
    """The sequence of a role's release that a recommendation names; 0 for none."""
    for name in "+".join(names).split("+"):
        if name.startswith(f"{role}-"):
            return int(name.rpartition("-")[2])
    return 0


def _releases(settings: Settings) -> dict[str, list[tuple[int, Offsets]]]:
    reader = consumer(settings, f"{settings.namespace}.releases-read")
    name = TOPICS["releases"].full_name(settings.namespace)
    found: dict[str, list[tuple[int, Offsets]]] = {}
    try:
        low, high = reader.get_watermark_offsets(TopicPartition(name, 0), timeout=10)
        reader.assign([TopicPartition(name, 0, low)])
        while low < high:
            for message in reader.consume(500, 0.5):
                low = (message.offset() or 0) + 1
                value = orjson.loads(message.value() or b"null")
                if value and value["status"] == "serving":
                    offsets = {int(p): at for p, at in value["trained_through"]["offsets"].items()}
                    found.setdefault(value["role"], []).append((value["sequence"], offsets))
    finally:
        reader.close()
    return found
