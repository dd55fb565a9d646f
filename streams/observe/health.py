"""The small HTTP server inside every role: /livez, /readyz, /metrics.

In: two callables of the role, asked at each request. Out: what an orchestrator and Prometheus want to know.
It runs in a thread of its own, so that it answers while the role is busy, and it is of the standard library,
so that it adds nothing to a role's start.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from streams.observe import metrics


class Heartbeat:
    """Tells whether a loop goes round.

    The loop calls `tick()`; `alive()` is False after `limit_s` without one.
    """

    def __init__(self, limit_s: float = 60.0) -> None:
        self.limit_s = limit_s
        self._last = time.monotonic()

    def tick(self) -> None:
        self._last = time.monotonic()

    def alive(self) -> bool:
        return time.monotonic() - self._last < self.limit_s


class HealthServer:
    """Serves /livez, /readyz and /metrics from a daemon thread, until `close()`.

    `checks()` gives the reasons why the role is not ready; an empty list means ready, and an exception in it
    is a reason too. `alive()` says whether the main loop goes round (`Heartbeat.alive`). `role` picks the
    rows of the metrics table to show. With `port=0`, or when `port` is taken and `fallback` is set, a free
    port is used; `url` tells which. Raises OSError when the address can't be had.
    """

    def __init__(
        self,
        host: str,
        port: int,
        checks: Callable[[], list[str]],
        *,
        alive: Callable[[], bool] = lambda: True,
        role: str | None = None,
        fallback: bool = False,
    ) -> None:
        handler = type(
            "Handler",
            (_Handler,),
            {"checks": staticmethod(checks), "alive": staticmethod(alive), "role": role},
        )
        try:
            self._server = _Server((host, port), handler)
        except OSError:
            if not fallback:
                raise
            self._server = _Server((host, 0), handler)
        self.host, self.port = host, int(self._server.server_address[1])
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    def start(self) -> HealthServer:
        self._thread.start()
        return self

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(timeout=5)
        self._server.server_close()

    def __enter__(self) -> HealthServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # a second role on the same port must fail loudly, not share it
    allow_reuse_address = True
    allow_reuse_port = False


class _Handler(BaseHTTPRequestHandler):
    checks: Callable[[], list[str]]
    alive: Callable[[], bool]
    role: str | None
    timeout = 10
    server_version, sys_version = "headwater", ""

    def do_GET(self) -> None:
        path = self.path.split("?", 1)[0]
        if path == "/livez":
            alive = _guarded(type(self).alive)
            self._json(alive is True, {"alive": alive is True})
        elif path == "/readyz":
            reasons = _guarded(type(self).checks)
            reasons = [reasons] if isinstance(reasons, str) else reasons
            self._json(not reasons, {"ready": not reasons, "reasons": reasons})
        elif path == "/metrics":
            self._send(HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, metrics.exposition(self.role))
        else:
            body = {"error": f"nothing at {path}", "paths": ["/livez", "/readyz", "/metrics"]}
            self._send(HTTPStatus.NOT_FOUND, "application/json", json.dumps(body).encode())

    do_HEAD = do_GET  # noqa: N815

    def _json(self, good: bool, body: dict[str, Any]) -> None:
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass  # a line for each scrape would drown the rest


def _guarded(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:  # a check that fails is an answer, not a broken connection
        return f"the check itself failed: {type(error).__name__}: {error}"
