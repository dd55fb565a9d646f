"""The worker's middle: between Faust's event loop and the threads that step, save and publish, one each.

In: batches from the driver. Out: steps done in their order, offsets acknowledged as the publisher reports them. The
event loop itself only waits, so that nothing a batch does can hold up Kafka's heartbeats.

    driver (event loop) -> [step: apply_together] -> [save: Saver] -> [publish: Publisher] -> driver (acknowledge)
                             [ask: the store for users of what waits (`ahead`)]

At most `UNDER_WAY` batches are between the first arrow and the last: beyond that nothing is fetched (back-pressure).
Whenever the step thread is free it takes, at once, what waits of all partitions: a step of one event costs nearly as
much as one of ten. How many records are fetched, and stepped at once, follows from what a record costs: `BATCH_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from streams import faults
from streams.observe import metrics
from streams.observe.health import Heartbeat
from streams.settings import Settings
from streams.store.contract import Fenced, Store, StoreError
from streams.worker.driver import REBALANCE_TIMEOUT_S, Consumer
from streams.worker.outbox import Envelopes
from streams.worker.outcome import Core
from streams.worker.partition import Batch, Partition, apply_together
from streams.worker.patience import Abandoned, Patience
from streams.worker.publisher import Job, Publisher
from streams.worker.saver import Saver

log = structlog.get_logger(__name__)

UNDER_WAY = 4  # batches of each partition
BATCH_S = 0.25  # what a batch should take: rankings cost thirty times as much as events that only change users
LEAST_RECORDS, FIRST_RECORDS = 50, 500
AHEAD_S = 0.1  # while a step is younger than this, what comes next is asked for: small ones are over by then
CHECK_S = 5.0  # how often an idle partition's position is compared with the store's
DRAIN_S = 7.0  # how long a stop waits for batches under way; the supervisor allows twice that in all


class Worker:
    """All partitions of one process. `consumer` is set once the Faust app has made it."""

    def __init__(self, settings: Settings, core: Core, store: Store, make_producer: Callable[[], Any]) -> None:
        self.patience = Patience()
        self.consumer: Consumer | None = None
        self.failure: BaseException | None = None
        self.ended: asyncio.Event = asyncio.Event()
        self.beat = Heartbeat(limit_s=30)
        self._loop = asyncio.get_running_loop()
        self._settings, self._core, self._store = settings, core, store
        self._partitions: dict[int, Partition] = {}
        self._envelopes = Envelopes(settings.namespace)
        self._steps = ThreadPoolExecutor(1, thread_name_prefix="step")
        self._asks = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._publisher = Publisher(
            make_producer, store, self.patience,
            done=self._on_the_loop(self._jobs_done),
            failed=self._on_the_loop(self.fail),
        )  # fmt: skip
        self._saver = Saver(
            store, self._publisher, self.patience,
            failed=self._on_the_loop(self._not_saved),
        )  # fmt: skip
        self._abandon = threading.Event()
        self._epochs = 0
        self._on_the_way = 0  # yielded by the driver, not yet taken
        self._under_way = 0  # taken, and not yet done
        self._seconds_a_record = BATCH_S / FIRST_RECORDS
        self._waiting: deque[Batch] = deque()  # taken, and not yet stepped
        self._stepping: asyncio.Task[None] | None = None
        self._full = False  # as many records were taken as may be: more of them wait
        self._free = threading.Event()  # the step thread is
        self._free.set()
        self._began = 0.0  # the step under way, monotonic seconds
        self._change = asyncio.Event()
        self._stopping = False

    def start(self) -> None:
        self._publisher.start()
        self._saver.start()

    def stopping(self) -> None:
        """Before the Faust app is stopped: from now on waiting is short."""
        self._stopping = True

    async def close(self, timeout: float) -> None:
        """After the Faust app has stopped: ends the threads. What could not be sent stays in the outbox."""
        self._abandon.set()
        await self._loop.run_in_executor(None, self._saver.stop, timeout)
        await self._loop.run_in_executor(None, self._publisher.stop, timeout)
        self._steps.shutdown(wait=False, cancel_futures=True)
        self._asks.shutdown(wait=False, cancel_futures=True)

    def fail(self, error: BaseException) -> None:
        """Ends the process: something is wrong that neither waiting nor trying again mends."""
        if self.failure is None:
            self.failure = error
            if isinstance(error, Fenced):
                log.error("worker.fenced", partition=error.partition, reason=str(error))
            else:
                frames = traceback.extract_tb(error.__traceback__)[-4:]
                where = [f"{one.filename}:{one.lineno}" for one in frames]
                reason = str(error) if isinstance(error, StoreError) else ""
                log.error("worker.failed", error=type(error).__name__, reason=reason, at=where)
        self._abandon.set()
        self.ended.set()

    # --- what the driver asks (driver.Intake) ---------------------------------------------------------------------

    async def opened(self, ends: Mapping[int, int]) -> dict[int, tuple[int, int | None]]:
        self._epochs += 1
        self._on_the_way = 0
        epoch = self._epochs
        if self._abandon.is_set() and self.failure is None and not self._stopping:
            self._abandon = threading.Event()  # a new term
        assert self.consumer is not None
        assigned = {tp.partition for tp in self.consumer.assignment()}
        self._partitions = {number: one for number, one in self._partitions.items() if number in assigned}
        share = self._settings.user_cache // max(1, len(assigned))
        found: dict[int, tuple[int, int | None]] = {}
        for number, end in ends.items():
            partition = self._partitions.get(number) or self._new_partition(number)
            partition.cached_users = share
            try:
                offset = await self._loop.run_in_executor(self._steps, self._open, partition, epoch, end, self._abandon)
            except Abandoned:
                continue
            except Exception as error:
                self.fail(error)
                continue
            found[number] = (epoch, offset)
        return found

    async def room(self) -> bool:
        if self._has_room:
            return True
        self._change.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._change.wait()
        return self._has_room

    @property
    def _has_room(self) -> bool:
        # what comes while a step runs is taken when it ends, all at once (`free`): a step of one event costs nearly as
        # much as one of ten. Only behind a full batch is the next one taken ahead.
        if self._on_the_way or self._waiting or self._under_way >= UNDER_WAY * max(2, len(self._partitions)):
            return False
        idle = self._stepping is None or self._stepping.done()
        return self._full or idle or time.monotonic() - self._began < AHEAD_S

    @property
    def free(self) -> threading.Event | None:
        return None if self._full else self._free

    def yielded(self) -> None:
        self._on_the_way += 1

    def most(self) -> int:
        return max(LEAST_RECORDS, min(self._settings.batch_records, int(BATCH_S / self._seconds_a_record)))

    async def emptied(self) -> None:
        # leave time to tell Kafka, and the others, before the rebalance ends without us
        deadline = time.monotonic() + (DRAIN_S if self._stopping else REBALANCE_TIMEOUT_S / 2)
        while self._under_way and time.monotonic() < deadline and not self._abandon.is_set():
            self._change.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await self._change.wait()
        if self._under_way:
            log.warning("worker.abandoned", batches=self._under_way)
            self._abandon.set()
        self._on_the_way = 0

    # --- batches ----------------------------------------------------------------------------------------------------

    async def apply(self, batches: Sequence[Batch]) -> None:
        """The agent's body: puts the batches in line for the step thread, which takes all that wait at once."""
        self._on_the_way = max(0, self._on_the_way - 1)
        self._under_way += len(batches)
        self._full = sum(len(batch.records) for batch in batches) >= self.most()
        if self._stepping is None or self._stepping.done():
            self._waiting += batches
            self._stepping = asyncio.create_task(self._step_all())
        else:
            self._waiting += map(self._look_ahead, batches)

    def _look_ahead(self, batch: Batch) -> Batch:
        """The batch will wait: the store may look its users up meanwhile."""
        partition = self._partitions.get(batch.partition)
        if partition is None or partition.epoch != batch.epoch:
            return batch
        batch, ask = partition.look_ahead(batch)
        if ask is not None:
            self._asks.submit(ask)
        return batch

    async def _step_all(self) -> None:
        while self._waiting:
            batches = self._next_batches()
            current = []
            for batch in batches:
                partition = self._partitions.get(batch.partition)
                if partition is None or partition.epoch != batch.epoch or partition.abandon.is_set():
                    self._under_way -= 1  # read before a seek, or no longer ours
                else:
                    current.append((partition, batch))
            if current:
                started = time.perf_counter()
                try:
                    self._free.clear()
                    self._began = time.monotonic()
                    self._change.set()  # what comes next may be taken
                    applied = await self._loop.run_in_executor(self._steps, self._apply, current)
                except Exception as error:
                    self.fail(error)
                    return
                for (_, batch), one in zip(current, applied, strict=True):
                    self._was_applied(batch, one)
                self._pace(sum(len(batch.records) for _, batch in current), time.perf_counter() - started)
            self._change.set()
        self._full = False
        self._change.set()

    def _apply(self, batches: Sequence[tuple[Partition, Batch]]) -> Sequence[bool | Exception]:
        """On the step thread. The reader is told at once that it is free again: by way of the event loop it would be
        idle for as long as a fifth of a small step takes."""
        try:
            return apply_together(self._core, self._envelopes, self._saver, batches)
        finally:
            self._free.set()

    def _pace(self, records: int, seconds: float) -> None:
        """Learns from a batch what a record costs; from small ones it would learn what a batch costs."""
        if records >= LEAST_RECORDS:
            self._seconds_a_record += 0.3 * (seconds / records - self._seconds_a_record)

    def _next_batches(self) -> list[Batch]:
        """The batches that wait, in their order: those of a partition as one, and not more records than fit into one
        batch."""
        taken: dict[int, Batch] = {}
        records, most = 0, self.most()
        while self._waiting:
            batch = self._waiting[0]
            records += len(batch.records)
            held = taken.get(batch.partition, batch)
            if taken and (records > most or held.epoch != batch.epoch):
                break
            self._waiting.popleft()
            if held is not batch:
                batch = held.followed_by(batch)
                self._under_way -= 1
            taken[batch.partition] = batch
        return list(taken.values())

    def _was_applied(self, batch: Batch, applied: bool | Exception) -> None:
        if applied is True:
            return
        self._under_way -= 1
        if isinstance(applied, Abandoned):
            log.warning("worker.batch_abandoned", partition=batch.partition, records=len(batch.records))
            self._forget(batch.partition)
        elif isinstance(applied, Exception):
            self._broken(batch.partition, applied)

    async def look_after(self) -> None:
        """Runs beside the app: measures, and notices a store that lost its newest writes while nothing came in."""
        checked = time.monotonic()
        while not self.ended.is_set():
            await asyncio.sleep(1.0)
            self.beat.tick()
            if self.consumer is None:
                continue
            for number, lag in self.consumer.lags().items():
                metrics.LAG_RECORDS.labels(str(number)).set(lag)
            if self._under_way == 0 and time.monotonic() - checked > CHECK_S:
                checked = time.monotonic()
                for number in self.consumer.open_partitions:
                    await self._check(number)

    async def _check(self, number: int) -> None:
        partition = self._partitions.get(number)
        if partition is None or partition.abandon.is_set():
            return
        epoch = partition.epoch
        try:
            await self._loop.run_in_executor(self._steps, partition.check)
        except Abandoned:
            pass
        except Exception as error:
            # unless it went to another worker while we looked
            if self.consumer is not None and self.consumer.holds(number, epoch):
                self._broken(number, error)

    def ready(self) -> list[str]:
        """Why this worker can't serve now; empty if it can."""
        reasons = []
        if self.consumer is None or not self.consumer.flow_active or self.consumer.opening:
            reasons.append("partitions are being assigned")
        if (since := self.patience.away_since) is not None:
            reasons.append(f"Redis is away since {time.monotonic() - since:.0f} s")
        if (since := self._publisher.away_since) is not None:
            reasons.append(f"Kafka confirms nothing since {time.monotonic() - since:.0f} s")
        return reasons

    # ------------------------------------------------------------------------------------------------------------

    def _on_the_loop(self, call: Callable[..., None]) -> Callable[..., None]:
        """`call`, for threads other than the event loop's."""

        def soon(*arguments: Any) -> None:
            self._loop.call_soon_threadsafe(call, *arguments)

        return soon

    def _new_partition(self, number: int) -> Partition:
        made = Partition(
            number, self._core, self._store, self._saver, self.patience, self._envelopes,
            max_record_bytes=self._settings.max_record_bytes,
            cached_users=self._settings.user_cache,
        )  # fmt: skip
        self._partitions[number] = made
        return made

    def _open(self, partition: Partition, epoch: int, end: int, abandon: threading.Event) -> int | None:
        offset = partition.open(epoch, abandon)
        if offset is not None and offset > end:
            partition.step_back(end)
            return end
        return offset

    def _forget(self, number: int) -> None:
        """Whatever else was read of the partition is stale: it will be read again by its next owner, maybe us."""
        partition = self._partitions.get(number)
        if partition is not None:
            partition.epoch = -1
        if self.consumer is not None:
            self.consumer.reopen(number)

    def _not_saved(self, job: Job, error: BaseException | None) -> None:
        self._under_way -= 1
        self._change.set()
        if error is not None:
            self._broken(job.partition, error)

    def _broken(self, number: int, error: BaseException) -> None:
        """What was stepped of a partition could not be written. If the store lost its newest writes we go back to where
        it stands; a store only ever goes back by losing what it had. If it is ahead, another worker went on."""
        if isinstance(error, Fenced):
            metrics.FENCED.inc()
        self._forget(number)
        if isinstance(error, Abandoned):
            log.warning("worker.batch_abandoned", partition=number)
        elif isinstance(error, Fenced) and error.went_back:
            log.error("worker.store_rewound", partition=number, reason=str(error))
        else:
            self.fail(error)

    def _jobs_done(self, jobs: Sequence[Job]) -> None:
        self._under_way -= sum(job.batch for job in jobs)
        self._change.set()
        if self.consumer is not None:
            for job in jobs:
                self.consumer.acknowledge(job.partition, job.epoch, job.offset)
                faults.passed("acknowledge")
