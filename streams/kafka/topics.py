"""Makes the topics of the table on a cluster; refuses to go on where existing ones are not as they must be.

In: the settings and `schemas.topics.TOPICS`. Out: topics that exist, or a WrongTopics that says what to do.
"""

from __future__ import annotations

import time

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from schemas.topics import DEAD_LETTER_HEADROOM, TOPICS, Topic
from streams.kafka.clients import admin, unreachable
from streams.settings import Settings

_CREATED_WITHIN = 20.0  # seconds until every broker knows a new topic


class WrongTopics(RuntimeError):  # noqa: N818
    """Topics that are missing, or are not what Headwater needs. `problems`: one text for each fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def ensure_topics(settings: Settings, *, bootstrap: str | None = None, timeout: float = 30) -> list[str]:
    """Create what is missing, then check everything. Returns the full names that were created.

    Safe to call from several processes at once. `timeout`: seconds for each question to the cluster.
    Raises WrongTopics, and KafkaUnreachable where no broker answers.
    """
    client = admin(settings, bootstrap=bootstrap)
    try:
        missing = _missing(client, settings, timeout)
        created = [name for name, topic in missing.items() if _create(client, settings, name, topic, timeout)]
        _await_known(client, list(missing), timeout)
        problems = _problems(client, settings, timeout)
    except KafkaException as error:
        raise unreachable(error, settings, bootstrap) or error from error
    if problems:
        raise WrongTopics(problems)
    return created


def verify_topics(settings: Settings, *, bootstrap: str | None = None, timeout: float = 30) -> None:
    """Check all topics and create none. Raises WrongTopics (missing ones included) and KafkaUnreachable."""
    client = admin(settings, bootstrap=bootstrap)
    try:
        problems = [
            f"Topic {name} does not exist. `headwater up` and `headwater worker` create it; or create it "
            f"yourself with {topic.partitions(settings.kafka_partitions)} partitions and cleanup.policy="
            f"{topic.config(settings.max_record_bytes)['cleanup.policy']}."
            for name, topic in _missing(client, settings, timeout).items()
        ] + _problems(client, settings, timeout)
    except KafkaException as error:
        raise unreachable(error, settings, bootstrap) or error from error
    if problems:
        raise WrongTopics(problems)


def _names(settings: Settings) -> dict[str, Topic]:
    return {topic.full_name(settings.namespace): topic for topic in TOPICS.values()}


def _missing(client: AdminClient, settings: Settings, timeout: float) -> dict[str, Topic]:
    there = client.list_topics(timeout=timeout).topics
    return {name: topic for name, topic in _names(settings).items() if name not in there}


def _create(client: AdminClient, settings: Settings, name: str, topic: Topic, timeout: float) -> bool:
    """True if this call made it, False if another process was quicker."""
    config = topic.config(settings.max_record_bytes)
    if topic.name == "dead-letters":
        # last in the table: the intake topics exist by now, and someone's own may take more than ours would
        names = [n for n, t in _names(settings).items() if t.intake]
        _await_known(client, names, timeout)
        largest = max(_limits(_configs(client, names, timeout)).values())
        config["max.message.bytes"] = str(max(int(config["max.message.bytes"]), largest + DEAD_LETTER_HEADROOM))
    new = NewTopic(
        name,
        num_partitions=topic.partitions(settings.kafka_partitions),
        replication_factor=settings.kafka_replication,
        config=config,
    )
    try:
        client.create_topics([new], operation_timeout=timeout, request_timeout=timeout)[name].result()
    except KafkaException as error:
        code = error.args[0].code()
        if code == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        advice = {
            KafkaError.INVALID_REPLICATION_FACTOR: (
                f"HEADWATER_KAFKA_REPLICATION={settings.kafka_replication} asks for more brokers than "
                "there are: lower it."
            ),
            KafkaError.TOPIC_AUTHORIZATION_FAILED: "Grant this user CREATE on it, or create it beforehand.",
            KafkaError.CLUSTER_AUTHORIZATION_FAILED: (
                "Grant this user CREATE on the cluster, or create it beforehand."
            ),
        }.get(code)
        if advice is None:
            raise
        raise WrongTopics([f"Topic {name} can't be created ({error.args[0].str()}). {advice}"]) from None
    return True


def _await_known(client: AdminClient, names: list[str], timeout: float) -> None:
    """A created topic takes a moment until it is in the metadata and each partition has a leader."""
    deadline = time.monotonic() + _CREATED_WITHIN
    while names:
        there = client.list_topics(timeout=timeout).topics
        names = [
            name
            for name in names
            if name not in there
            or not there[name].partitions
            or any(p.leader < 0 for p in there[name].partitions.values())
        ]
        if names and time.monotonic() > deadline:
            raise WrongTopics(
                [
                    f"Topic {name} was created and has no leader after {_CREATED_WITHIN:.0f} s. Look at the "
                    "broker's log."
                    for name in names
                ]
            )
        if names:
            time.sleep(0.05)


def _problems(client: AdminClient, settings: Settings, timeout: float) -> list[str]:
    """What is wrong with those topics of the table that exist."""
    there = client.list_topics(timeout=timeout).topics
    names = {name: topic for name, topic in _names(settings).items() if name in there}
    configs = _configs(client, list(names), timeout)
    problems = []
    for name, topic in names.items():
        problems += _partition_problem(name, topic, len(there[name].partitions), settings)
        problems += _cleanup_problem(name, topic, configs[name])
    return problems + _size_problem(configs, settings)


def _configs(client: AdminClient, names: list[str], timeout: float) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    answers = client.describe_configs(resources, request_timeout=timeout)
    return {
        resource.name: {key: entry.value or "" for key, entry in answer.result().items()}
        for resource, answer in answers.items()
    }


def _partition_problem(name: str, topic: Topic, found: int, settings: Settings) -> list[str]:
    wanted = topic.partitions(settings.kafka_partitions)
    if found == wanted:
        return []
    if topic.partitioned:
        advice = f"If {found} is right, set HEADWATER_KAFKA_PARTITIONS={found} (it holds for all topics)"
    else:
        advice = "Its records need one order: delete it, so that it is made anew with one partition"
    return [
        f"Topic {name} has {found} partitions, and Headwater expects {wanted}. {advice}; or choose another "
        "HEADWATER_NAMESPACE, so that new topics are made."
    ]


def _cleanup_problem(name: str, topic: Topic, config: dict[str, str]) -> list[str]:
    wanted = topic.config(1)["cleanup.policy"]
    found = config.get("cleanup.policy", "")
    if {part.strip() for part in found.split(",")} == {wanted}:
        return []
    why = (
        "it holds the latest value of each key for good, and age must not remove those that never change"
        if topic.compacted
        else "its records share keys, and compaction would remove all but the last of each"
    )
    return [
        f"Topic {name} has cleanup.policy={found}, and Headwater needs {wanted}: {why}. "
        f"{_alter(name, 'cleanup.policy', wanted)} (what is gone stays gone), or choose another "
        "HEADWATER_NAMESPACE."
    ]


def _size_problem(configs: dict[str, dict[str, str]], settings: Settings) -> list[str]:
    """A dead letter is the record as received: its topic must take whatever the intake topics take."""
    names = {topic.name: name for name, topic in _names(settings).items() if name in configs}
    if "dead-letters" not in names:
        return []
    limits = _limits(configs)
    intake = [limits[names[topic.name]] for topic in TOPICS.values() if topic.intake and topic.name in names]
    largest = max([settings.max_record_bytes, *intake])
    name = names["dead-letters"]
    if limits[name] > largest:
        return []
    return [
        f"Topic {name} takes {limits[name]} bytes, and records of up to {largest} can come in: the "
        "largest could not become dead letters. "
        f"{_alter(name, 'max.message.bytes', largest + DEAD_LETTER_HEADROOM)}."
    ]


def _limits(configs: dict[str, dict[str, str]]) -> dict[str, int]:
    return {name: int(config["max.message.bytes"]) for name, config in configs.items()}


def _alter(name: str, setting: str, value: object) -> str:
    command = f"kafka-configs.sh --alter --entity-type topics --entity-name {name}"
    return f"Run `{command} --add-config {setting}={value}`"
