"""Leaving the group at once. A static member of librdkafka never says goodbye; aiokafka's protocol says it for it.

The connection is described by the same settings as in `streams.kafka.clients`, in aiokafka's words.
"""

from __future__ import annotations

from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.group import LeaveGroupRequest

from streams.settings import Settings


async def leave_group(settings: Settings, group: str, member_id: str) -> None:
    """Tells the group's coordinator that this member has gone. Raises KafkaError, and whatever stops a connection."""
    client = AIOKafkaClient(client_id="headwater-worker", **_connection(settings))
    try:
        await client.bootstrap()
        node = await client.coordinator_lookup(CoordinationType.GROUP, group)
        await client.ready(node, group=ConnectionGroup.COORDINATION)
        await client.send(node, LeaveGroupRequest(group, member_id), group=ConnectionGroup.COORDINATION)
    finally:
        await client.close()


def _connection(settings: Settings) -> dict[str, Any]:
    """Arguments of an aiokafka client. Holds secrets: don't log it. Raises ValueError without an address."""
    if not settings.kafka_bootstrap_servers:
        raise ValueError(
            "There is no Kafka to connect to. Set HEADWATER_KAFKA_BOOTSTRAP_SERVERS=host:port, or start an embedded "
            "one with `headwater up`."
        )
    protocol = settings.kafka_security_protocol
    found: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": protocol,
    }
    if protocol.startswith("SASL"):
        found["sasl_mechanism"] = settings.kafka_sasl_mechanism or "PLAIN"
        found["sasl_plain_username"] = settings.kafka_sasl_username
        if settings.kafka_sasl_password is not None:
            found["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    if protocol.endswith("SSL"):
        password = settings.kafka_ssl_key_password
        found["ssl_context"] = create_ssl_context(
            cafile=_text(settings.kafka_ssl_ca_location),
            certfile=_text(settings.kafka_ssl_certificate_location),
            keyfile=_text(settings.kafka_ssl_key_location),
            password=password.get_secret_value() if password else None,
        )
    return found


def _text(path: Any) -> str | None:
    return None if path is None else str(path)
