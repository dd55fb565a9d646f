"""The market's traffic over real Kafka: events out, recommendations back, as fast as both stay comfortable.

In: a `Market` and the addresses. Out: counts, rates and times. One thread, no sleep longer than a few
milliseconds: produce what the shoppers do, poll what comes back, adapt the pace.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import orjson
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from schemas.topics import TOPICS
from streams.connection import Connection
from streams.demo.learning import Loop
from streams.demo.market import Market
from streams.kafka.clients import consumer, producer
from streams.settings import Settings

FIRST_RATE, LEAST_RATE, MOST_RATE = 30.0, 20.0, 250.0  # events a second
COMFORTABLE_MS, SLOW_MS = 100.0, 250.0  # p95 under which the pace grows, over which it falls
ADAPT_EVERY_S = 0.5
WINDOW_S = 3.0  # what "now" means in rates and percentiles


@dataclass
class Times:
    """From handing an event to the producer to holding its recommendation, in milliseconds."""

    all: list[float] = field(default_factory=list)
    recent: deque[tuple[float, float]] = field(default_factory=deque)  # (monotonic s, ms)

    def add(self, now: float, milliseconds: float) -> None:
        self.all.append(milliseconds)
        self.recent.append((now, milliseconds))

    def now(self, now: float) -> tuple[float, float]:
        """(p95, p99) of the last seconds; NaN where nothing came back."""
        while self.recent and self.recent[0][0] < now - WINDOW_S:
            self.recent.popleft()
        return _percentiles([milliseconds for _, milliseconds in self.recent], 95, 99)

    def whole(self) -> tuple[float, float]:
        """(p50, p99) of the whole run; NaN where nothing came back."""
        return _percentiles(self.all, 50, 99)


def _percentiles(values: list[float], low: float, high: float) -> tuple[float, float]:
    if not values:
        return float("nan"), float("nan")
    below, above = np.percentile(values, [low, high])
    return float(below), float(above)


class Traffic:
    """Runs a market against Kafka. `events` and `recommendations` count what was delivered and received."""

    def __init__(self, market: Market, settings: Settings, place: Connection) -> None:
        self.market = market
        self.times = Times()
        self.loop = Loop()
        self.events = 0
        self.recommendations = 0
        self.undelivered = 0
        self.rate = FIRST_RATE
        self.last_answer = time.monotonic()
        self._topic = TOPICS["events"].full_name(place.namespace)
        self._producer = producer(settings, bootstrap=place.bootstrap, linger_ms=1)
        self._consumer = consumer(settings, f"{place.namespace}.demo", bootstrap=place.bootstrap)
        self._sent: dict[str, float] = {}
        self._counts = deque([(time.monotonic(), 0, 0)])
        self._budget = 0.0
        self._ticked = time.monotonic()
        self._adapted = time.monotonic()
        answers = TOPICS["recommendations"]
        self._releases = TOPICS["releases"].full_name(place.namespace)
        # the namespace is new, so from the beginning means everything; no group, so no rebalance to wait for
        self._consumer.assign(
            [
                TopicPartition(answers.full_name(place.namespace), partition, OFFSET_BEGINNING)
                for partition in range(answers.partitions(settings.kafka_partitions))
            ]
            + [TopicPartition(self._releases, 0, OFFSET_BEGINNING)]
        )

    def tick(self) -> None:
        """One round: take what came back, let shoppers act as far as the pace allows."""
        self._receive(0.004)
        now = time.monotonic()
        # what was not spent in a pause is not caught up in a burst
        self._budget = min(self._budget + self.rate * (now - self._ticked), max(4.0, self.rate / 10))
        self._ticked = now
        while self._budget > 0:
            events = self.market.act(int(time.time() * 1000))
            if not events:
                break
            self._budget -= len(events)
            for event in events:
                self._send(event)
        self._producer.poll(0)
        self._adapt(now)

    def drain(self, seconds: float) -> None:
        """Sends nothing more and waits for what is still on its way."""
        self._producer.flush(seconds)
        until = time.monotonic() + seconds
        while self._sent and time.monotonic() < until:
            self._receive(0.05)

    def close(self) -> None:
        self._consumer.close()

    @property
    def unanswered(self) -> int:
        """Events that shall be answered and have not been."""
        return len(self._sent)

    def rates(self) -> tuple[float, float]:
        """(events/s, recommendations/s) of the last seconds."""
        now = time.monotonic()
        self._counts.append((now, self.events, self.recommendations))
        while self._counts[0][0] < now - WINDOW_S and len(self._counts) > 2:
            self._counts.popleft()
        since, events, recommendations = self._counts[0]
        passed = max(now - since, 1e-3)
        return (self.events - events) / passed, (self.recommendations - recommendations) / passed

    def _send(self, event: dict[str, object]) -> None:
        event_id = str(event["event_id"])
        if event["type"] != "impression":
            self._sent[event_id] = time.monotonic()
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    key=str(event["user_id"]).encode(),
                    value=orjson.dumps(event),
                    on_delivery=self._delivered,
                )
                return
            except BufferError:
                self._producer.poll(0.1)

    def _delivered(self, error: object, _message: object) -> None:
        if error is None:
            self.events += 1
        else:
            self.undelivered += 1

    def _receive(self, wait_s: float) -> None:
        first = self._consumer.poll(wait_s)  # back with the first; consume would wait for a full batch
        for message in [first, *self._consumer.consume(200, 0)] if first is not None else []:
            if message.error() is not None:
                continue  # librdkafka goes on by itself; silence is noticed by whoever watches last_answer
            if message.topic() == self._releases:
                self.loop.take(message.value())
                continue
            now = time.monotonic()
            recommendation = orjson.loads(message.value())
            self.recommendations += 1
            self.loop.see(recommendation)
            self.last_answer = now
            sent = self._sent.pop(recommendation["trigger"]["event_id"], None)
            if sent is not None:
                self.times.add(now, (now - sent) * 1000)
            self.market.deliver(recommendation)

    def _adapt(self, now: float) -> None:
        """More while answers are quick and none pile up, less when they are slow."""
        if now - self._adapted < ADAPT_EVERY_S:
            return
        self._adapted = now
        p95, _ = self.times.now(now)
        piled = self.unanswered > 10 + self.rate
        if piled or p95 > SLOW_MS or np.isnan(p95):
            self.rate = max(self.rate * 0.8, LEAST_RATE)
        elif p95 < COMFORTABLE_MS:
            self.rate = min(self.rate * 1.12, MOST_RATE)
