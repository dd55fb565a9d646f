"""One partition in the hands of this worker: what happens to a batch, in which order, and what a crash there means.

In: a batch of records of the events topic, as received. Out: a Task for the saver: users, position and outbox to be
written. Everything here runs on the worker's one step thread, never on the event loop, and is the same code for one
event and for a thousand.

The order, and what it means if the process dies right after a step:

 1. decode    bytes -> events; those that are none are set aside as dead letters. Nothing has happened yet: whoever owns
              the partition next reads the same records again.
 2. drop      events at or below the store's position are in the users already. (As 1.)
 3. load      the users of the batch, from memory if this worker wrote them last, else in one call: for a batch that
              waits already while another is stepped (`ahead`). (As 1.)
 4. world     the newest World is taken; if it is another than the partition's last, a journal entry will go out with
              the batch. (As 1: the next owner takes the World of its own time and journals that.)
 5. step      the pure function. Its results are in this process only. (As 1.)
 6. save      users, position and outbox, in one atomic call that refuses to build on another position than the one we
              know. A crash before the call ends is a crash before or after it, never in between. After it the batch is
              decided: nobody will apply these events again. The messages wait in the outbox for the next owner.
 7. publish   the outbox's bytes go to Kafka, and every delivery is waited for. A crash leaves them in the outbox: the
              next owner publishes the identical bytes, with the identical message ids, so that a reader who drops ids
              it has seen reads each once.
 8. confirm   the outbox lets go of them. A crash costs nothing: only the offset is still to be told.
 9. acknowledge   Kafka is told the offset, a moment later and for many batches at once. A crash before it costs nothing
              either: the next owner starts after the store's position, not after Kafka's.

1 to 4 are in this module, 5 in `outcome`, 6 in `saver`, 7 and 8 in `publisher`, 9 in `driver`. Batch n is published
while n + 1 is saved and n + 2 stepped, each on a thread of its own; every stage keeps the order. What is stepped on top
of a batch whose save is refused is thrown away with it: it builds on a position that never came to be.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import orjson
import structlog

from schemas.decode import Malformed
from streams import faults
from streams.observe import metrics
from streams.store.contract import Fenced, Save, Store, StoreError
from streams.worker.ahead import Ahead
from streams.worker.outbox import Envelopes
from streams.worker.outcome import Core, Group, Outcome, outcomes
from streams.worker.patience import Patience
from streams.worker.publisher import Job
from streams.worker.saver import Saver, Task

log = structlog.get_logger(__name__)


class Batch(NamedTuple):
    """Records of one partition in the order of the log. `epoch` tells batches read before a seek from those after;
    `ahead`: their users, as far as they are being read already."""

    partition: int
    epoch: int
    records: Sequence[Any]
    received_ms: int
    ahead: tuple[Ahead, ...] = ()

    def followed_by(self, other: Batch) -> Batch:
        """Both as one."""
        return self._replace(records=[*self.records, *other.records], ahead=self.ahead + other.ahead)


class Prepared(NamedTuple):
    """A batch before step 5. `dead`: records that are no events; `note` and `journal`: what the World leaves behind."""

    batch: Batch
    users: dict[str, Any]
    events: list[Any]
    dead: list[tuple[Any, Malformed]]
    note: bytes
    journal: list[tuple[int, bytes]]


Taken = tuple[Any, Mapping[str, Mapping[int, int]]]
"""A World, and the positions it was built from."""


def apply_together(
    core: Core, envelopes: Envelopes, saver: Saver, batches: Sequence[tuple[Partition, Batch]]
) -> list[Applied]:
    """Steps 1 to 5 for batches of different partitions, in one step if they have no user in common, and hands them to
    the saver. For each: whether there was anything new in it, or why it could not be applied (Abandoned, StoreError).
    """
    taken = core.world()
    applied: list[Applied] = [False] * len(batches)
    prepared: dict[int, Prepared] = {}
    for at, (partition, batch) in enumerate(batches):
        try:
            one = partition.prepare(batch, taken)
        except Exception as error:
            applied[at] = error
            continue
        if one is not None:
            prepared[at] = one
    started = time.perf_counter()
    stepped = {at: Group(one.users, one.events, one.batch.received_ms) for at, one in prepared.items() if one.events}
    made = dict(zip(stepped, outcomes(core, envelopes, taken[0], list(stepped.values())), strict=True))
    metrics.STAGE_SECONDS.labels("step").observe(time.perf_counter() - started)
    tasks: list[Task] = []
    for at, one in prepared.items():
        try:
            tasks.append(batches[at][0].finish(one, made.get(at) or Outcome()))
            applied[at] = True
        except Exception as error:
            applied[at] = error
    if tasks:
        with metrics.stage("load.ahead"):
            for partition, _ in batches:
                partition.receive()
        saver.submit(tasks)
    return applied


Applied = bool | Exception


class Partition:
    """The state of one assigned partition. All methods but `look_ahead` are called from the step thread, one at a
    time."""

    def __init__(
        self,
        number: int,
        core: Core,
        store: Store,
        saver: Saver,
        patience: Patience,
        envelopes: Envelopes,
        *,
        max_record_bytes: int,
        cached_users: int,
    ) -> None:
        self.number = number
        self.cached_users = cached_users
        self.epoch = 0
        self.position: int | None = None
        self.abandon = threading.Event()
        self._core, self._store, self._saver, self._patience = core, store, saver, patience
        self._envelopes, self._max_record_bytes = envelopes, max_record_bytes
        # no other has its tokens, not even our own for the same partition before it was away: where nobody else saved
        # meanwhile, the first save of this one would count as made already
        self._run_id = uuid.uuid4().hex[:16]
        self._note = self._token = b""
        self._world: Any = None
        self._saves = 0
        self._users: dict[str, Any] = {}  # least recently used first
        # users of all batches so far, and of those in the store: the last `_touched - _saved` of `_users` may be newer
        # than the store's
        self._touched = self._saved = 0
        self._ahead: list[Ahead] = []  # of batches that wait

    def open(self, epoch: int, abandon: threading.Event) -> int | None:
        """Takes over where the store stands: what waits in the outbox is sent first. Returns the offset to read next,
        None for a partition that was never read. Raises Abandoned, StoreError."""
        self.epoch, self.abandon = epoch, abandon
        for ahead in self._ahead:
            ahead.drop()
        self._ahead.clear()
        # nothing of our own may still be on its way when the outbox is read, or it would be sent twice
        self._saver.drain(abandon)
        self._touched = self._saved = 0
        held = self._patience.ask("open", abandon, partial(self._store.position, self.number))
        waiting = self._patience.ask("open", abandon, partial(self._store.pending, self.number))
        if held is None:
            self.position, self._note, token = None, b"", b""
        else:
            self.position, self._note, token = held.offset, held.note, held.token
        if not token or token != self._token:
            self._users.clear()  # somebody else wrote last
        self._token, self._world = token, None
        if held is not None:
            payloads = [entry.payload for entry in waiting]
            self._saver.pass_on(Job(self.number, epoch, payloads, held.appended, held.offset, batch=False))
        faults.passed("open")
        log.info("worker.partition_open", partition=self.number, position=self.position, pending=len(waiting))
        return None if held is None else held.offset + 1

    def check(self) -> None:
        """Compares our position with the store's, as a save would; only while nothing is under way. Raises Fenced,
        Abandoned."""
        if self._touched != self._saved:
            return
        held = self._patience.ask("check", self.abandon, partial(self._store.position, self.number))
        at = held.offset if held else None
        if at != self.position:
            raise Fenced(self.number, self.position, at)

    def step_back(self, end: int) -> None:
        """Kafka's log now ends before our position (its newest records are gone): what is written there from now on is
        new, and must not be taken for applied. Users keep what they have."""
        log.error("worker.log_is_shorter", partition=self.number, position=self.position, end=end)
        token = self._next_token()
        save = partial(self._store.save, self.number, self.position, end - 1, {}, [], note=self._note, token=token)
        self._patience.ask("save", self.abandon, save)
        self.position, self._token = end - 1, token

    def look_ahead(self, batch: Batch) -> tuple[Batch, Callable[[], None] | None]:
        """For a batch that will wait, on the event loop: the same, and what asks the store for its users that are not
        in memory, on any thread; None if all of them are."""
        ahead = Ahead()
        self._ahead.append(ahead)  # before it looks at what is in memory: from now on it is told what is stepped
        if ahead.wants((record.key for record in batch.records), self._users):
            return batch._replace(ahead=(ahead,)), partial(ahead.ask, self._store, self.number)
        self._ahead.remove(ahead)
        return batch, None

    def receive(self) -> None:
        """Takes in what has come for batches that wait."""
        for ahead in list(self._ahead):
            ahead.receive()

    def prepare(self, batch: Batch, taken: Taken) -> Prepared | None:
        """Steps 1 to 4 for one batch. None if there was nothing new in it. Raises Abandoned, StoreError."""
        try:
            return self._prepare(batch, taken)
        finally:  # its turn has come: what it did not take nobody will
            for ahead in batch.ahead:
                ahead.drop()
                if ahead in self._ahead:
                    self._ahead.remove(ahead)

    def _prepare(self, batch: Batch, taken: Taken) -> Prepared | None:
        clock = time.perf_counter
        t0 = clock()
        if self.position is not None and batch.records[-1].offset <= self.position:
            return None
        events, dead = self._decode(batch)
        faults.passed("decode")
        t1 = t2 = clock()
        users: dict[str, Any] = {}
        note: bytes = self._note
        journal: list[tuple[int, bytes]] = []
        if events:
            users = self._load(list(dict.fromkeys([one.event.user_id for one in events])), batch.ahead)
            faults.passed("load")
            t2 = clock()
            note, journal = self._take_world(taken, events[0].offset)
        for stage, spent in (("decode", t1 - t0), ("load", t2 - t1)):
            metrics.STAGE_SECONDS.labels(stage).observe(spent)
        return Prepared(batch, users, events, dead, note, journal)

    def finish(self, prepared: Prepared, made: Outcome) -> Task:
        """After step 5: what is to be saved. From here on the next batch builds on this one."""
        batch, users, events, dead, note, journal = prepared
        made.entries[:0] = journal
        if made.refused:
            records = {record.offset: record for record in batch.records}
            dead += [(records[offset], malformed) for offset, malformed in made.refused]
        for record, malformed in dead:
            letter = self._envelopes.dead_letter(record, malformed, self.number, batch.received_ms)
            made.entries.append((record.offset, letter))
        if dead:
            made.entries.sort(key=lambda entry: entry[0])  # stable: what one record caused stays in its order
        task = self._task(batch.epoch, batch.records[-1].offset, made, note, len(users))
        self._remember(users, made.changed)
        self._measure(batch, events, dead)
        return task

    # ------------------------------------------------------------------------------------------------------------

    def _decode(self, batch: Batch) -> tuple[list[Any], list[tuple[Any, Malformed]]]:
        """1 and 2: the events that are new, and the records that are none."""
        decode, incoming, most = self._core.decode, self._core.incoming, self._max_record_bytes
        position = -1 if self.position is None else self.position
        number, received_ms = self.number, batch.received_ms
        events, dead = [], []
        for record in batch.records:
            offset = record.offset
            if offset <= position:
                continue
            event = decode(record.key, record.value, most)
            if event.__class__ is Malformed:
                dead.append((record, event))
            else:
                events.append(incoming(event, number, offset, received_ms))
        return events, dead

    def _load(self, user_ids: list[str], ahead: Sequence[Ahead]) -> dict[str, Any]:
        """3: in the order of their first event. Those of the batches under way are always in memory; that nobody else
        wrote the others meanwhile is vouched for by the save, which would be refused."""
        cached = self._users
        missing = [user_id for user_id in user_ids if user_id not in cached]
        if not missing:
            return {user_id: cached[user_id] for user_id in user_ids}
        users: dict[str, Any] = {}
        found: dict[str, Mapping[bytes, bytes]] = {}
        for one in ahead:
            users |= one.kept()
            found |= one.fields()
        missing = [user_id for user_id in missing if user_id not in users]
        if rest := [user_id for user_id in missing if user_id not in found]:
            found |= self._patience.ask("load", self.abandon, partial(self._store.load, self.number, rest))[1]
        decode_user = self._core.decode_user
        try:
            users |= {user_id: decode_user(user_id, found.get(user_id, {})) for user_id in missing}
        except Exception as error:
            raise StoreError(f"partition {self.number} holds a user that can't be read: {error}") from error
        return {user_id: cached[user_id] if user_id in cached else users[user_id] for user_id in user_ids}

    def _take_world(self, taken: Taken, offset: int) -> tuple[bytes, list[tuple[int, bytes]]]:
        """4: the World's names as the store's note, and a journal entry if it is another than before."""
        world, positions = taken
        if world is self._world:
            return self._note, []
        self._world = world
        index = {topic: places for topic, places in positions.items() if topic.endswith(".index")}
        note = orjson.dumps(world.names | index, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
        if note == self._note:
            return note, []
        now = time.time_ns() // 1_000_000
        return note, [(offset, self._envelopes.journal(self.number, offset, world.names, positions, now))]

    def _task(self, epoch: int, last: int, made: Outcome, note: bytes, users: int) -> Task:
        """6 and what follows it, for other threads; from here on the next batch builds on this one."""
        token = self._next_token()
        payloads = [payload for _, payload in made.entries]
        job = Job(self.number, epoch, payloads, 0, last, made.kinds)
        self._touched += users
        save = Save(self.number, self.position, last, made.fields, payloads, note, token)
        self.position, self._note, self._token = last, note, token
        return Task(save, self.abandon, job, partial(self._was_saved, self._touched))

    def _was_saved(self, touched: int) -> None:
        """On the saver's thread: all batches up to this one are in the store."""
        self._saved = touched

    def _next_token(self) -> bytes:
        self._saves += 1
        return f"{self._run_id}-{self._saves}".encode()

    def _remember(self, users: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
        """Keeps the users of this batch, and lets go of the ones not used for longest. Those of batches under way are
        the ones used last; they stay, as the store doesn't have them yet."""
        cached, decode_user = self._users, self._core.decode_user
        for user_id, user in users.items():
            cached.pop(user_id, None)
            if user_id in changed:
                user = changed[user_id]
            cached[user_id] = decode_user(user_id, {}) if user is None else user
        for ahead in list(self._ahead):  # only now that they are in memory: whoever asks from here on finds them there
            ahead.outdate(users)
        most = max(self.cached_users, self._touched - self._saved)
        for user_id in list(islice(cached, max(0, len(cached) - most))):
            del cached[user_id]

    def _measure(self, batch: Batch, events: list[Any], dead: list[Any]) -> None:
        metrics.BATCH_RECORDS.observe(len(batch.records))
        for kind, count in Counter([one.event.type for one in events]).items():
            metrics.EVENTS.labels(kind).inc(count)
        if events:
            metrics.EVENT_AGE_SECONDS.observe(max(0.0, (batch.received_ms - events[-1].event.ts) / 1000))
        for reason, count in Counter([malformed.reason for _, malformed in dead]).items():
            metrics.DEAD_LETTERS.labels(str(reason)).inc(count)
            log.warning("worker.dead_letters", partition=self.number, reason=str(reason), records=count)
