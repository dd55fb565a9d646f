"""The worker's reader: one librdkafka consumer, and the one thread that calls it.

In: the group's assignments, and offsets to read on from. Out: what has come, by partition, when it is asked for.

librdkafka fetches and keeps up its membership on threads of its own, without Python's lock; what has come lies ready
and is taken in one call. Reading is on demand, so that a busy worker takes at once what came while it stepped. But the
client has to be polled, since only then may partitions change hands: if nobody asks for a while, reading is paused and
it is polled without being read.

All calls are made on that one thread: confluent-kafka holds a lock on a client for as long as a call takes, a poll and
its callbacks among them.

Of what the group assigns only those partitions are read that `read_from` has named: where to read on is not Kafka's
committed offset but the store's position.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

log = structlog.get_logger(__name__)

UNASKED_S = 1.0  # read this long ago, reading is paused and others may have partitions
ENOUGH, GATHER_S = 8, 0.004
"""Who finds records waiting is busy. If there are fewer than so many, it waits so long for more: a step of one costs
nearly as much as one of four, and the broker and the threads that save and publish need the cores as well. Who finds
none takes the first that comes at once."""
LOOK_S = 0.5  # how often the logs' ends are looked up
SILENT_S = 5.0
"""A partition of which nothing has come for so long since it was started is asked for its end."""
STOP_S = 4.0  # waited for the client's end
POLL_S = 0.05  # how often the client is polled then
# the cluster will not let us read, however often we ask; or another worker goes by our name
_HOPELESS = frozenset(
    {
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError._AUTHENTICATION,
        KafkaError._FATAL,
    }
)
MakeConsumer = Callable[[Callable[..., None]], Consumer]
"""Makes the group's member; it is given what librdkafka is to call as `on_commit`."""
Told = Callable[[set[int]], Coroutine[Any, Any, None]]


class Record(NamedTuple):
    """A record as received."""

    offset: int
    key: bytes | None
    value: bytes | None
    message: Any  # confluent_kafka.Message

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        return self.message.headers() or ()


class Fetched(NamedTuple):
    """Records of a partition in the order of the log. `received_ms`: when they were taken."""

    records: list[Record]
    received_ms: int


class Reader:
    """`assigned` and `revoked` run on the event loop when the group gives and takes partitions; until they return the
    group waits. All methods are called on the event loop."""

    def __init__(self, make: MakeConsumer, topic: str, assigned: Told, revoked: Told) -> None:
        self._make, self._topic, self._told = make, topic, (assigned, revoked)
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._consumer: Consumer | None = None
        self._mine: set[int] = set()  # assigned by the group
        self._next: dict[int, int] = {}  # of those that are read: the offset that comes next
        self._silent: set[int] = set()  # of those that were started or resumed: no record has come since
        self._silent_since = 0.0  # monotonic seconds, or when they were last asked for their ends
        self._anew: dict[int, int] = {}  # the end for which a silent one was started again
        self._left: list[Any] = []  # came while nobody asked
        self._paused = self._closing = False
        self._rebalancing = False
        self._failure: BaseException | None = None
        self._done: dict[int, int] = {}  # to be committed
        self._ends: dict[int, int] = {}
        self._looked = 0.0  # monotonic seconds, for ends
        self.member_id: str | None = None
        """The group's name for us."""

    def start(self) -> None:
        """Joins the group. Raises KafkaException for settings that no client can be made of."""
        if self._thread is None:
            self._consumer = self._make(self.committed)
            self._thread = threading.Thread(target=self._run, name="read", daemon=True)
            self._thread.start()

    @property
    def assignment(self) -> set[int]:
        """The partitions that the group has given us."""
        return set(self._mine)

    def end(self, partition: int) -> int | None:
        """The offset behind the last record, as last heard."""
        return self._ends.get(partition)

    async def take(self, most: int, timeout: float, when: threading.Event | None = None) -> dict[int, Fetched]:
        """What has come since the last call, at most `most` records; waits for the first one, and before that until
        `when` is set. Raises KafkaException when there is no use in waiting any longer."""
        return dict(await self._ask(partial(self._take, most, timeout, when)) or {})

    async def read_from(self, offsets: Mapping[int, int | None]) -> None:
        """Reads on from these offsets (None: from the oldest record), also of partitions not read so far."""
        await self._ask(partial(self._read_from, dict(offsets)))

    async def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """Partition -> offset behind its last record, as the broker says now. Raises KafkaException."""
        return dict(await self._ask(partial(self._ask_for_ends, list(partitions))) or {})

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Tells the group, soon; what is told while the group takes partitions, before they go."""
        self._done.update(offsets)
        if not self._rebalancing:
            self._jobs.put((self._commit, self._loop.create_future()))

    async def stop(self) -> None:
        """Ends the thread. A static member stays one until its session ends."""
        self._closing = True
        self._jobs.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, STOP_S)

    # --- on our own thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        consumer = self._consumer
        assert consumer is not None
        try:
            consumer.subscribe(
                [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while True:
                try:
                    job = self._jobs.get(timeout=POLL_S if self._paused or not self._next else UNASKED_S)
                except queue.Empty:
                    self._stay_in_touch()
                    continue
                if job is None:
                    break
                self._do(*job)
        except BaseException as error:
            self._failure = error
        finally:
            self._closing = True
            while not self._jobs.empty():
                if (job := self._jobs.get()) is not None:
                    self._do(lambda: None, job[1])
            with contextlib.suppress(KafkaException, RuntimeError):
                self._commit(wait=True)
            with contextlib.suppress(KafkaException, RuntimeError):
                consumer.close()

    def _do(self, call: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        try:
            result, failure = call(), None
        except BaseException as error:
            result, failure = None, error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(_resolve, future, result, failure)

    def _take(self, most: int, timeout: float, when: threading.Event | None) -> dict[int, Fetched]:
        assert self._consumer is not None
        if when is not None and not when.wait(timeout):
            return {}
        if self._paused:
            self._resume()
        self._look()
        messages, self._left = self._left, []
        if most > len(messages):
            messages += self._consumer.consume(most - len(messages), timeout=0)
        if not messages:
            first = self._consumer.poll(timeout)
            if first is None:
                return {}
            messages.append(first)
        elif (few := min(most, ENOUGH) - len(messages)) > 0:
            messages += self._consumer.consume(few, timeout=GATHER_S)
        now_ms = time.time_ns() // 1_000_000
        found: dict[int, Fetched] = {}
        made = tuple.__new__  # a named tuple's own constructor takes twice as long
        last, records = -1, list[Record]()
        for message in messages:
            if message.error() is not None:
                self._heard(message.error())
                continue
            partition = message.partition()
            if partition != last:
                if partition not in self._next:
                    continue  # was taken from us meanwhile
                last, records = partition, found.setdefault(partition, Fetched([], now_ms)).records
            records.append(made(Record, (message.offset(), message.key(), message.value(), message)))
        for partition, fetched in found.items():
            self._next[partition] = fetched.records[-1].offset + 1
            self._silent.discard(partition)
        return found

    def _look(self) -> None:
        if (now := time.monotonic()) - self._looked < LOOK_S:
            return
        self._looked = now
        assert self._consumer is not None
        for partition in self._next:
            _, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            if end >= 0:
                self._ends[partition] = int(end)
        if self._silent and not self._paused:
            self._consumer.resume(self._places(self._silent))
            if now - self._silent_since > SILENT_S:
                self._silent_since = now
                self._start_anew()

    def _start_anew(self) -> None:
        """A start is lost if librdkafka hears of a pause or a resume at the same time (its issue 2190): the partition
        would stay unread for ever. A silent one that has records is started again, once for an end: what is
        behind the last record may be a transaction's mark."""
        lost = False
        for partition in sorted(self._silent):
            try:
                end = self._ask_for_ends([partition], timeout=1)[partition]
            except KafkaException:
                return  # the broker is away
            if end > max(self._next[partition], self._anew.get(partition, 0)):
                log.warning("worker.partition_started_anew", partition=partition, end=end)
                self._anew[partition], lost = end, True
        if lost:
            self._read_from({})

    def _resume(self) -> None:
        """librdkafka loses a resume that the start of its partition overtakes (its issue 5591), and the partition would
        stay unread for ever. So it is told again, by `_look`, until a record comes; what runs already does not mind."""
        assert self._consumer is not None
        self._consumer.resume(self._places())
        self._paused, self._silent, self._silent_since = False, set(self._next), time.monotonic()

    def _commit(self, wait: bool = False) -> None:
        """What is not taken by the group is told again with the next."""
        assert self._consumer is not None
        told = {partition: self._done.pop(partition) for partition in list(self._done)}
        if told:
            places = [TopicPartition(self._topic, partition, offset) for partition, offset in told.items()]
            self._consumer.commit(offsets=places, asynchronous=not wait)

    def committed(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        """librdkafka's `on_commit`."""
        if error is None or self._closing:
            return
        log.warning("worker.not_committed", code=error.name(), reason=error.str())
        for place in places:
            if place.partition in self._next:
                self._done.setdefault(place.partition, place.offset)

    def _stay_in_touch(self) -> None:
        assert self._consumer is not None
        if self._next and not self._paused:
            self._consumer.pause(self._places())
            self._paused = True
        message = self._consumer.poll(0)
        self._look()
        if message is not None:
            if message.error() is None:
                self._left.append(message)
            else:
                self._heard(message.error())

    def _read_from(self, offsets: Mapping[int, int | None]) -> None:
        assert self._consumer is not None
        for partition, offset in offsets.items():
            if partition in self._mine:
                self._next[partition] = OFFSET_BEGINNING if offset is None else offset
        self._left.clear()  # all are fetched again from where they are to be read
        # librdkafka remembers a pause beyond the assignment: a partition that comes back is paused. It is resumed
        # before, as a resume on the heels of a start may lose it (issue 2190)
        self._resume()
        places = [TopicPartition(self._topic, partition, self._next[partition]) for partition in sorted(self._next)]
        self._consumer.assign(places)

    def _places(self, partitions: Iterable[int] | None = None) -> list[TopicPartition]:
        return [TopicPartition(self._topic, one) for one in sorted(self._next if partitions is None else partitions)]

    def _on_assign(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        if self._closing:
            return
        self._forget()
        self._mine, self.member_id = {place.partition for place in places}, consumer.memberid() or None
        consumer.assign([])  # nothing is read before `read_from`
        self._tell(0)

    def _on_revoke(self, consumer: Consumer, _: Sequence[TopicPartition]) -> None:
        self._let_go(consumer, commit=True)

    def _on_lost(self, consumer: Consumer, _: Sequence[TopicPartition]) -> None:
        """The group went on without us: there is nothing left to be committed."""
        self._let_go(consumer, commit=False)

    def _let_go(self, consumer: Consumer, *, commit: bool) -> None:
        if not self._closing:
            self._rebalancing = True
            try:
                self._tell(1)
                if commit:
                    self._commit(wait=True)
            except KafkaException as error:
                log.warning("worker.not_committed", reason=str(error))
            finally:
                self._rebalancing = False
        self._forget()
        self._mine = set()
        consumer.unassign()

    def _forget(self) -> None:
        self._next.clear()
        self._silent.clear()
        self._anew.clear()
        self._ends.clear()
        self._done.clear()
        self._left.clear()
        self._paused = False

    def _tell(self, which: int) -> None:
        """Runs `assigned` or `revoked` on the event loop and waits for it; the group waits meanwhile."""
        told: Coroutine[Any, Any, None] = self._told[which](set(self._mine))
        done = asyncio.run_coroutine_threadsafe(told, self._loop)
        while not self._closing:
            if concurrent.futures.wait([done], 0.1).done:
                return done.result()

    def _heard(self, error: KafkaError) -> None:
        """What the client says between records. Raises KafkaException if there is no use in going on."""
        if error.fatal() or error.code() in _HOPELESS:
            self._failure = KafkaException(error)
            raise self._failure
        log.warning("worker.kafka_says", code=error.name(), reason=error.str())

    def _ask_for_ends(self, partitions: Sequence[int], timeout: float = 10) -> dict[int, int]:
        assert self._consumer is not None
        found = {}
        for one in partitions:
            _, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, one), timeout=timeout)
            found[one] = self._ends[one] = int(end)
        return found

    # ------------------------------------------------------------------------------------------------------------

    async def _ask(self, call: Callable[[], Any]) -> Any:
        if self._failure is not None:
            raise self._failure
        if self._closing:
            return None
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((call, future))
        return await future


def _resolve(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)
