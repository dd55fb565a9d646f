"""Writes stepped batches to the store, in order, while the next one is stepped.

In: a Task from `Partition.finish`. Out: its Job for the publisher, with the sequence number of its last message; or a
failure, after which nothing more of the same epoch of that partition is written: what was stepped on top of a batch
that was refused is worth nothing, even where the store's position would let it through.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from streams import faults
from streams.observe import metrics
from streams.store.contract import Store
from streams.worker.patience import Abandoned, Patience
from streams.worker.publisher import Job, Publisher


@dataclass(slots=True)
class Task:
    """A save (see `Store.save`), and what is to happen after it. `saved` is told when the users are in the store."""

    expected: int | None
    new: int
    users: Mapping[str, Mapping[str, bytes] | None]
    outbox: Sequence[bytes]
    note: bytes
    token: bytes
    abandon: threading.Event
    job: Job
    saved: Callable[[], None]


class Saver:
    """One thread between the one that steps and the publisher's. `failed` is told of a task that was not written, with
    None where an earlier one of its epoch had failed already."""

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        patience: Patience,
        failed: Callable[[Job, BaseException | None], None],
    ) -> None:
        self._store, self._publisher, self._patience, self._failed = store, publisher, patience, failed
        self._queue: queue.SimpleQueue[Task | threading.Event | None] = queue.SimpleQueue()
        self._broken: dict[int, int] = {}  # partition -> epoch
        self._thread = threading.Thread(target=self._run, name="save", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, task: Task) -> None:
        """Takes a task; never blocks. The caller bounds how many are under way."""
        self._queue.put(task)

    def pass_on(self, job: Job) -> None:
        """A job that needs no save: what an outbox held when its partition was opened. Nothing may be under way."""
        self._publisher.submit(job)

    def drain(self, abandon: threading.Event) -> None:
        """Returns once all that was submitted so far is saved and published, or has failed. Raises Abandoned."""
        passed = threading.Event()
        self._queue.put(passed)
        while not passed.wait(0.05):
            if abandon.is_set():
                raise Abandoned("drain")

    def stop(self, timeout: float) -> None:
        self._queue.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            if isinstance(task, threading.Event):
                self._publisher.pass_on(task)
                continue
            job = task.job
            if self._broken.get(job.partition) == job.epoch:
                self._failed(job, None)
                continue
            started = time.perf_counter()
            save = partial(
                self._store.save, job.partition, task.expected, task.new, task.users, task.outbox,
                note=task.note, token=task.token,
            )  # fmt: skip
            try:
                job.upto = self._patience.ask("save", task.abandon, save)
            except BaseException as error:
                self._broken[job.partition] = job.epoch
                self._failed(job, error)
                continue
            task.saved()
            faults.passed("save")
            metrics.STAGE_SECONDS.labels("save").observe(time.perf_counter() - started)
            self._publisher.submit(job)
