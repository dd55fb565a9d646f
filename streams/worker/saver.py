"""Writes stepped batches to the store, in order, while the next one is stepped.

In: Tasks from `Partition.finish`, a step's together. Out: for each its Job for the publisher, with the sequence number
of its last message; or a failure, after which nothing more of the same epoch of that partition is written: what
was stepped on top of a batch that was refused is worth nothing, even where the store's position would let it through.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from streams import faults
from streams.observe import metrics
from streams.store.contract import Save, Store
from streams.worker.patience import Abandoned, Patience
from streams.worker.publisher import Job, Publisher


@dataclass(slots=True)
class Task:
    """A save, and what is to happen after it. `saved` is told when the users are in the store."""

    save: Save
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
        self._queue: queue.SimpleQueue[Sequence[Task] | threading.Event | None] = queue.SimpleQueue()
        self._broken: dict[int, int] = {}  # partition -> epoch
        self._thread = threading.Thread(target=self._run, name="save", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, tasks: Sequence[Task]) -> None:
        """Takes tasks of different partitions; never blocks. The caller bounds how many are under way."""
        self._queue.put(tasks)

    def pass_on(self, job: Job) -> None:
        """A job that needs no save: what an outbox held when its partition was opened. Nothing may be under way."""
        self._publisher.submit([job])

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
        while (tasks := self._queue.get()) is not None:
            if isinstance(tasks, threading.Event):
                self._publisher.pass_on(tasks)
                continue
            started = time.perf_counter()
            terms: dict[int, list[Task]] = {}  # as a rule all partitions are held for the same term
            for task in tasks:
                if self._broken.get(task.job.partition) == task.job.epoch:
                    self._failed(task.job, None)
                else:
                    terms.setdefault(id(task.abandon), []).append(task)
            for together in terms.values():
                self._save(together)
            metrics.STAGE_SECONDS.labels("save").observe(time.perf_counter() - started)

    def _save(self, tasks: Sequence[Task]) -> None:
        save_all = partial(self._store.save_all, [task.save for task in tasks])
        answers: Sequence[int | BaseException]
        try:
            answers = self._patience.ask("save", tasks[0].abandon, save_all)
        except BaseException as error:
            answers = [error] * len(tasks)
        jobs = []
        for task, answer in zip(tasks, answers, strict=True):
            job = task.job
            if isinstance(answer, BaseException):
                self._broken[job.partition] = job.epoch
                self._failed(job, answer)
                continue
            job.upto = answer
            task.saved()
            faults.passed("save")
            jobs.append(job)
        self._publisher.submit(jobs)
