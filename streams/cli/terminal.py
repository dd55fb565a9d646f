"""What commands share: where to connect, what goes to stdout and what to stderr, and how a command ends.

Data goes to stdout; notes, progress and problems to stderr. A problem that lies outside (no Kafka, no file, a reader
that went away) is one line and exit code 1, never a traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from streams.connection import Connection
    from streams.settings import Settings


@contextmanager
def connected(*, redis: bool = False) -> Iterator[tuple[Connection, Settings]]:
    """Where to connect, and settings that say so. What is wrong outside ends as one line and exit code 1."""
    import logging
    import signal

    from confluent_kafka import KafkaException
    from pydantic import ValidationError
    from redis.exceptions import RedisError

    from streams.connection import NotConnected, connection
    from streams.kafka.clients import KafkaUnreachable, unreachable
    from streams.observe import logs
    from streams.records.files import Unreadable
    from streams.records.read import NoSuchTopic
    from streams.settings import settings

    try:
        base = settings()
    except ValidationError as error:
        said = "; ".join(f"HEADWATER_{'__'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors())
        stop(f"A setting is not right: {said}. `headwater doctor` shows all.")
    logs.configure("warning", base.log_format)
    # what the Kafka client has to say ends as an error of the call, and is told below, once
    logging.getLogger("headwater.kafka").setLevel(logging.CRITICAL)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is queued is still delivered
    try:
        place = connection(base, redis=redis)
        in_force = place.settings(base)
        yield place, in_force
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: nothing to say
        raise typer.Exit(0) from None
    except (NotConnected, NoSuchTopic, Unreadable, KafkaUnreachable, TimeoutError, ConnectionError) as error:
        stop(str(error))
    except KafkaException as error:
        stop(str(unreachable(error, in_force) or f"Kafka at {place.bootstrap}: {error.args[0].str()}"))
    except RedisError as error:
        stop(f"Redis does not answer as it should ({error}). Check HEADWATER_REDIS_URL.")
    except KeyboardInterrupt:
        note("stopped")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def note(line: str) -> None:
    """Says something to the person at the terminal, beside the data."""
    print(line, file=sys.stderr, flush=True)


def stop(problem: str) -> NoReturn:
    note(problem)
    raise typer.Exit(1)


def console(*, err: bool = False) -> Any:
    from rich.console import Console

    return Console(highlight=False, stderr=err)


def topic_name(name: str, settings: Settings) -> str:
    from schemas.topics import TOPICS

    return TOPICS[name].full_name(settings.namespace)


def sending(settings: Settings, *, linger_ms: float = 5) -> Any:
    """A producer."""
    from streams.kafka.clients import producer

    # enough to keep the broker busy; and a bound on memory, whatever the files' size
    return producer(
        settings, linger_ms=linger_ms, extra={"queue.buffering.max.kbytes": 64 << 10, "message.timeout.ms": 60_000}
    )


def reading(settings: Settings, purpose: str) -> Any:
    """A consumer that commits nothing."""
    from streams.kafka.clients import consumer

    return consumer(settings, f"{settings.namespace}.cli.{purpose}", extra={"queued.max.messages.kbytes": 32 << 10})
