"""A worker with a stand-in for the core, as a process of its own: `python stand_in.py`, settings from the environment.

Its step folds each event into a User made of bytes (how many events, and a hash over them in their order), so that any
event lost, doubled, or out of order shows; and says so in a recommendation. What an event's `context` asks for:
`{"quiet": true}` no message, `{"poison": true}` the step raises.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from schemas.decode import decode_event
from streams.settings import Settings
from streams.worker.outcome import Core


@dataclass
class Incoming:
    event: Any
    partition: int
    offset: int
    received_ts: int


@dataclass
class Message:
    topic: str
    key: str
    message_id: str
    type: str
    value: dict[str, Any]
    source: int


@dataclass
class Result:
    users: dict[str, Any] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)


@dataclass
class World:
    names: dict[str, str]


WORLD = World({"release_id": "none", "statistics_id": "none", "catalogue_version": "0"})
SLOW_S = float(os.environ.get("STAND_IN_SLOW_S", "0"))  # a step takes this long


def step(world: World, users: Any, events: Any, policy: Any) -> Result:
    result = Result()
    now = dict(users)
    for source, incoming in enumerate(events):
        event = incoming.event
        if event.context.get("poison"):
            raise RuntimeError(f"poison: {event.event_id}")
        if event.type == "forget":
            now[event.user_id] = (0, b"")
            result.users[event.user_id] = None
        else:
            count, digest = now[event.user_id]
            digest = hashlib.sha256(digest + event.event_id.encode()).digest()
            now[event.user_id] = result.users[event.user_id] = (count + 1, digest)
        if event.context.get("quiet"):
            continue
        count, digest = now[event.user_id]
        value = {
            "rec_id": f"r-{event.event_id}", "user_id": event.user_id, "kind": "ranking", "count": count,
            "digest": digest.hex(), "world": world.names, "timing": {"event_ts": event.ts},
        }  # fmt: skip
        result.messages.append(
            Message("recommendations", event.user_id, f"r-{event.event_id}", "headwater.recommendation", value, source)
        )
    if SLOW_S:
        time.sleep(SLOW_S)
    return result


def encode_user(user: tuple[int, bytes], stored: tuple[int, bytes]) -> dict[str, bytes]:
    return {"state": b"%d:%s" % (user[0], user[1].hex().encode()), "profile": b"seen %d events" % user[0]}


def decode_user(user_id: str, fields: Any) -> tuple[int, bytes]:
    count, _, digest = fields.get(b"state", b"0:").partition(b":")
    return int(count), bytes.fromhex(digest.decode())


def core(settings: Settings, world: World = WORLD) -> Core:
    return Core(decode_event, Incoming, step, encode_user, decode_user, lambda: (world, {}), settings.policy)


if __name__ == "__main__":
    from streams.observe import logs
    from streams.worker import role

    mine = Settings()
    logs.configure("info", "console", role="worker", instance=mine.worker_id)
    role.run_core(mine, int(sys.argv[1]) if len(sys.argv) > 1 else 0, core(mine))
