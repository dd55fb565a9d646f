"""Clients agree on the partition of a key and on sizes, and pass security settings through."""

from __future__ import annotations

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from schemas.topics import TOPICS
from streams.kafka.clients import NoBootstrap, client_config, consumer, producer
from streams.kafka.topics import ensure_topics
from streams.settings import Settings

# by Java's client (org.apache.kafka.common.utils.Utils.murmur2, made positive): key -> hash
MURMUR2 = {b"21": 1173551340, b"foobar": 1357151166, b"abc": 479470107, b"a-little-bit-long-string": 1161502112}


def test_without_an_address_the_error_says_where_to_set_one():
    with pytest.raises(NoBootstrap, match="HEADWATER_KAFKA_BOOTSTRAP_SERVERS"):
        client_config(Settings(kafka_bootstrap_servers=None))


def test_an_explicit_address_wins():
    config = client_config(Settings(kafka_bootstrap_servers="a:1"), "b:2")
    assert config["bootstrap.servers"] == "b:2"


def test_security_settings_reach_the_client():
    config = client_config(
        Settings(
            kafka_bootstrap_servers="a:1",
            kafka_security_protocol="SASL_SSL",
            kafka_sasl_mechanism="SCRAM-SHA-512",
            kafka_sasl_username="u",
            kafka_sasl_password="p",
            kafka_ssl_ca_location="/ca.pem",
        )
    )
    assert config["security.protocol"] == "SASL_SSL"
    assert config["sasl.mechanism"] == "SCRAM-SHA-512"
    assert (config["sasl.username"], config["sasl.password"]) == ("u", "p")
    assert config["ssl.ca.location"] == "/ca.pem"
    assert "ssl.key.location" not in config


def test_librdkafka_accepts_each_setting():
    config = Settings(kafka_bootstrap_servers="127.0.0.1:1")
    producer(config, linger_ms=0.5, extra={"message.timeout.ms": 1000, "log_level": 0})
    consumer(config, "g", extra={"group.instance.id": "w", "log_level": 0}).close()


@pytest.mark.services
def test_keys_go_to_the_partition_that_other_clients_choose(kafka, namespace):
    config = Settings(namespace=namespace, kafka_bootstrap_servers=kafka.bootstrap, kafka_partitions=7)
    ensure_topics(config)
    topic = TOPICS["events"].full_name(namespace)
    went = {}
    sender = producer(config)
    for key in MURMUR2:
        sender.produce(topic, b"x", key, on_delivery=lambda error, m: went.update({m.key(): m.partition()}))
    assert sender.flush(20) == 0
    assert went == {key: hashed % 7 for key, hashed in MURMUR2.items()}


@pytest.mark.services
def test_whatever_came_in_can_become_a_dead_letter(kafka, namespace):
    config = Settings(namespace=namespace, kafka_bootstrap_servers=kafka.bootstrap, kafka_partitions=1)
    ensure_topics(config)
    # incompressible, and as large as the intake's topic lets in
    import random

    value = random.Random(7).randbytes(4 * config.max_record_bytes)
    reader = consumer(config, f"{namespace}-large")
    for name in ("events", "dead-letters"):
        topic = TOPICS[name].full_name(namespace)
        errors = []
        sender = producer(config)
        sender.produce(topic, value, b"u", on_delivery=lambda error, _, errors=errors: errors.append(error))
        assert sender.flush(30) == 0
        assert errors == [None]
        reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        message = reader.poll(30)
        assert message is not None
        assert message.value() == value
        value = message.value()
    reader.close()
