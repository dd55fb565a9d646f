"""The worker as a process: everything is wired here, and here it is decided how it ends.

In: the settings and a port for its health. Out: an exit status. 0: asked to stop, and stopped in order. 3: fenced, or
the app failed: the store and the log are as they should be, start it again. 2: topics or the port are not as they must
be, and starting again won't help.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import structlog
import uvloop

from schemas.topics import TOPICS
from streams.kafka.clients import KafkaUnreachable, consumer, producer
from streams.kafka.topics import WrongTopics, ensure_topics
from streams.observe import logs
from streams.observe.health import HealthServer
from streams.registry import Registration
from streams.settings import Settings
from streams.store.contract import Store
from streams.store.redis import RedisStore
from streams.worker.connection import leave_group
from streams.worker.driver import CLIENT, fetching, make_app
from streams.worker.loop import Worker
from streams.worker.outcome import Core

log = structlog.get_logger(__name__)

FAILED, HOPELESS = 3, 2
LINGER_MS = 1
# a worker that steps holds Python's lock; the threads that read, save and publish need it for moments, a dozen times a
# batch: with turns of 1 ms a save took 4 ms and a delivery 12
_SWITCH_S = 0.0001
# events and users hold no cycles, and walking thousands of them every 700 allocations took half of the decoding
_COLLECT_AFTER = (50_000, 50, 100)


def run(settings: Settings, port: int) -> None:
    """Runs a worker until SIGTERM or Ctrl-C. Does not return: ends the process with its status."""
    from streams.worker.bootstrap import LiveCore

    logs.configure(settings.log_level, settings.log_format, role="worker", instance=settings.worker_id)
    live = LiveCore(settings)
    live.start()
    run_core(settings, port, live.core, problems=live.problems)


def run_core(settings: Settings, port: int, core: Core, problems: Callable[[], list[str]] = list) -> None:
    """The same with this core. `problems()`: why the core is not to be served from yet."""
    sys.setswitchinterval(_SWITCH_S)
    gc.set_threshold(*_COLLECT_AFTER)
    if settings.redis_url is None:
        raise ValueError("There is no Redis to connect to: set HEADWATER_REDIS_URL, or start one with `headwater up`.")
    store = RedisStore(settings.redis_url.get_secret_value(), settings.namespace)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_the_end(settings, port, core, store, problems))


def leave(status: int) -> None:
    """Ends the process at once: a thread that waits for a service that is away must not hold it up."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


async def _until_the_end(
    settings: Settings, port: int, core: Core, store: Store, problems: Callable[[], list[str]]
) -> None:
    status = await _serve(settings, port, core, store, problems)
    # not by way of asyncio's own end: it would wait for threads, and those may wait for a service that is away
    leave(status)


async def _serve(settings: Settings, port: int, core: Core, store: Store, problems: Callable[[], list[str]]) -> int:
    loop = asyncio.get_running_loop()
    # several small requests at once must not wait for each other's acknowledgements; and each report of what has
    # arrived would take Python's lock from a step
    extra = {"message.timeout.ms": 0, "socket.nagle.disable": True, "delivery.report.only.error": True}
    make_producer = partial(producer, settings, linger_ms=LINGER_MS, extra=extra)
    worker = Worker(settings, core, store, make_producer)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.ended.set)
    with ExitStack() as stack:
        checks = lambda: [*problems(), *worker.ready()]  # noqa: E731
        try:
            health = HealthServer(settings.host, port, checks, alive=worker.beat.alive, role="worker")
        except OSError as error:
            log.error("worker.no_port", host=settings.host, port=port, reason=f"{error}: choose another --port")
            return HOPELESS
        stack.enter_context(health)
        assert settings.redis_url is not None
        redis_url = settings.redis_url.get_secret_value()
        stack.enter_context(Registration(redis_url, settings.namespace, "worker", settings.worker_id, health.url))
        looking = asyncio.create_task(worker.look_after())
        if not await _until_kafka_answers(settings, worker) or not await _until(worker, problems):
            return 0 if worker.failure is None else FAILED
        group = f"{settings.namespace}.worker"
        member = CLIENT | fetching(settings.fetch_together_ms)
        member |= {"client.id": "headwater-worker", "group.instance.id": settings.worker_id}
        app = make_app(
            group,
            TOPICS["events"].full_name(settings.namespace),
            worker,
            make_consumer=lambda on_commit: consumer(settings, group, extra=member | {"on_commit": on_commit}),
            leave=partial(leave_group, settings, group),
            apply=worker.apply,
        )
        worker.start()
        worker.consumer = app.consumer
        app.in_worker = True
        status = await _run_app(app, worker)
        looking.cancel()
        await worker.close(timeout=1.0 if status == 0 else 0.1)
        log.info("worker.stopped", status=status)
        return status


async def _run_app(app: Any, worker: Worker) -> int:
    """Until asked to stop, or until something fails for good."""
    crashed = asyncio.create_task(app.wait_until_stopped())
    asked = asyncio.create_task(worker.ended.wait())
    try:
        await app.start()
    except Exception as error:
        worker.fail(error)
    if worker.failure is None:
        await asyncio.wait({crashed, asked}, return_when=asyncio.FIRST_COMPLETED)
    crashed.cancel()
    asked.cancel()
    if worker.failure is not None:
        return FAILED
    if not worker.ended.is_set():
        log.error("worker.app_failed", reason=repr(app.crash_reason))
        return FAILED
    worker.stopping()
    log.info("worker.stopping")
    try:
        await asyncio.wait_for(app.stop(), 12)
    except Exception as error:  # nothing is lost: the store knows what was done
        log.warning("worker.stopped_late", error=type(error).__name__)
    return 0 if worker.failure is None else FAILED


async def _until_kafka_answers(settings: Settings, worker: Worker) -> bool:
    """Waits for the cluster, and makes and checks the topics. False if stopped meanwhile."""
    wait = 0.2
    while not worker.ended.is_set():
        try:
            created = await asyncio.to_thread(ensure_topics, settings, timeout=5)
            log.info("worker.topics", created=len(created))
            return True
        except KafkaUnreachable as error:
            log.warning("worker.kafka_away", reason=str(error))
        except WrongTopics as error:
            log.error("worker.wrong_topics", reason=str(error))
            leave(HOPELESS)
        try:
            await asyncio.wait_for(worker.ended.wait(), wait)
        except TimeoutError:
            wait = min(2 * wait, 5.0)
    return False


async def _until(worker: Worker, problems: Callable[[], list[str]]) -> bool:
    """Waits until the core may be served from: an empty catalogue would only make poor recommendations."""
    while problems() and not worker.ended.is_set():
        await asyncio.sleep(0.1)
    return not worker.ended.is_set()
