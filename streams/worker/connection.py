"""How aiokafka reaches the cluster that the settings name; the same settings as `streams.kafka.clients`, its words."""

from __future__ import annotations

from typing import Any

from aiokafka.helpers import create_ssl_context

from streams.settings import Settings


def aiokafka_connection(settings: Settings) -> dict[str, Any]:
    """Arguments of every aiokafka client. Holds secrets: don't log it. Raises ValueError without an address."""
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
