"""Faust's Kafka driver, changed so that one message of a Faust stream is what has come of all partitions.

Faust as it comes costs 66 to 126 microseconds an event, nearly all of it bookkeeping for each message. Here `getmany`
yields all that was read as one message, and the bookkeeping is replaced with the only number that counts: per
partition, the offset that the worker has reported as done (`acknowledge`). The order of a rebalance, the commit timer
and orderly stops stay Faust's; reading is `reader`'s.

Where to read from is not Kafka's committed offset but the store's position: `opened` asks for it. It is asked in
`getmany`, before anything is taken: whatever was read before is dropped, and what is read next is exactly what follows
the position. A partition is opened after each rebalance, and again whenever `reopen` asks for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import faust
import structlog
from faust.app import BootStrategy
from faust.transport.drivers import confluent as stock
from faust.types import TP, ConsumerMessage
from mode import Service

from streams.worker.partition import Batch
from streams.worker.reader import MakeConsumer, Reader

log = structlog.get_logger(__name__)

SESSION_TIMEOUT_S = 10.0
HEARTBEAT_S = 1.0
COMMIT_INTERVAL_S = 0.5
TAKE_S = 0.25  # waited for a record at most
# rebalances wait this long for a batch under way; a worker that needs longer is fenced by the store
REBALANCE_TIMEOUT_S = 30.0
CLIENT: dict[str, Any] = {
    "partition.assignment.strategy": "roundrobin",
    "isolation.level": "read_committed",
    "enable.auto.offset.store": False,
    "session.timeout.ms": int(SESSION_TIMEOUT_S * 1000),
    "heartbeat.interval.ms": int(HEARTBEAT_S * 1000),
    "max.poll.interval.ms": int(REBALANCE_TIMEOUT_S * 1000),
    # read ahead this much, and look again soon once it is used up
    "queued.min.messages": 5_000,
    "queued.max.messages.kbytes": 65_536,
    "fetch.queue.backoff.ms": 2,
    "socket.nagle.disable": True,
}
"""What the consumer of a worker differs in from others, in librdkafka's words; and `fetching`."""
TOGETHER_BYTES = 2048  # of compressed records: five or six events
WAIT_MS = 100


def fetching(together_ms: int) -> dict[str, Any]:
    """How events are fetched, in librdkafka's words: the broker answers with TOGETHER_BYTES of them, or with what has
    come after `together_ms`. At 0 it answers as soon as one has come.

    Without that a worker asks as often as events come, while one step takes ten of them: at 800 a second the broker
    took a third more of a core for it."""
    if not together_ms:
        return {"fetch.min.bytes": 1, "fetch.wait.max.ms": WAIT_MS}
    return {"fetch.min.bytes": TOGETHER_BYTES, "fetch.wait.max.ms": together_ms}


class Intake(Protocol):
    """What the driver asks of the worker. All coroutines run on Faust's event loop."""

    async def opened(self, ends: Mapping[int, int]) -> dict[int, tuple[int, int | None]]:
        """Opens these partitions (number -> end of its log): number -> (epoch, offset to read next or None)."""
        ...

    async def room(self) -> bool:
        """Waits, for a second at most, until there is room for more batches; False if there is none."""
        ...

    def most(self) -> int:
        """How many records to take at once."""
        ...

    @property
    def free(self) -> threading.Event | None:
        """What is set while nothing is stepped, where taking has to wait for that."""
        ...

    async def emptied(self) -> None:
        """Waits until no batch is under way, or gives the ones that are up."""
        ...

    def yielded(self) -> None:
        """Batches are on their way to the worker."""
        ...


class _Delegate(Service):  # type: ignore[misc]
    """What Faust's consumer takes for its thread: the reader under Faust's names. Ends after the last commit."""

    def __init__(self, consumer: Consumer, **options: Any) -> None:
        super().__init__(**options)
        transport: Transport = consumer.transport
        self._leave = transport.leave
        self.reader = Reader(transport.make_consumer, transport.topic, consumer.was_assigned, consumer.was_revoked)

    async def subscribe(self, topics: Iterable[str]) -> None:
        self.reader.start()

    async def on_stop(self) -> None:
        # a static member is missed only after its session: one that stops on purpose says so, others go on at once
        if (member_id := self.reader.member_id) is not None:
            try:
                await asyncio.wait_for(self._leave(member_id), 2)
            except Exception as error:  # it will be missed in time
                log.info("worker.left_without_a_word", error=type(error).__name__)
        await self.reader.stop()

    def close(self) -> None:
        """Faust calls this when a rebalance comes while it stops: `on_stop` sees to it."""


class Consumer(stock.Consumer):
    """Yields batches, opens partitions where the store stands, commits what the worker has done."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.intake: Intake = self.transport.intake
        self._reader = self._thread.reader
        self._to_open: set[TP] = set()
        self._epochs: dict[TP, int] = {}
        self._done: dict[TP, int] = {}
        self._assigned_once = False
        self._generation = 0

    _thread: _Delegate

    def _new_consumer_thread(self) -> _Delegate:
        return _Delegate(self, loop=self.loop, beacon=self.beacon)

    def assignment(self) -> set[TP]:
        return self._tps(self._reader.assignment)

    def highwater(self, tp: TP) -> int | None:
        return self._reader.end(tp.partition)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's detector of stuck streams counts messages, and ours are batches: the worker's heartbeat does this."""

    def _tps(self, partitions: Iterable[int]) -> set[TP]:
        return {TP(self.transport.topic, partition) for partition in partitions}

    def acknowledge(self, partition: int, epoch: int, offset: int) -> None:
        """All up to `offset` is done, which the next commit tells Kafka; of no effect if `epoch` is over."""
        tp = TP(self.transport.topic, partition)
        if self._epochs.get(tp) == epoch:
            self._done[tp] = offset + 1

    def reopen(self, partition: int) -> None:
        """Drops what was read of a partition, and reads on from where the store stands."""
        tp = TP(self.transport.topic, partition)
        self._epochs.pop(tp, None)
        self._done.pop(tp, None)
        self._to_open.add(tp)

    def lags(self) -> dict[int, int]:
        """Partition -> records between what is done and the end of its log, as last heard."""
        found = {}
        for tp, done in list(self._done.items()):
            if tp in self._epochs and (end := self.highwater(tp)) is not None:
                found[tp.partition] = max(0, end - done)
        return found

    @property
    def opening(self) -> bool:
        """Whether partitions wait to be opened, or none was ever assigned."""
        return bool(self._to_open) or not self._assigned_once

    def holds(self, partition: int, epoch: int) -> bool:
        """Whether the partition is ours since that opening."""
        return self._epochs.get(TP(self.transport.topic, partition)) == epoch

    @property
    def open_partitions(self) -> list[int]:
        return sorted(tp.partition for tp in self._epochs)

    # --- reading ------------------------------------------------------------------------------------------------

    async def _drain_messages(self, fetcher: Service) -> None:
        """Reads until it is told to stop. Faust's own counts offsets, and starts six tasks a message to race them. Here
        a message is all that was read, and handing it over never waits: `room` has asked before."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                async for _, message in self.getmany(timeout=1.0):
                    await self.callback(message)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            if not self.transport.app.should_stop:
                raise

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        if self._to_open and not await self._open():
            return
        if not await self.intake.room():
            return
        generation = self.app.consumer_generation_id
        fetched = await self._reader.take(self.intake.most(), min(timeout, TAKE_S), self.intake.free)
        if not fetched or self.should_stop:
            return
        if not self.flow_active or self.app.consumer_generation_id != generation:
            # a rebalance came in between: all partitions will be opened anew, so nothing is lost by dropping this
            return
        batches = []
        for partition, (records, received_ms) in fetched.items():
            tp = TP(self.transport.topic, partition)
            epoch = self._epochs.get(tp)
            if epoch is None or tp in self._to_open:
                self._to_open.add(tp)
                continue
            batches.append(Batch(partition, epoch, records, received_ms))
        if batches:
            self.intake.yielded()
            yield self._message(batches, generation)

    def _message(self, batches: Sequence[Batch], generation: int) -> tuple[TP, ConsumerMessage]:
        """Batches of several partitions in one message, which Faust takes for one of the first's."""
        first = batches[0]
        tp = TP(self.transport.topic, first.partition)
        return tp, ConsumerMessage(
            tp.topic, tp.partition, first.records[-1].offset, first.received_ms / 1000, 0, (), None, batches,
            None, 0, 0, tp, generation_id=generation,
        )  # fmt: skip

    async def _open(self) -> bool:
        """Seeks every partition that is due to where the store stands. False if that has to be tried again."""
        due = {tp for tp in self._to_open if tp in self.assignment()}
        self._to_open &= due
        if not due:
            return True
        try:
            ends = await self._reader.ends(tp.partition for tp in due)
            opened = await self.intake.opened(ends)
            held = {tp: opened[tp.partition] for tp in due & self._to_open if tp.partition in opened}
            await self._reader.read_from({tp.partition: offset for tp, (_, offset) in held.items()})
            for tp, (epoch, _) in held.items():
                self._read_offset[tp] = None
                self._epochs[tp] = epoch
                self._to_open.discard(tp)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.warning("worker.not_opened", error=type(error).__name__, reason=str(error))
            await self.sleep(0.5)
        return not self._to_open

    async def perform_seek(self) -> None:
        """Faust calls this when partitions were assigned: opening them is left to the next `getmany`."""
        self._epochs.clear()
        self._done.clear()
        self._to_open = set(self.assignment())

    async def was_assigned(self, partitions: set[int]) -> None:
        """The group has given us these."""
        self._generation += 1
        if not self.app.rebalancing:  # the first time; else `was_revoked` came before
            self.app.on_rebalance_start()
        self.app.consumer_generation_id = self._generation
        await self.on_partitions_assigned(self._tps(partitions), self._generation)
        self._assigned_once = True

    async def was_revoked(self, partitions: set[int]) -> None:
        """The group takes these: finishes what is under way, and commits."""
        self.app.on_rebalance_start()
        await self.on_partitions_revoked(self._tps(partitions))
        self._epochs.clear()
        self._done.clear()
        self._to_open.clear()

    # --- acknowledging ------------------------------------------------------------------------------------------

    def ack(self, message: Any) -> bool:
        """A stream is through with a batch, which says nothing: `acknowledge` counts."""
        message.acked = True
        self._unacked_messages.discard(message)
        return False

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterable[TP]:  # type: ignore[override]
        return list(self._done)

    def _new_offset(self, tp: TP) -> int | None:
        return self._done.get(tp)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps in a log (compaction, transactions) need no care where offsets aren't counted one by one."""

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Never a reason to stop: the reader tells again what Kafka did not take."""
        assigned = self._reader.assignment
        told = {tp.partition: offset for tp, offset in offsets.items() if tp.partition in assigned}
        if not told:
            return False
        await self._reader.commit(told)
        self._committed_offset.update(offsets)
        return True

    async def wait_empty(self) -> None:
        """Before partitions are given up, and at the end: finish what is under way, then tell Kafka."""
        await self.intake.emptied()
        await self.commit()


class Transport(stock.Transport):
    """`make_consumer` makes the group's member, `leave` takes one out of it; `topic`: the full name of the events
    topic."""

    Consumer: ClassVar[type[Consumer]] = Consumer

    def __init__(
        self, url: Any, app: Any, *, make_consumer: MakeConsumer,
        leave: Callable[[str], Awaitable[None]], topic: str, intake: Intake,
    ) -> None:  # fmt: skip
        super().__init__(url, app)
        self.make_consumer, self.leave, self.topic, self.intake = make_consumer, leave, topic, intake


class WholeBatch(faust.Schema):
    """Nothing to deserialize: the value is a list of batches."""

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        return message.value

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        return None


class _Boot(BootStrategy):
    enable_kafka_producer = False  # what goes out goes through the outbox and its own producer
    enable_web = False


class _App(faust.App):
    BootStrategy = _Boot


def make_app(
    group: str,
    topic: str,
    intake: Intake,
    *,
    make_consumer: MakeConsumer,
    leave: Callable[[str], Awaitable[None]],
    apply: Callable[[Sequence[Batch]], Awaitable[None]],
) -> faust.App:
    """A Faust app whose one agent hands what was read to `apply`. `make_consumer` and `leave` as in Transport."""
    app = _App(
        group,
        broker="confluent://",  # `make_consumer` knows where
        value_serializer="raw",
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_wait_empty=True,
        stream_buffer_maxsize=4096,  # never reached: `room` bounds what is under way
        broker_commit_interval=COMMIT_INTERVAL_S,
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        autodiscover=False,
        datadir="/nonexistent",  # nothing is written there without tables
    )
    transport = Transport(
        app.conf.broker_consumer, app, make_consumer=make_consumer, leave=leave, topic=topic, intake=intake
    )
    app.transport = app.consumer_transport = transport
    source = app.topic(topic, schema=WholeBatch(value_serializer="raw", key_serializer="raw"))

    @app.agent(source, name=f"{group}.batches")
    async def batches(stream: Any) -> None:
        async for fetched in stream:
            await apply(fetched)

    return app
