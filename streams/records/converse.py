"""A conversation with the recommender: a chat event out, the recommendation that answers it back.

In: what a person types. Out: the Recommendation whose trigger is that event, or a TimeoutError that says where to look.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import orjson

from schemas.topics import TOPICS
from schemas.wire import encode
from streams.records.read import assign, ends
from streams.records.send import Sender

WAIT_S = 0.05


class Conversation:
    """One user's conversation. `consumer` and `producer` are confluent_kafka clients that it may use alone."""

    def __init__(self, consumer: Any, producer: Any, namespace: str, user: str) -> None:
        self._consumer, self._producer = consumer, producer
        self._events = TOPICS["events"].full_name(namespace)
        self._answers = TOPICS["recommendations"].full_name(namespace)
        self._user = user
        self._id = uuid.uuid4().hex
        # from the ends as they are now, so that no answer to come is missed, and none from before is read
        assign(consumer, self._answers, {part: high for part, (_, high) in ends(consumer, self._answers).items()})

    def say(self, text: str, timeout_s: float) -> dict[str, Any]:
        """Sends `text` as the user and returns the recommendation that answers it.

        Raises TimeoutError when none comes within `timeout_s` seconds, ConnectionError when the event can't be sent.
        """
        event_id = uuid.uuid4().hex
        event = {
            "event_id": event_id,
            "type": "chat",
            "user_id": self._user,
            "ts": time.time_ns() // 1_000_000,
            "text": text,
            "conversation_id": self._id,
        }
        sender = Sender(self._producer, self._events)
        sender.send(self._user.encode(), encode(event))
        if (tally := sender.finish(timeout_s)).failed:
            raise ConnectionError(f"Kafka did not take the message: {tally.problem}")
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            for message in self._consumer.consume(100, timeout=WAIT_S):
                if message.error() is not None or message.key() != self._user.encode():
                    continue
                answer = orjson.loads(message.value())
                if answer.get("trigger", {}).get("event_id") == event_id:
                    return dict(answer)
        raise TimeoutError(
            f"The message was sent (event {event_id}) and no answer came within {timeout_s:g} s. Is a worker "
            "running? `headwater doctor` says; `headwater dead-letters list` shows whether the message was refused."
        )
