"""The console process: /livez, /readyz, /metrics for all roles, and the page at /.

In: settings with Kafka and Redis in them. Out: HTTP. It owns nothing: it can be stopped, or run twice, at any time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Any

import redis
import structlog
import uvicorn
from confluent_kafka import KafkaException
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from streams.connection import NotConnected
from streams.console.gather import Answer, Gatherer, Snapshot, federated
from streams.console.recent import Recent
from streams.console.status import Status
from streams.kafka.clients import consumer
from streams.observe import logs
from streams.records.read import NoSuchTopic
from streams.registry import Registration
from streams.settings import Settings

log = structlog.get_logger(__name__)

NO_PORT = 2  # exit status
TICK_S = 1.0
LIVE_WITHIN_S = 15.0
RECENT_EVERY_S = 1.5
# the page is one file: nothing else is fetched, and what users say can never run
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"


def run(settings: Settings, port: int) -> None:
    """Serves until SIGTERM or SIGINT. `port` 0: any free one.

    Raises NotConnected when the settings name no Kafka or Redis; ends the process where the port is taken.
    """
    logs.configure(settings.log_level, settings.log_format, role="console")
    if settings.kafka_bootstrap_servers is None or settings.redis_url is None:
        raise NotConnected(
            "The console needs HEADWATER_KAFKA_BOOTSTRAP_SERVERS and HEADWATER_REDIS_URL; `headwater up` sets both."
        )
    redis_url = settings.redis_url.get_secret_value()
    try:
        own = listening(settings.host, port)
    except OSError as error:
        log.error("console.no_port", host=settings.host, port=port, reason=f"{error.strerror}: choose another --port")
        sys.exit(NO_PORT)
    with own as sock:
        host, own_port = sock.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{own_port}"
        # uvicorn raises the signal again once it has stopped: a stop that was asked for is a success
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        config = uvicorn.Config(
            application(settings, redis_url),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
            server_header=False,
        )
        with Registration(redis_url, settings.namespace, "console", "console", url):
            log.info("console.serving", url=url)
            uvicorn.Server(config).run(sockets=[sock])
    log.info("console.stopped")


def listening(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises OSError with the address in it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"the console can't listen on {host}:{port}: {error.strerror}") from None
    return sock


def application(settings: Settings, redis_url: str) -> Starlette:
    """The console as an ASGI application."""
    console = Console(settings, redis_url)
    return Starlette(
        routes=[
            Route("/", console.page),
            Route("/status.json", console.status),
            Route("/livez", console.livez),
            Route("/readyz", console.readyz),
            Route("/metrics", console.metrics),
        ],
        lifespan=console.lifespan,
    )


class Console:
    """What the routes need: a loop that takes snapshots, and the answers made of them."""

    def __init__(self, settings: Settings, redis_url: str) -> None:
        self._settings = settings
        self._redis = redis.Redis.from_url(redis_url, socket_timeout=2, socket_connect_timeout=2)
        group = f"{settings.namespace}.console"
        reader = consumer(settings, group, extra={"queued.max.messages.kbytes": 8 << 10})
        self._recent = Recent(reader, settings.namespace)
        self._shown: list[dict[str, Any]] = []
        self._kafka_problem = "Kafka: not asked yet"
        self._watch = Status()
        self._snapshot = Snapshot(0.0, problem="just started")
        self._ticked = time.monotonic()
        self._page = files("streams.console").joinpath("page.html").read_text(encoding="utf-8")

    @asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[None]:
        self._gatherer = Gatherer(self._redis, self._settings.namespace, os.getpid())
        # two loops: a Kafka that does not answer holds up only the one that asks it
        loops = [asyncio.create_task(self._watch_roles()), asyncio.create_task(self._watch_topic())]
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
                with suppress(asyncio.CancelledError):
                    await loop
            await self._gatherer.close()
            self._redis.close()

    async def _watch_roles(self) -> None:
        while True:
            began = time.monotonic()
            try:
                self._snapshot = await self._gatherer.snapshot()
                self._watch.add(self._snapshot)
            except Exception:
                # the page must outlive whatever a role answers
                log.exception("console.tick")
            self._ticked = time.monotonic()
            await asyncio.sleep(max(0.1, TICK_S - (time.monotonic() - began)))

    async def _watch_topic(self) -> None:
        """The newest recommendations; also tells whether Kafka answers."""
        while True:
            try:
                self._shown = await asyncio.to_thread(self._recent.look)
                self._kafka_problem = ""
            except (KafkaException, NoSuchTopic) as error:
                said = error.args[0].str() if isinstance(error, KafkaException) else str(error)
                self._kafka_problem = f"Kafka: {said}"
            except Exception:
                log.exception("console.recent")
            await asyncio.sleep(RECENT_EVERY_S)

    def _reasons(self) -> list[str]:
        if time.monotonic() - self._ticked > LIVE_WITHIN_S:
            return ["the console's own loop stands still"]
        found = [problem for problem in (self._snapshot.problem, self._kafka_problem) if problem]
        workers = [one for one in self._snapshot.answers if one.role.role == "worker"]
        if not workers and not self._snapshot.problem:
            found.append("no worker runs")
        return found + [f"{one.role.instance}: {reason}" for one in workers for reason in one.reasons]

    async def page(self, _request: Request) -> Response:
        return HTMLResponse(self._page, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})

    async def status(self, _request: Request) -> Response:
        reasons = self._reasons()
        body = {
            "namespace": self._settings.namespace,
            "kafka": self._settings.kafka_bootstrap_servers,
            "ready": not reasons,
            "reasons": reasons,
            **self._watch.view(),
            "recent": self._shown,
        }
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def livez(self, _request: Request) -> Response:
        alive = time.monotonic() - self._ticked < LIVE_WITHIN_S
        return JSONResponse({"alive": alive}, status_code=200 if alive else 503)

    async def readyz(self, _request: Request) -> Response:
        reasons = self._reasons()
        return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    async def metrics(self, _request: Request) -> Response:
        # asked now, and not when the loop last went round: what a worker counts shows at once
        answers: list[Answer] = (await self._gatherer.snapshot()).answers
        return Response(federated(answers), media_type=CONTENT_TYPE_PLAIN_0_0_4)
