"""The one place that makes confluent-kafka clients: producers, consumers, admins.

In: the settings (addresses, SASL, TLS), or an explicit bootstrap address. Out: clients that agree where they
have to: on the partitioner, so that one user stays on one partition, and on sizes, so that what came in can
go out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from streams.settings import Settings

# A record over the limit may have come in well compressed; the broker's own limit decides, not this client.
_LARGEST_MESSAGE = 256 << 20

_LOG = logging.getLogger("headwater.kafka")  # librdkafka's own lines, handed over whenever a client polls

_SECURITY = {
    "security.protocol": "kafka_security_protocol",
    "sasl.mechanism": "kafka_sasl_mechanism",
    "sasl.username": "kafka_sasl_username",
    "sasl.password": "kafka_sasl_password",
    "ssl.ca.location": "kafka_ssl_ca_location",
    "ssl.certificate.location": "kafka_ssl_certificate_location",
    "ssl.key.location": "kafka_ssl_key_location",
    "ssl.key.password": "kafka_ssl_key_password",
}


class NoBootstrap(ValueError):  # noqa: N818
    """Neither the caller nor the settings say where Kafka is."""


class KafkaUnreachable(ConnectionError):  # noqa: N818
    """No broker answered, or none let us in. The message says where and what to check."""


def client_config(settings: Settings, bootstrap: str | None = None) -> dict[str, Any]:
    """What every librdkafka client needs. `bootstrap` wins over the settings. Holds secrets: don't log it.

    Raises NoBootstrap when neither names an address.
    """
    address = bootstrap or settings.kafka_bootstrap_servers
    if not address:
        raise NoBootstrap(
            "There is no Kafka to connect to. Set HEADWATER_KAFKA_BOOTSTRAP_SERVERS=host:port, or start an "
            "embedded one with `headwater up`."
        )
    config: dict[str, Any] = {
        "bootstrap.servers": address,
        "client.id": "headwater",
        # back to a broker that restarts within a second or two, without hammering one that stays away
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2000,
        "log.connection.close": False,
        "logger": _LOG,
    }
    for name, field in _SECURITY.items():
        value = getattr(settings, field)
        if value is not None:
            config[name] = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
    return config


def producer(
    settings: Settings,
    *,
    bootstrap: str | None = None,
    linger_ms: float = 5,
    extra: Mapping[str, Any] | None = None,
) -> Producer:
    """An idempotent producer. `linger_ms`: how long to wait for more, so as to send together.

    `extra`: librdkafka's own settings, which win, e.g. `{"message.timeout.ms": 10_000}`.
    """
    config = client_config(settings, bootstrap) | {
        "enable.idempotence": True,
        # librdkafka's default disagrees with every Java and aiokafka client
        "partitioner": "murmur2_random",
        "linger.ms": linger_ms,
        "compression.type": "lz4",
        "message.max.bytes": _LARGEST_MESSAGE,
        # brokers hold a batch against the limit that a topic sets for a record (`schemas.topics`): with a small limit
        # many small records together were refused
        "batch.size": min(1_000_000, 4 * settings.max_record_bytes),
    }
    return Producer(config | dict(extra or {}))


def consumer(
    settings: Settings, group: str, *, bootstrap: str | None = None, extra: Mapping[str, Any] | None = None
) -> Consumer:
    """A consumer that starts at the beginning where its group has no position, and commits only when told to.

    `group` is taken as it is: put the namespace into it. `extra` as for `producer`.
    """
    config = client_config(settings, bootstrap) | {
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "allow.auto.create.topics": False,
        # a topic that appears later is found within this time
        "topic.metadata.refresh.interval.ms": 10_000,
    }
    return Consumer(config | dict(extra or {}))


def admin(settings: Settings, *, bootstrap: str | None = None) -> AdminClient:
    """An admin client. It connects when first asked something."""
    # nobody polls it, and what goes wrong comes back as an exception: its log would only pile up
    return AdminClient(client_config(settings, bootstrap) | {"log_level": 0})


def unreachable(error: KafkaException, settings: Settings, bootstrap: str | None = None) -> KafkaUnreachable | None:
    """`error` as a KafkaUnreachable, if it says that no broker answered or let us in; else None."""
    cause = error.args[0] if error.args else None
    if not isinstance(cause, KafkaError):
        return None
    address = bootstrap or settings.kafka_bootstrap_servers
    code = cause.code()
    if code in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
        return KafkaUnreachable(
            f"Kafka at {address} refused the credentials ({cause.str()}). Check "
            "HEADWATER_KAFKA_SASL_MECHANISM, HEADWATER_KAFKA_SASL_USERNAME and HEADWATER_KAFKA_SASL_PASSWORD."
        )
    if code in (
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
    ):
        return KafkaUnreachable(
            f"No Kafka answers at {address} ({cause.str()}). Check that it runs, that this machine reaches "
            "the address, and that HEADWATER_KAFKA_SECURITY_PROTOCOL is what the listener speaks."
        )
    return None
