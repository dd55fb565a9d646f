"""What others read: a JSON Schema for each record, and one AsyncAPI 3 document of all topics.

In: the models and the topic table. Out: plain dicts; `headwater schemas export` writes them to files. Schemas
describe the JSON that is accepted on the wire, so `ts` is a number or a date-time there.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter

from schemas.decode import Reason
from schemas.headers import CLOUDEVENT_HEADERS, DEAD_LETTER_HEADERS
from schemas.topics import TOPICS, Topic

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_INLINE = "#/$defs/{model}"
_SHARED = "#/components/schemas/{model}"

_HEADER_MEANINGS = {
    "ce_specversion": "CloudEvents version, 1.0",
    "ce_id": "id of the message, derived from what caused it",
    "ce_type": "kind of message",
    "ce_source": "who made it",
    "ce_time": "time of the event, RFC 3339",
    "content-type": "application/json",
    "dlq_reason": "why it is malformed: a code",
    "dlq_path": "the field at fault, or (key), or (value)",
    "dlq_expected": "what was expected there",
    "dlq_topic": "topic it was read from",
    "dlq_partition": "partition it was read from",
    "dlq_offset": "its offset there",
    "dlq_time": "when it was set aside, RFC 3339",
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """`<topic>.v<version>` -> the JSON Schema (draft 2020-12) of its records' values."""
    return {
        f"{topic.name}.v{topic.version}": {
            "$schema": DIALECT,
            "$id": f"urn:headwater:{topic.name}:v{topic.version}",
            "description": topic.description,
            **_schema(topic, _INLINE),
        }
        for topic in TOPICS.values()
        if topic.record is not None
    }


def asyncapi(namespace: str, partitions: int, version: str, max_record_bytes: int = 1 << 20) -> dict[str, Any]:
    """The AsyncAPI 3.0 document, as seen from Headwater. `version` is the distribution's."""
    components: dict[str, Any] = {
        "CloudEventHeaders": _headers(CLOUDEVENT_HEADERS),
        "DeadLetterHeaders": _headers(DEAD_LETTER_HEADERS),
    }
    components["DeadLetterHeaders"]["properties"]["dlq_reason"]["enum"] = [reason.value for reason in Reason]
    components["DeadLetterHeaders"]["required"] = list(DEAD_LETTER_HEADERS)
    messages = {}
    for topic in TOPICS.values():
        if topic.record is not None:
            schema = _schema(topic, _SHARED)
            components.update(schema.pop("$defs", {}))
            components[_pascal(topic)] = schema
        messages[_pascal(topic)] = _message(topic)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Headwater",
            "version": version,
            "description": "A real-time recommender on Kafka: events in, explained recommendations out.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic, namespace, partitions, max_record_bytes) for topic in TOPICS.values()},
        "operations": dict(_operation(topic, action) for topic in TOPICS.values() for action in _actions(topic)),
        "components": {"schemas": components, "messages": messages},
    }


def _schema(topic: Topic, reference: str) -> dict[str, Any]:
    if isinstance(topic.record, type) and issubclass(topic.record, BaseModel):
        return topic.record.model_json_schema(ref_template=reference)
    schema = TypeAdapter(topic.record).json_schema(ref_template=reference)
    # OpenAPI's word: neither JSON Schema nor AsyncAPI knows it in this form; each member has its `type`
    schema.pop("discriminator", None)
    return schema


def _message(topic: Topic) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": topic.name,
        "title": _pascal(topic),
        "summary": topic.description,
        "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}}},
    }
    if topic.record is None:
        headers = "DeadLetterHeaders"
        message["contentType"] = "application/octet-stream"
        message["payload"] = {"description": "the bytes as received"}
    else:
        headers = "CloudEventHeaders"
        payload: dict[str, Any] = {"$ref": _SHARED.format(model=_pascal(topic))}
        message["payload"] = {"anyOf": [payload, {"type": "null"}]} if topic.nullable else payload
    message["headers"] = {"$ref": _SHARED.format(model=headers)}
    return message


def _channel(topic: Topic, namespace: str, partitions: int, max_record_bytes: int) -> dict[str, Any]:
    config = topic.config(max_record_bytes)
    numbers = {name: int(value) for name, value in config.items() if name in ("max.message.bytes", "retention.ms")}
    return {
        "address": topic.full_name(namespace),
        "description": topic.description,
        "messages": {topic.name: {"$ref": f"#/components/messages/{_pascal(topic)}"}},
        "bindings": {
            "kafka": {
                "topic": topic.full_name(namespace),
                "partitions": topic.partitions(partitions),
                "topicConfiguration": {"cleanup.policy": config["cleanup.policy"].split(","), **numbers},
            }
        },
    }


def _actions(topic: Topic) -> tuple[str, ...]:
    return {"in": ("receive",), "out": ("send",), "internal": ("receive", "send")}[topic.direction]


def _operation(topic: Topic, action: str) -> tuple[str, dict[str, Any]]:
    channel = f"#/channels/{topic.name}"
    return f"{action}-{topic.name}", {
        "action": action,
        "channel": {"$ref": channel},
        "summary": topic.description,
        "messages": [{"$ref": f"{channel}/messages/{topic.name}"}],
    }


def _headers(names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": _HEADER_MEANINGS[name]} for name in names},
    }


def _pascal(topic: Topic) -> str:
    """Name of the topic's message, e.g. `TrainingExamplesRecord`; no model is called like that."""
    return "".join(part.capitalize() for part in topic.name.split("-")) + "Record"
