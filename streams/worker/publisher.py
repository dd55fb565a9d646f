"""The last edge: messages of saved batches go to Kafka, each delivery is checked, then the outbox lets go of them.

Flow: the saver has written a batch and hands over its Job -> this thread produces its messages, waits until Kafka
has confirmed every one, takes them out of the outbox, and reports the job done, so that its offsets are acknowledged.
Jobs are done strictly in the order in which they came. While this thread waits for Kafka, the next batch is stepped.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException

from streams import faults
from streams.observe import metrics
from streams.store.contract import Store
from streams.worker.outbox import unpack
from streams.worker.patience import Abandoned, Patience

log = structlog.get_logger(__name__)

# what no second attempt mends: the broker will refuse the same bytes for ever
_HOPELESS = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.RECORD_LIST_TOO_LARGE})
_TOGETHER = 32  # most jobs of one round


@dataclass(slots=True)
class Job:
    """What is left to do for a saved batch. `upto`: sequence number of its last message; `offset`: what to acknowledge
    then; `recommendations`: how many of each kind are among the messages; `batch`: whether it ends a batch under way
    (an outbox that was found when a partition was opened does not)."""

    partition: int
    epoch: int
    payloads: Sequence[bytes]
    upto: int
    offset: int
    recommendations: dict[str, int] = field(default_factory=dict)
    batch: bool = True


class Publisher:
    """One thread, one idempotent producer. `make_producer` makes the latter, and again after a fatal error; it need not
    report what has arrived."""

    def __init__(
        self,
        make_producer: Callable[[], Any],
        store: Store,
        patience: Patience,
        *,
        done: Callable[[Sequence[Job]], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._make_producer, self._store, self._patience = make_producer, store, patience
        self._done, self._failed = done, failed
        self.away_since: float | None = None  # monotonic seconds, while Kafka confirms nothing
        self._producer: Any = None
        self._queue: queue.SimpleQueue[Sequence[Job] | threading.Event | None] = queue.SimpleQueue()
        self._abandon = threading.Event()
        self._undelivered: list[int] = []
        self._thread = threading.Thread(target=self._run, name="publish", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Takes jobs; never blocks. The caller bounds how many are under way."""
        metrics.OUTBOX_PENDING.inc(sum(len(job.payloads) for job in jobs))
        self._queue.put(jobs)

    def pass_on(self, event: threading.Event) -> None:
        """Sets `event` once all jobs submitted so far are done."""
        self._queue.put(event)

    def stop(self, timeout: float) -> None:
        """Ends the thread after the jobs it has, or after `timeout` seconds: what is left stays in the outbox."""
        self._queue.put(None)
        self._thread.join(timeout)
        self._abandon.set()
        self._thread.join(5)

    def _run(self) -> None:
        try:
            self._producer = self._make_producer()
            while True:
                first = self._queue.get()
                jobs: list[Job] = []
                waiting: list[threading.Event] = []
                while True:
                    if isinstance(first, threading.Event):
                        waiting.append(first)
                    elif first is not None:
                        jobs += first
                    if first is None or len(jobs) >= _TOGETHER:
                        break
                    try:
                        first = self._queue.get_nowait()
                    except queue.Empty:
                        break
                if jobs:
                    self._publish(jobs)
                for event in waiting:
                    event.set()
                if first is None:
                    return
        except Abandoned:
            log.warning(
                "worker.publish_abandoned", reason="stopped with messages in the outbox; the next start sends them"
            )
        except BaseException as error:
            self._failed(error)

    def _publish(self, jobs: list[Job]) -> None:
        started = time.perf_counter()
        payloads = [payload for job in jobs for payload in job.payloads]
        if payloads:
            self._deliver(payloads)
            faults.passed("publish")
            # the newest entry of a partition confirms all before it
            upto = {job.partition: job.upto for job in jobs if job.payloads}
            self._patience.ask("confirm", self._abandon, partial(self._store.confirm_all, upto))
            faults.passed("confirm")
            metrics.OUTBOX_PENDING.dec(len(payloads))
            metrics.STAGE_SECONDS.labels("publish").observe(time.perf_counter() - started)
        for job in jobs:
            for kind, count in job.recommendations.items():
                metrics.RECOMMENDATIONS.labels(kind).inc(count)
        self._done(jobs)

    def _deliver(self, payloads: list[bytes]) -> None:
        """Returns once Kafka has every message (or will never take it, which is logged). Raises Abandoned."""
        todo = list(range(len(payloads)))
        attempt = 0
        while todo:
            self._undelivered = []
            for at in todo:
                self._produce(at, payloads[at])
            faults.passed("produce")
            started = warned = time.monotonic()
            while left := self._producer.flush(0.1):
                if self._abandon.is_set():
                    raise Abandoned("publish")
                now = time.monotonic()
                if now - started > 5:
                    self.away_since = started
                if now - warned > 10:
                    warned = now
                    log.warning("worker.kafka_away", undelivered=left)
            self.away_since = None
            todo = sorted(self._undelivered)
            if todo:
                attempt += 1
                # as the same idempotent producer gave up, a new one sends what is left, in the same order
                self._producer.purge()
                self._producer = self._make_producer()
                if self._abandon.wait(min(0.1 * 2**attempt, 5.0)):
                    raise Abandoned("publish")

    def _produce(self, at: int, payload: bytes) -> None:
        topic, key, value, headers = unpack(payload)
        report = partial(self._reported, at, topic)
        while True:
            try:
                self._producer.produce(topic, value, key, headers=headers, on_delivery=report)
                return
            except BufferError:  # the client's own queue is full: let it send
                self._producer.poll(0.05)
                if self._abandon.is_set():
                    raise Abandoned("publish") from None
            except KafkaException as error:
                self._reported(at, topic, error.args[0], None)
                return

    def _reported(self, at: int, topic: str, error: KafkaError | None, _: Any) -> None:
        if error is None:
            return
        if error.code() in _HOPELESS:
            log.error(
                "worker.undeliverable", topic=topic, code=error.name(), advice="raise max.message.bytes of the topic"
            )
            metrics.DEAD_LETTERS.labels("undeliverable").inc()
            return
        if not self._undelivered:
            log.warning("worker.not_delivered", topic=topic, code=error.name())
        self._undelivered.append(at)
