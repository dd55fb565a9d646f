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
from typing import Any, NamedTuple

import structlog

from schemas.decode import VALUE, Malformed
from streams import faults
from streams.observe import metrics
from streams.worker.outbox import Envelopes

log = structlog.get_logger(__name__)

STEP_FAILED = "step_failed"


@dataclass(frozen=True, slots=True)
class Core:
    """The pure core, and the World it sees: everything the worker needs to know of recommending.

    `encode_user(user, before)` gives the fields that the store has to be told, holding `before`; `world()` the newest
    World (with `.names`) and, for each topic it was built from, partition -> next offset.
    """

    decode: Callable[[bytes | None, bytes | None, int], Any]
    incoming: Callable[[Any, int, int, int], Any]
    step: Callable[[Any, Mapping[str, Any], Sequence[Any], Any], Any]
    encode_user: Callable[[Any, Any], Mapping[str, bytes]]
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


class Group(NamedTuple):
    """What is stepped of one partition: its users, events in the order of the log, and when these were received."""

    users: Mapping[str, Any]
    events: Sequence[Any]
    received_ms: int


def outcome(
    core: Core, envelopes: Envelopes, world: Any, users: Mapping[str, Any], events: Sequence[Any], received_ms: int
) -> Outcome:
    """All events at once if that goes well, else one by one. Never raises."""
    try:
        return _together(core, envelopes, world, [Group(users, events, received_ms)])[0]
    except Exception as error:
        _tell("worker.batch_failed", error, events=len(events))
    return _one_by_one(core, envelopes, world, users, events, received_ms)


def outcomes(core: Core, envelopes: Envelopes, world: Any, groups: Sequence[Group]) -> list[Outcome]:
    """An Outcome for each group, all in one step where that is the same: a step of one event costs nearly as much as
    one of ten, so partitions that wait together are stepped together. Never raises."""
    if len(groups) > 1 and len({name for group in groups for name in group.users}) == sum(len(g.users) for g in groups):
        try:
            return _together(core, envelopes, world, groups)
        except Exception as error:
            _tell("worker.batches_failed", error, groups=len(groups))
    return [outcome(core, envelopes, world, group.users, group.events, group.received_ms) for group in groups]


def _together(core: Core, envelopes: Envelopes, world: Any, groups: Sequence[Group]) -> list[Outcome]:
    """One step over groups that have no user in common; its results by group."""
    events = [event for group in groups for event in group.events]
    users: dict[str, Any] = {}
    for group in groups:
        users.update(group.users)
    result = core.step(world, users, events, core.policy)
    faults.passed("step")
    started = time.perf_counter()
    made = [Outcome() for _ in groups]
    group_of_event = [at for at, group in enumerate(groups) for _ in group.events]
    group_of_user = {user_id: at for at, group in enumerate(groups) for user_id in group.users}
    emitted_ms = time.time_ns() // 1_000_000
    for message in result.messages:
        at = group_of_event[message.source]
        received_ms = groups[at].received_ms
        payload = envelopes.message(message, received_ms, emitted_ms)
        made[at].entries.append((events[message.source].offset, payload))
        if message.topic == "recommendations":
            made[at].kinds[message.value.get("kind", "")] += 1
            metrics.FRESHNESS_SECONDS.observe((emitted_ms - received_ms) / 1000)
    encode_user = core.encode_user
    for user_id, user in result.users.items():
        one = made[group_of_user[user_id]]
        one.changed[user_id] = user
        one.fields[user_id] = None if user is None else encode_user(user, users[user_id])
    metrics.STAGE_SECONDS.labels("encode").observe(time.perf_counter() - started)
    return made


def _one_by_one(
    core: Core, envelopes: Envelopes, world: Any, users: Mapping[str, Any], events: Sequence[Any], received_ms: int
) -> Outcome:
    now, whole = dict(users), Outcome()
    for one in events:
        user_id = one.event.user_id
        try:
            made = _together(core, envelopes, world, [Group({user_id: now[user_id]}, [one], received_ms)])[0]
        except Exception as error:
            _tell("worker.event_failed", error, partition=one.partition, offset=one.offset)
            expected = f"an event that the step can apply (it raised {type(error).__name__})"
            whole.refused.append((one.offset, Malformed(STEP_FAILED, VALUE, expected)))  # type: ignore[arg-type]
            continue
        for changed_id, user in made.changed.items():
            now[changed_id] = core.decode_user(changed_id, {}) if user is None else user
        whole.changed |= made.changed
        whole.entries += made.entries
        whole.kinds += made.kinds
    for user_id, user in whole.changed.items():
        whole.fields[user_id] = None if user is None else core.encode_user(user, users[user_id])
    return whole


def _tell(line: str, error: Exception, **where: Any) -> None:
    """An exception's place and kind, without its text, which may repeat what a person wrote."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    log.error(line, error=type(error).__name__, at=[f"{one.filename}:{one.lineno}" for one in frames], **where)
    log.debug(line, text=str(error))
