"""Logs of every role: one line an event, JSON when nobody watches, and never what a person said.

In: structlog calls (`log.info("worker.batch", partition=3, records=120)`) and the standard library's loggers
of faust, aiokafka and others. Out: lines on stderr; stdout belongs to data.

Personal things: at `info` and above a user id is replaced by a short keyed hash (one user's lines can still
be put together within a run of the process, and with `HEADWATER_LOG_SALT` across processes), and texts are
dropped, saying only how long they were. At `debug` both are shown, for a developer on their own machine.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

USER_FIELDS = frozenset({"user", "user_id", "users", "user_ids"})
KEY_FIELDS = frozenset({"key", "record_key"})
TEXT_FIELDS = frozenset(
    {"text", "query", "reply", "statement", "value", "body", "payload", "profile", "event", "message"}
)
LOUD = (
    "faust",
    "mode",
    "aiokafka",
    "kafka",
    "rdkafka",
    "asyncio",
    "uvicorn",
    "httpx",
    "httpcore",
    "transformers",
    "jgo",
)

_salt = os.environ.get("HEADWATER_LOG_SALT", "").encode() or secrets.token_bytes(16)


def configure(
    level: str = "info", format: str = "auto", *, role: str | None = None, instance: str | None = None
) -> None:
    """Sets logging up for this process. `format` is auto, json or console; auto is console on a terminal.

    Call it once, first thing in a role; calling it again replaces the set-up.
    """
    as_json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    number = getattr(logging, level.upper())
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    after: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, discreet]
    if as_json:
        # a frame's locals hold users and their words: stack and message only
        frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        after += [structlog.processors.ExceptionRenderer(frames), structlog.processors.JSONRenderer()]
    else:
        after += [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Repeats())
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=after))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in LOUD:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(max(number, logging.WARNING))
    logging.captureWarnings(True)
    structlog.contextvars.clear_contextvars()
    known = {"role": role, "instance": instance}
    structlog.contextvars.bind_contextvars(**{key: value for key, value in known.items() if value})


class Repeats(logging.Filter):
    """Lets a library say the same thing once in `within_s` seconds: a broker that is away is tried many times."""

    def __init__(self, within_s: float = 5.0) -> None:
        super().__init__()
        self._within_s = within_s
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, dict):  # one of our own lines
            return True
        line = (record.name, record.getMessage())
        if record.created - self._said.get(line, -1e9) < self._within_s:
            return False
        if len(self._said) >= 500:
            self._said.clear()
        self._said[line] = record.created
        return True


def discreet(_: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor that keeps people out of the logs at info and above."""
    if line.get("level", method) == "debug":
        return line
    for field, value in list(line.items()):
        # structlog keeps the line's own name under "event": that is ours, not a user's
        if field in USER_FIELDS or (field in KEY_FIELDS and isinstance(value, str | bytes)):
            line[field] = (
                [pseudonym(one) for one in value] if isinstance(value, list | tuple | set) else pseudonym(value)
            )
        elif field in TEXT_FIELDS and field != "event" and isinstance(value, str | bytes | dict | list):
            line[field] = f"({len(value)} left out)"
    return line


def pseudonym(user_id: Any) -> str:
    """A short keyed hash of a user id: the same for the same user, and of no use without the salt."""
    text = user_id if isinstance(user_id, bytes) else str(user_id).encode("utf-8", "replace")
    return "u:" + hashlib.blake2b(text, key=_salt[:64], digest_size=5).hexdigest()
