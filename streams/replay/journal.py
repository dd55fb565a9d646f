"""Journal: which World served from which offset on, as the workers wrote it down.

In: `<ns>.journal.v1`. Out: for each partition of the events topic its Stretches, in order: from this offset on this
World. A worker writes an entry with the batch that first used another World, in the same atomic save, so an entry is
there if and only if that batch counts; it can be published twice, with the identical bytes.

If the store of a namespace ever lost its newest writes, the worker went back and served some offsets a second time, in
other Worlds. Then a later entry stands at an earlier offset: it, and not what it replaced, says what users have become.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import ValidationError

from schemas.releases import JournalEntry
from streams.replay.errors import WorldGone
from streams.replay.tape import Tape, sum_of
from streams.settings import Settings

Places = dict[str, dict[int, int]]
_INDEX = ".index"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Offsets `start` to `end` (not included) of a partition, served by the World of these names.

    `positions`: topic -> partition -> next offset, of the topics the World was built from; `index`: the same, of its
    index, where that is older than the World."""

    partition: int
    start: int
    end: int
    names: dict[str, str]
    positions: Places
    index: Places
    ts: int

    @property
    def order(self) -> tuple[int, int]:
        """Worlds of one worker come in this order."""
        return sum_of(self.positions), self.ts

    def same_world(self, other: Stretch) -> bool:
        return self.names == other.names and self.index == other.index

    def __str__(self) -> str:
        return f"partition {self.partition} from offset {self.start} on"


def stretches(
    settings: Settings, events: Tape, say: Callable[[str], None], *, tolerant: bool
) -> dict[int, list[Stretch]]:
    """The Stretches of every partition of `events` that holds anything. Raises WorldGone."""
    entries: dict[int, list[JournalEntry]] = {}
    with Tape(settings, "journal") as tape:
        for message in tape.all():
            if message.value() is None:
                continue
            try:
                entry = JournalEntry.model_validate_json(message.value() or b"")
            except ValidationError:
                say(f"journal, offset {message.offset()}: not an entry; passed over")
                continue
            known = entries.setdefault(entry.partition, [])
            if entry in known:
                continue
            replaced = [one for one in known if one.offset >= entry.offset]
            if replaced:
                say(
                    f"partition {entry.partition}: the store went back to offset {entry.offset}, and what follows was "
                    "served again. The topic may hold the earlier recommendations; the replay makes the later ones."
                )
            entries[entry.partition] = [one for one in known if one.offset < entry.offset] + [entry]
    found = {p: _of(p, entries.get(p, []), end) for p, end in events.ends.items() if end > events.lows[p]}
    for partition in [p for p, parts in found.items() if not parts]:
        _no_entries(settings, partition, found, events, say, tolerant)
    return found


def _of(partition: int, entries: list[JournalEntry], end: int) -> list[Stretch]:
    found = []
    for entry, until in zip(entries, [entry.offset for entry in entries[1:]] + [end], strict=True):
        places = {topic: {int(p): at for p, at in offsets.items()} for topic, offsets in entry.positions.items()}
        index = {topic.removesuffix(_INDEX): at for topic, at in places.items() if topic.endswith(_INDEX)}
        positions = {topic: at for topic, at in places.items() if not topic.endswith(_INDEX)}
        names = entry.world.model_dump()
        if entry.offset < end:
            found.append(Stretch(partition, entry.offset, min(until, end), names, positions, index, entry.ts))
    return found


def _no_entries(
    settings: Settings,
    partition: int,
    found: dict[int, list[Stretch]],
    events: Tape,
    say: Callable[[str], None],
    tolerant: bool,
) -> None:
    others = sorted((part for parts in found.values() for part in parts), key=lambda part: part.order)
    if not tolerant:
        raise WorldGone(
            f"The journal of {settings.namespace} says nothing of partition {partition}, which holds events: no worker "
            "has served it yet. Let one catch up, or go on with --tolerant (the newest World that is named serves it)."
        )
    if not others:
        found[partition] = []
        say(f"partition {partition}: no World is named anywhere; its events are left out")
        return
    newest = others[-1]
    say(f"partition {partition}: the journal says nothing of it; taking the World of {newest}")
    found[partition] = [replace(newest, partition=partition, start=events.lows[partition], end=events.ends[partition])]
