"""Topics on a real broker: made from the table, and refused where they are not what the table says."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from schemas.topics import TOPICS
from streams.kafka.clients import KafkaUnreachable
from streams.kafka.topics import WrongTopics, ensure_topics, verify_topics
from streams.settings import Settings

pytestmark = pytest.mark.services


@pytest.fixture
def config(kafka, namespace):
    return Settings(namespace=namespace, kafka_bootstrap_servers=kafka.bootstrap, kafka_partitions=3)


@pytest.fixture
def broker(kafka):
    return AdminClient({"bootstrap.servers": kafka.bootstrap})


def make(broker, name, partitions, **config):
    entries = {key.replace("_", "."): value for key, value in config.items()}
    broker.create_topics([NewTopic(name, partitions, 1, config=entries)])[name].result()


def alter(broker, name, key, value):
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
    broker.incremental_alter_configs([resource])[resource].result()


def described(broker, name):
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    return {key: entry.value for key, entry in broker.describe_configs([resource])[resource].result().items()}


def test_all_topics_are_made_as_the_table_says(config, broker, namespace):
    made = ensure_topics(config)
    assert made == [topic.full_name(namespace) for topic in TOPICS.values()]
    there = broker.list_topics(timeout=10).topics
    for topic in TOPICS.values():
        name = topic.full_name(namespace)
        assert len(there[name].partitions) == topic.partitions(3)
        found = described(broker, name)
        for key, value in topic.config(config.max_record_bytes).items():
            assert found[key] == value, (name, key)


def test_a_second_time_nothing_is_made(config):
    ensure_topics(config)
    assert ensure_topics(config) == []
    verify_topics(config)


def test_several_processes_may_start_at_once(config):
    made, errors = [], []

    def start():
        try:
            made.extend(ensure_topics(config))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(made) == sorted(topic.full_name(config.namespace) for topic in TOPICS.values())


def test_verifying_makes_nothing_and_names_what_is_missing(config, broker, namespace):
    with pytest.raises(WrongTopics, match=rf"{namespace}\.events\.v1 does not exist") as caught:
        verify_topics(config)
    assert len(caught.value.problems) == len(TOPICS)
    assert not any(name.startswith(namespace) for name in broker.list_topics(timeout=10).topics)


def test_another_partition_count_is_an_error_that_says_what_to_do(config, broker, namespace):
    make(broker, f"{namespace}.events.v1", 5)
    with pytest.raises(WrongTopics) as caught:
        ensure_topics(config)
    [problem] = caught.value.problems
    assert f"{namespace}.events.v1 has 5 partitions, and Headwater expects 3" in problem
    assert "HEADWATER_KAFKA_PARTITIONS=5" in problem


def test_a_topic_that_needs_one_partition_must_have_one(config, broker, namespace):
    make(broker, f"{namespace}.releases.v1", 3, cleanup_policy="compact")
    with pytest.raises(WrongTopics, match="expects 1") as caught:
        ensure_topics(config)
    assert "HEADWATER_KAFKA_PARTITIONS" not in str(caught.value)


@pytest.mark.parametrize(
    ("topic", "policy", "needed"),
    [("items", "delete", "compact"), ("items", "compact,delete", "compact"), ("events", "compact", "delete")],
)
def test_another_cleanup_policy_is_an_error_that_says_what_to_do(config, broker, namespace, topic, policy, needed):
    make(broker, f"{namespace}.{topic}.v1", 3, cleanup_policy=policy)
    with pytest.raises(WrongTopics) as caught:
        ensure_topics(config)
    [problem] = caught.value.problems
    assert f"{namespace}.{topic}.v1 has cleanup.policy={policy}, and Headwater needs {needed}" in problem
    assert f"--add-config cleanup.policy={needed}" in problem


def test_dead_letters_smaller_than_the_intake_are_an_error_with_the_remedy(config, broker, namespace):
    ensure_topics(config)
    name = f"{namespace}.dead-letters.v1"
    alter(broker, name, "max.message.bytes", "1000000")
    with pytest.raises(WrongTopics) as caught:
        verify_topics(config)
    remedy = str(caught.value).split("max.message.bytes=")[1].split("`")[0]
    alter(broker, name, "max.message.bytes", remedy)
    verify_topics(config)


def test_dead_letters_are_made_large_enough_for_intake_topics_of_ones_own(config, broker, namespace):
    make(broker, f"{namespace}.events.v1", 3, max_message_bytes="50000000")
    ensure_topics(config)
    assert int(described(broker, f"{namespace}.dead-letters.v1")["max.message.bytes"]) > 50_000_000


def test_all_problems_are_told_at_once(config, broker, namespace):
    make(broker, f"{namespace}.events.v1", 5)
    make(broker, f"{namespace}.items.v1", 3, cleanup_policy="delete")
    with pytest.raises(WrongTopics) as caught:
        ensure_topics(config)
    assert len(caught.value.problems) == 2


def test_more_replicas_than_brokers_is_an_error_that_names_the_setting(config):
    with pytest.raises(WrongTopics, match="HEADWATER_KAFKA_REPLICATION=3"):
        ensure_topics(config.model_copy(update={"kafka_replication": 3}))


def test_no_broker_is_an_error_that_names_the_address(config):
    with pytest.raises(KafkaUnreachable, match=r"127\.0\.0\.1:1 .*HEADWATER_KAFKA_SECURITY_PROTOCOL"):
        ensure_topics(config, bootstrap="127.0.0.1:1", timeout=1)
