"""Faust's Kafka driver, changed so that one message of a Faust stream is one batch of a partition.

Faust as it comes costs 66 to 126 microseconds an event, nearly all of it bookkeeping for each message. Here `getmany`
yields a batch as one message, and the bookkeeping is replaced with the only number that counts: per partition, the
offset that the worker has reported as done (`acknowledge`). Group membership, rebalances, the commit timer and orderly
stops stay Faust's.

Where to read from is not Kafka's committed offset but the store's position: `opened` asks for it. It is asked in
`getmany`, before a fetch, since there no older fetch can be under way: whatever was read before is dropped, and what is
read next is exactly what follows the position. A partition is opened after each rebalance, and again whenever
`reopen` asks for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, ClassVar, Protocol

import aiokafka
import faust
import structlog
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.app import BootStrategy
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, ConsumerMessage

from streams.worker.partition import Batch

log = structlog.get_logger(__name__)

SESSION_TIMEOUT_S = 10.0
HEARTBEAT_S = 1.0
COMMIT_INTERVAL_S = 0.5
COMMIT_TIMEOUT_S = 3.0
# rebalances wait this long for a batch under way; a worker that needs longer is fenced by the store
REBALANCE_TIMEOUT_S = 30.0
_FOREVER_MS = 7 * 24 * 3600 * 1000


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

    async def emptied(self) -> None:
        """Waits until no batch is under way, or gives the ones that are up."""
        ...

    def yielded(self) -> None:
        """A batch is on its way to the worker."""
        ...


class ConsumerThread(stock.AIOKafkaConsumerThread):
    """The thread in which aiokafka runs: heartbeats go on whatever the worker does."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = RoundRobinPartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_poll_records=conf.broker_max_poll_records,
            # a worker that waits for Redis doesn't fetch, and must stay a member
            max_poll_interval_ms=_FOREVER_MS,
            fetch_min_bytes=1,
            # a fetch under way leaves out partitions whose records still lie here: theirs wait for it to end
            fetch_max_wait_ms=20,
            session_timeout_ms=int(SESSION_TIMEOUT_S * 1000),
            heartbeat_interval_ms=int(HEARTBEAT_S * 1000),
            rebalance_timeout_ms=int(REBALANCE_TIMEOUT_S * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            metadata_max_age_ms=10_000,
            **transport.connection,
        )

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """False if Kafka did not take it; the next round tries again. Never a reason to stop."""
        told = {
            TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in self.assignment()
        }
        if not told:
            return False
        try:
            await asyncio.wait_for(self._ensure_consumer().commit(told), COMMIT_TIMEOUT_S)
        except Exception as error:
            log.warning("worker.not_committed", error=type(error).__name__, reason=str(error))
            return False
        return True

    async def ends(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Partition -> offset behind its last record."""
        wanted = [TopicPartition(*tp) for tp in tps]
        found = await self.call_thread(self._ensure_consumer().end_offsets, wanted)
        return {TP(*tp): end for tp, end in found.items()}

    def take_at_most(self, records: int) -> None:
        """How many records the next fetch hands over at most."""
        self._ensure_consumer()._max_poll_records = records

    async def move(self, offsets: Mapping[TP, int | None]) -> None:
        """Reads on from these offsets (None: from the oldest record). In the thread of the fetcher, so that no fetch
        under way can bring back older ones."""
        await self.call_thread(self._move, offsets)

    async def _move(self, offsets: Mapping[TP, int | None]) -> None:
        consumer = self._ensure_consumer()
        for tp, offset in offsets.items():
            if offset is None:
                await consumer.seek_to_beginning(TopicPartition(*tp))
            else:
                consumer.seek(TopicPartition(*tp), offset)

    async def on_thread_stop(self) -> None:
        if self._consumer is not None:
            await self._leave(self._consumer)
        await super().on_thread_stop()

    async def _leave(self, consumer: aiokafka.AIOKafkaConsumer) -> None:
        """A static member is missed only after its session: one that stops on purpose says so, others go on at once."""
        coordinator = consumer._coordinator
        if coordinator is None or coordinator.generation < 0:
            return
        try:
            request = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
            await asyncio.wait_for(coordinator._send_req(request), 2)
        except Exception as error:  # it will be missed in time
            log.info("worker.left_without_a_word", error=type(error).__name__)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's detector of stuck streams counts messages, and ours are batches: the worker's heartbeat does this."""


class Consumer(stock.Consumer):
    """Yields batches, opens partitions where the store stands, commits what the worker has done."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.intake: Intake = self.transport.intake
        self._to_open: set[TP] = set()
        self._epochs: dict[TP, int] = {}
        self._done: dict[TP, int] = {}
        self._assigned_once = False

    _thread: ConsumerThread

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

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

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        if self._to_open and not await self._open():
            return
        if not await self.intake.room():
            return
        generation = self.app.consumer_generation_id
        self._thread.take_at_most(self.intake.most())
        records, active = await self._wait_next_records(timeout)
        received_ms = time.time_ns() // 1_000_000
        if not records or self.should_stop:
            return
        for tp, batch in records.items():
            epoch = self._epochs.get(tp)
            if not self.flow_active or self.app.consumer_generation_id != generation:
                # a rebalance came in between: all partitions will be opened anew, so nothing is lost by dropping this
                return
            if epoch is None or tp in self._to_open or (active is not None and tp not in active):
                self._to_open.add(tp)
                continue
            self.intake.yielded()
            yield tp, self._message(tp, Batch(tp.partition, epoch, batch, received_ms), generation)

    def _message(self, tp: TP, batch: Batch, generation: int) -> ConsumerMessage:
        last = batch.records[-1]
        return ConsumerMessage(
            tp.topic, tp.partition, last.offset, batch.received_ms / 1000, last.timestamp_type, (), None, batch,
            None, 0, 0, tp, generation_id=generation,
        )  # fmt: skip

    async def _open(self) -> bool:
        """Seeks every partition that is due to where the store stands. False if that has to be tried again."""
        due = {tp for tp in self._to_open if tp in self.assignment()}
        self._to_open &= due
        if not due:
            return True
        try:
            ends = await self._thread.ends(due)
            opened = await self.intake.opened({tp.partition: end for tp, end in ends.items()})
            held = {tp: opened[tp.partition] for tp in due & self._to_open if tp.partition in opened}
            await self._thread.move({tp: offset for tp, (_, offset) in held.items()})
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

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)  # finishes what is under way, and commits
        self._epochs.clear()
        self._done.clear()
        self._to_open.clear()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        await super().on_partitions_assigned(assigned, generation_id)
        self._assigned_once = True

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
        if not await self._commit(offsets):
            return False
        self._committed_offset.update(offsets)
        return True

    async def wait_empty(self) -> None:
        """Before partitions are given up, and at the end: finish what is under way, then tell Kafka."""
        await self.intake.emptied()
        await self.commit()


class Transport(stock.Transport):
    """`connection`: how aiokafka reaches the cluster; `topic`: the full name of the events topic."""

    Consumer: ClassVar[type[Consumer]] = Consumer

    def __init__(self, url: Any, app: Any, *, connection: dict[str, Any], topic: str, intake: Intake) -> None:
        super().__init__(url, app)
        self.connection, self.topic, self.intake = connection, topic, intake


class WholeBatch(faust.Schema):
    """Nothing to deserialize: the value is the batch."""

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
    connection: dict[str, Any],
    topic: str,
    intake: Intake,
    *,
    instance_id: str,
    batch_records: int,
    apply: Callable[[Batch], Awaitable[None]],
) -> faust.App:
    """A Faust app whose one agent hands each batch to `apply`. `group` is the consumer group."""
    app = _App(
        group,
        broker="kafka://" + str(connection["bootstrap_servers"]).split(",")[0],
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
        broker_max_poll_records=batch_records,
        broker_client_id="headwater-worker",
        consumer_group_instance_id=instance_id,
        autodiscover=False,
        datadir="/nonexistent",  # nothing is written there without tables
    )
    transport = Transport(app.conf.broker_consumer, app, connection=connection, topic=topic, intake=intake)
    app.transport = app.consumer_transport = transport
    source = app.topic(topic, schema=WholeBatch(value_serializer="raw", key_serializer="raw"))

    @app.agent(source, name=f"{group}.batches")
    async def batches(stream: Any) -> None:
        async for batch in stream:
            await apply(batch)

    return app
