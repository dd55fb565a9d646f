"""What a batch comes to: the pure step, and its results made ready for the store and for Kafka.

In: a World, users, events. Out: an Outcome: users as fields, messages as bytes. If the step raises, or makes something
that can't be written, each event is tried alone; one that fails alone is set aside, and no other event suffers for it.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from schemas.decode import VALUE, Malformed
from streams.observe import metrics
from streams.worker import faults
from streams.worker.outbox import Envelopes

log = structlog.get_logger(__name__)

STEP_FAILED = "step_failed"


@dataclass(frozen=True, slots=True)
class Core:
    """The pure core, and the World it sees: everything the worker needs to know of recommending.

    `world()` gives the newest World (with `.names`) and, for each topic it was built from, partition -> next offset.
    """

    decode: Callable[[bytes | None, bytes | None, int], Any]
    incoming: Callable[[Any, int, int, int], Any]
    step: Callable[[Any, Mapping[str, Any], Sequence[Any], Any], Any]
    encode_user: Callable[[Any], Mapping[str, bytes]]
    decode_user: Callable[[str, Mapping[bytes, bytes]], Any]
    world: Callable[[], tuple[Any, Mapping[str, Mapping[int, int]]]]
    policy: Any


@dataclass(slots=True)
class Outcome:
    """`changed`: users by id, None where erased; `fields`: the same, encoded. `entries`: (offset of the causing event,
    message), in the order of the log. `kinds`: recommendations by kind. `refused`: (offset, why) of events left out."""

    changed: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Mapping[str, bytes] | None] = field(default_factory=dict)
    entries: list[tuple[int, bytes]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[int, Malformed]] = field(default_factory=list)


def outcome(
    core: Core, envelopes: Envelopes, world: Any, users: Mapping[str, Any], events: Sequence[Any], received_ms: int
) -> Outcome:
    """All events at once if that goes well, else one by one. Never raises."""
    try:
        return _together(core, envelopes, world, users, events, received_ms)
    except Exception as error:
        _tell("worker.batch_failed", error, events=len(events))
    return _one_by_one(core, envelopes, world, users, events, received_ms)


def _together(
    core: Core, envelopes: Envelopes, world: Any, users: Mapping[str, Any], events: Sequence[Any], received_ms: int
) -> Outcome:
    result = core.step(world, users, events, core.policy)
    faults.passed("step")
    started = time.perf_counter()
    made = Outcome(changed=result.users)
    emitted_ms = time.time_ns() // 1_000_000
    for message in result.messages:
        made.entries.append((events[message.source].offset, envelopes.message(message, received_ms, emitted_ms)))
        if message.topic == "recommendations":
            made.kinds[message.value.get("kind", "")] += 1
            metrics.FRESHNESS_SECONDS.observe((emitted_ms - received_ms) / 1000)
    encode_user = core.encode_user
    made.fields = {user_id: None if user is None else encode_user(user) for user_id, user in result.users.items()}
    metrics.STAGE_SECONDS.labels("encode").observe(time.perf_counter() - started)
    return made


def _one_by_one(
    core: Core, envelopes: Envelopes, world: Any, users: Mapping[str, Any], events: Sequence[Any], received_ms: int
) -> Outcome:
    now, whole = dict(users), Outcome()
    for one in events:
        user_id = one.event.user_id
        try:
            made = _together(core, envelopes, world, {user_id: now[user_id]}, [one], received_ms)
        except Exception as error:
            _tell("worker.event_failed", error, partition=one.partition, offset=one.offset)
            expected = f"an event that the step can apply (it raised {type(error).__name__})"
            whole.refused.append((one.offset, Malformed(STEP_FAILED, VALUE, expected)))  # type: ignore[arg-type]
            continue
        for changed_id, user in made.changed.items():
            now[changed_id] = core.decode_user(changed_id, {}) if user is None else user
        whole.changed |= made.changed
        whole.fields |= made.fields
        whole.entries += made.entries
        whole.kinds += made.kinds
    return whole


def _tell(line: str, error: Exception, **where: Any) -> None:
    """An exception's place and kind, without its text, which may repeat what a person wrote."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    log.error(line, error=type(error).__name__, at=[f"{one.filename}:{one.lineno}" for one in frames], **where)
    log.debug(line, text=str(error))
