"""Replay from Kafka: the events topic again, each stretch of it in the World that the journal names for it.

In: a namespace, as it stood when the replay began. Out: users on the shelf, recommendations in the recording, a Tally.
What is folded before `--since` is folded too, since it made the users what they are; only its recommendations are not
written.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from recsys.step import Incoming
from schemas.decode import Malformed, decode_event
from streams.kafka.partition import partition_of
from streams.models import load_models
from streams.replay.errors import ReplayError, WorldGone
from streams.replay.journal import Stretch, stretches
from streams.replay.player import Player
from streams.replay.recording import Recording
from streams.replay.span import Mark, Span
from streams.replay.tape import Tape
from streams.replay.watching import Watch
from streams.replay.worlds import Worlds
from streams.settings import Settings


@dataclass(slots=True)
class Range:
    """Which part of the topic: by time in `span`, by offset in `begins` and `ends` (of partitions that are named)."""

    span: Span
    begins: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)


def replay_topic(
    settings: Settings,
    player: Player,
    span: Span,
    watch: Watch,
    *,
    tolerant: bool = False,
    user: str | None = None,
    batch: int | None = None,
) -> int:
    """Replays; how many partitions the topic has. `user`: only this one's log. Raises ReplayError, KafkaException."""
    with Tape(settings, "events") as events:
        if not sum(events.ends.values()):
            watch.say(f"There are no events in namespace {settings.namespace}: nothing to replay.")
            return len(events.ends)
        _is_whole(events, watch, tolerant)
        part = _range(settings, events, span)
        parts = stretches(settings, events, watch.say, tolerant=tolerant)
        if user is not None:
            home = partition_of(user, len(events.ends))
            parts = {home: parts.get(home, [])}
        models = load_models(settings, ahead=False)
        total = sum(end - events.lows[p] for p, end in events.ends.items() if p in parts)
        watch.task(f"events of {settings.namespace}", total, lambda: events.read)
        started = time.perf_counter()
        every = [stretch for one in parts.values() for stretch in one]
        with Worlds(settings, models, every, watch.say, tolerant=tolerant) as worlds:
            for group in _in_order(parts):
                _play(group, events, worlds, player, part, user, batch, settings, watch, tolerant)
        player.tally.seconds = time.perf_counter() - started
        return len(events.ends)


def recorded(settings: Settings, recording: Recording, watch: Watch) -> None:
    """Puts what the recommendations topic holds into a recording. Raises KafkaException."""
    with Tape(settings, "recommendations") as tape:
        gone = sum(tape.lows.values())
        if gone:
            watch.say(f"The oldest {gone:,} recommendations of the topic are gone: it keeps them for a time only.")
        watch.task(f"recommendations of {settings.namespace}", sum(tape.ends.values()) - gone, lambda: tape.read)
        for message in tape.all():
            try:
                recording.add_line(message.value() or b"")
            except ValueError:
                watch.say(f"recommendations, partition {message.partition()}, offset {message.offset()}: not one")
            watch.tick(tape.read)


def _is_whole(events: Tape, watch: Watch, tolerant: bool) -> None:
    lost = {p: low for p, low in events.lows.items() if low}
    if not lost:
        return
    where = ", ".join(f"partition {p} before offset {low}" for p, low in sorted(lost.items()))
    if not tolerant:
        raise WorldGone(
            f"The oldest events are gone ({where}): users cannot become what they were. Replay from an archive of the "
            "log (`headwater replay --events`), or go on with --tolerant and begin with unknown users."
        )
    watch.say(f"The oldest events are gone ({where}): users begin unknown there.")


def _range(settings: Settings, events: Tape, span: Span) -> Range:
    """An event's id means its place in the log, and on other partitions the moment at which it arrived there."""
    found = Range(Span(_of_time(span.since), _of_time(span.until)))
    marks = [(mark, into, late) for mark, into, late in ((span.since, found.begins, 0), (span.until, found.ends, 1))
             if mark is not None and mark.event_id is not None]  # fmt: skip
    if not marks:
        return found
    wanted = {mark.event_id: (into, late) for mark, into, late in marks if mark.event_id}
    marked: dict[str, tuple[int, int, int]] = {}
    with Tape(settings, "events") as tape:
        for message in tape.all():
            value = message.value() or b""
            for event_id in wanted.keys() - marked.keys():
                if event_id.encode() in value:
                    event = decode_event(message.key(), value, settings.max_record_bytes)
                    if not isinstance(event, Malformed) and event.event_id == event_id:
                        marked[event_id] = (message.partition() or 0, message.offset() or 0, message.timestamp()[1])
            if len(marked) == len(wanted):
                break
        for mark, into, late in marks:
            if mark.event_id not in marked:
                raise ReplayError(f"There is no {mark} on the events topic of {settings.namespace}.")
            partition, offset, arrived = marked[mark.event_id]
            into.update(events.offsets_at(arrived + late))
            into[partition] = offset + late
    return found


def _of_time(mark: Mark | None) -> Mark | None:
    return mark if mark is not None and mark.ts is not None else None


def _in_order(parts: dict[int, list[Stretch]]) -> Iterator[list[Stretch]]:
    """Groups of stretches of one World, one a partition at most: each partition's in its order, and Worlds as nearly
    in theirs as that allows."""
    heads = [(stretches[0].order, p, 0) for p, stretches in parts.items() if stretches]
    heapq.heapify(heads)
    while heads:
        _, number, at = heapq.heappop(heads)
        group = [(number, at)]
        first = parts[number][at]
        for other in [one for one in heads if parts[one[1]][one[2]].same_world(first)]:
            heads.remove(other)
            group.append((other[1], other[2]))
        heapq.heapify(heads)
        yield [parts[p][n] for p, n in group]
        for p, n in group:
            if n + 1 < len(parts[p]):
                heapq.heappush(heads, (parts[p][n + 1].order, p, n + 1))


def _play(
    group: list[Stretch],
    events: Tape,
    worlds: Worlds,
    player: Player,
    part: Range,
    user: str | None,
    batch: int | None,
    settings: Settings,
    watch: Watch,
    tolerant: bool,
) -> None:
    waiting: list[tuple[Incoming, bool]] = []

    def flush() -> None:
        if waiting:
            marks = None if part.span.since is None and not part.begins else [kept for _, kept in waiting]
            player.play(worlds.of(group[0]), [one for one, _ in waiting], marks)
            waiting.clear()
            watch.tick(player.tally.events)

    for stretch in group:
        end = min(stretch.end, part.ends.get(stretch.partition, stretch.end))
        for one in _events(events, stretch, end, player, settings, user, _unserved(stretch, watch.say, tolerant)):
            if part.span.applies(one.event):
                since = part.begins.get(stretch.partition, 0)
                waiting.append((one, part.span.records(one.event) and one.offset >= since))
                if len(waiting) >= (batch or player.room):
                    flush()
    flush()


def _events(
    tape: Tape,
    stretch: Stretch,
    end: int,
    player: Player,
    settings: Settings,
    user: str | None,
    before: Callable[[int], None],
) -> Iterator[Incoming]:
    """The events of a stretch up to `end`. `before` is told of an event that lies before the stretch."""
    key = None if user is None else user.encode()
    for message in tape.upto(stretch.partition, end):
        if key is not None and message.key() != key:
            continue
        event = decode_event(message.key(), message.value(), settings.max_record_bytes)
        if isinstance(event, Malformed):
            player.tally.refused[str(event.reason)] += 1
            continue
        offset = message.offset() or 0
        if offset < stretch.start:
            before(offset)
        yield Incoming(event, stretch.partition, offset)


def _unserved(stretch: Stretch, say: Callable[[str], None], tolerant: bool) -> Callable[[int], None]:
    """Events that stand before the first entry of the journal: a worker dead-letters such, or the entry is gone."""

    def told(offset: int) -> None:
        if not tolerant:
            raise WorldGone(
                f"The journal does not say which World served offset {offset} of partition {stretch.partition}: its "
                f"first entry is of offset {stretch.start}. Go on with --tolerant (that World serves it)."
            )
        say(f"partition {stretch.partition}: offset {offset} is replayed in the World of offset {stretch.start}")

    return told
