"""Replay from files: items, a log, and the step. No services.

In: files, a Span, the settings. Out: users on the shelf, recommendations in the recording, a Tally. All items are there
from the first event on, and what was learnt stands still: statistics, text encoder and models of pinned releases, or
none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from recsys.step import Incoming
from recsys.world import World
from streams.models import load_models
from streams.records.files import Format
from streams.replay.errors import ReplayError
from streams.replay.pinned import NONE, pinned_releases
from streams.replay.player import Player
from streams.replay.rows import Faults, events_of, items_of
from streams.replay.span import Span
from streams.replay.stock import file_world
from streams.replay.watching import Watch
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Sources:
    """What to replay. `release`: what to pin (`streams.replay.pinned`). `user`: only the log of this user."""

    items: Sequence[str]
    events: Sequence[str]
    format: Format | None = None
    release: str | None = None
    user: str | None = None


def replay_files(
    sources: Sources,
    settings: Settings,
    player: Player,
    span: Span,
    watch: Watch,
    *,
    strict: bool = False,
    batch: int | None = None,
) -> World:
    """Replays; the World it used. Raises Unreadable, ReplayError, ReleaseUnusable, ModelMissing."""
    faults = Faults(player.tally, watch.say, strict=strict)
    items = items_of(sources.items, settings.max_record_bytes, faults, sources.format, watch.file)
    if not items:
        watch.say(f"There are no items in {', '.join(sources.items)}: recommendations will be empty.")
    pinned = pinned_releases(settings, sources.release or NONE, watch.say)
    models = load_models(settings, ahead=False)
    encoder = pinned.encoder(models.encoder_id)
    world = file_world(settings, models, items, pinned.statistics(), encoder, watch.steps("encoding texts"))
    world = pinned.onto(world, models.encoder_id, encoder)
    del items
    before = player.tally.refused.total()
    started = time.perf_counter()
    events = events_of(
        sources.events, settings.kafka_partitions, settings.max_record_bytes, faults, sources.format, watch.file
    )
    play_all(world, events, player, span, user=sources.user, batch=batch, tick=watch.tick)
    player.tally.seconds = time.perf_counter() - started
    faults.finish()
    if (mark := span.missing()) is not None:
        raise ReplayError(f"There is no {mark} in {', '.join(sources.events)}. Give the event_id of one of its rows.")
    if not player.tally.events:
        watch.say(_nothing(sources.events, player, before))
    return world


def play_all(
    world: World,
    events: Iterator[Incoming],
    player: Player,
    span: Span,
    *,
    user: str | None = None,
    batch: int | None = None,
    tick: Callable[[int], None] = lambda _: None,
) -> None:
    """Applies the events of the span in one World. `batch`: events of a step, None for as many as are quick; `tick` is
    told how many are done."""
    chosen = _chosen(events, user, player, span)
    while part := list(islice(chosen, batch or player.room)):
        player.play(world, [one for one, _ in part], None if span.since is None else [kept for _, kept in part])
        tick(player.tally.events)


def _chosen(
    events: Iterator[Incoming], user: str | None, player: Player, span: Span
) -> Iterator[tuple[Incoming, bool]]:
    """The events of the span, each with whether what it causes is written."""
    latest = -(2**63)
    tally, whole = player.tally, span.whole
    for one in events:
        event = one.event
        if event.ts < latest:
            tally.unsorted += 1
        else:
            latest = event.ts
        if user is not None and event.user_id != user:
            if span.until is not None and event.event_id == span.until.event_id:
                span.found_until = True
                return
            continue
        if whole:
            yield one, True
        elif span.applies(event):
            yield one, span.records(event)
        if span.over:
            return


def _nothing(paths: Sequence[str], player: Player, before: int) -> str:
    refused = player.tally.refused.total() - before
    if not refused:
        return f"There are no events in {', '.join(paths)}: nothing to replay."
    hint = ""
    if player.tally.refused["not_utf8"]:
        hint = " If the file is UTF-16, convert it first: `iconv -f UTF-16 -t UTF-8`."
    return f"None of the {refused:,} rows of {', '.join(paths)} is an event.{hint}"
