"""Span: which part of a log is meant, from `--since` and `--until`.

In: what was typed, and the events of a log in their order. Out: for each whether it is applied, and whether what it
causes is written.

A time cuts each user's log by itself, before the first event of that user that is later: a late record of one user,
or a clock that runs ahead, takes nothing away from the others. An event's id cuts the whole log behind that event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from schemas.events import Event
from schemas.wire import parse_rfc3339

_EVENT = "event:"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a log: `ts` (ms since the epoch) or `event_id`."""

    ts: int | None = None
    event_id: str | None = None

    @classmethod
    def parse(cls, text: str) -> Mark:
        """A time in ms or RFC 3339; anything else, or what stands behind `event:`, is the id of an event."""
        if text.startswith(_EVENT):
            return cls(event_id=text.removeprefix(_EVENT))
        if re.fullmatch(r"-?[0-9]{1,16}", text):
            return cls(ts=int(text))
        try:
            return cls(ts=parse_rfc3339(text))
        except ValueError:
            return cls(event_id=text)

    def __str__(self) -> str:
        return f"event {self.event_id}" if self.ts is None else f"ts {self.ts}"


@dataclass(slots=True)
class Span:
    """Ask about every event of a log in its order: `applies` first, then `records`."""

    since: Mark | None = None
    until: Mark | None = None
    found_since: bool = False
    found_until: bool = False
    _ended: set[str] = field(default_factory=set)
    _begun: set[str] = field(default_factory=set)

    @property
    def over(self) -> bool:
        """Whether nothing that follows applies."""
        return self.found_until

    @property
    def whole(self) -> bool:
        return self.since is None and self.until is None

    def applies(self, event: Event) -> bool:
        """Whether the event lies before the end."""
        until = self.until
        if until is None:
            return True
        if until.ts is None:
            if self.found_until:
                return False
            self.found_until = event.event_id == until.event_id
            return True
        if event.user_id in self._ended:
            return False
        if event.ts > until.ts:
            self._ended.add(event.user_id)
            return False
        return True

    def records(self, event: Event) -> bool:
        """Whether the event lies behind the beginning: what it causes is written. Earlier ones only shape users."""
        since = self.since
        if since is None:
            return True
        if since.ts is None:
            self.found_since = self.found_since or event.event_id == since.event_id
            return self.found_since
        if event.user_id not in self._begun:
            if event.ts < since.ts:
                return False
            self._begun.add(event.user_id)
        return True

    def missing(self) -> Mark | None:
        """A mark that names an event which did not come."""
        for mark, found in ((self.since, self.found_since), (self.until, self.found_until)):
            if mark is not None and mark.ts is None and not found:
                return mark
        return None
