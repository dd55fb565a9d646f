"""Fixtures that all tests share: one real Kafka and one real Redis a session, a namespace a test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.redis import EmbeddedRedis

# CI judges a change by the same examples each time; at one's desk every run looks at new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# A broker of a test lives for seconds: Java's optimising compiler costs it more than it gains.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")


@pytest.fixture(scope="session")
def jar_cache() -> Path:
    """Where Kafka's jars are kept between runs."""
    return Path(os.environ.get("HEADWATER_CACHE_DIR", "~/.cache/headwater")).expanduser()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory, jar_cache: Path) -> Iterator[EmbeddedKafka]:
    """A real broker: `.bootstrap`, `.stop()`, `.start()`, `.restart()`, `.kill()`. Leave it running."""
    broker = EmbeddedKafka(tmp_path_factory.mktemp("kafka"), cache=jar_cache, port=0, heap_mb=320)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A real server: `.url`, `.stop()`, `.start()`, `.restart()`, `.kill()`. Leave it running."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"), port=0)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses: prefix of topics and keys."""
    return f"t{uuid.uuid4().hex[:12]}"
