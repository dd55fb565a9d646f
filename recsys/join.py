"""Label join: open recommendations meet what their user did next, and become training examples.

In: the open recommendations of one user (`recsys.opened`), and that user's events in the order of the log. Out: the
same list moved on, and training examples. It stands behind the ranking in the step, since an event may act on what an
event before it in the same batch caused; it reads nothing but the user's own log, so where batches are cut changes
nothing, and a restart loses nothing.

What becomes an example:

* an **act** on an item that was offered: by `rec_id`, else by the newest open recommendation that holds the item. The
  first act of each kind counts; a purchase after a click is a label of its own (graded, delayed). It carries what
  was offered beside it, so that a learner can use it at once, before anything is known of the others.
* a **negative**: an item without an act when its window closes, in event time of its user (`label_window_hours`).
  Where impressions are sent only what was shown can be one. Without impressions: everything of a recommendation that
  was asked for, or that had an act; one that nobody asked for and nobody touched says nothing.

After its window a recommendation is kept for late acts (`late_label_days`) on items that had one already; the others
were told as negatives, and no item of a recommendation is both. Bounds: `OPEN` waiting and `LATE` closed ones; beyond,
those that nobody saw go first, and one that was seen closes early.

A window closes at the first event of its own user behind it, not when some other user's clock has passed it: a
watermark shared by a partition would make a user's record depend on who else is in the partition and on the worst
clock among them, and a replay of one user, or of a file without partitions, would come to other examples. It is that
event's own stamp that counts, not the latest of the user's: a clock that was once far ahead would close all windows of
its user at once for as long as it was ahead.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.features import CONTEXT, FEATURES, SCHEMA_VERSION
from recsys.keys import item_key
from recsys.opened import Opened, head, pack_opened, touched, unpack_opened
from recsys.policy import Policy
from recsys.user import LATE, OPEN
from recsys.world import World
from schemas.events import Impression, Interaction

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_NAMES = tuple(feature.name for feature in FEATURES)
_MOMENTS = tuple(f"moment.{name}" for name, _ in CONTEXT)

Example = dict[str, Any]
"""A `schemas.training.TrainingExample` as a plain dict."""


class Act(NamedTuple):
    """An event for the join. `now_s`: its own time; `code`: of an interaction's action;
    `impressions`: whether impressions of this user were ever sent."""

    event: Interaction | Impression | None
    ts: int
    now_s: int
    code: int
    impressions: bool


class Join:
    """The open recommendations of one user through a batch. `examples` gathers what came of them since last taken."""

    def __init__(self, world: World, policy: Policy, user_id: str, held: Iterable[bytes]) -> None:
        self._world, self._policy, self._user_id = world, policy, user_id
        self.held: list[bytes] = list(held)
        self.examples: list[Example] = []

    def move(self, act: Act) -> None:
        """Takes in the next event: first what is over closes, then the event meets what is open."""
        self._close_until(act)
        event = act.event
        if isinstance(event, Interaction):
            self._act(event, act)
        elif isinstance(event, Impression):
            self._show(event)

    def open(self, packed: bytes, act: Act) -> None:
        """A new recommendation, right after the event that caused it."""
        self.held.append(packed)
        if len(self.held) > OPEN:
            self._make_room(act)

    # parts -----------------------------------------------------------------------------------------------------
    def _act(self, event: Interaction, act: Act) -> None:
        key = item_key(event.item_id)
        sought = key.to_bytes(8, "little")
        for at in range(len(self.held) - 1, -1, -1):
            packed = self.held[at]
            if sought not in packed or (event.rec_id and head(packed).rec_id != event.rec_id):
                continue
            one = unpack_opened(packed)
            place = np.flatnonzero(one.keys == np.uint64(key))
            if not len(place) or (not event.rec_id and not one.ts <= act.ts):
                continue
            first = int(place[0])
            if one.acted[first] & (1 << act.code):
                return  # this kind of act is an example already
            one.acted[first] |= 1 << act.code
            self.held[at] = pack_opened(one)
            label = {"action": event.action, "value": event.value, "delay_ms": max(0, act.ts - one.ts)}
            self.examples.append(self._example(one, first, event.item_id, label, act.ts, self._beside(one, first)))
            return

    def _show(self, event: Impression) -> None:
        for at, packed in enumerate(self.held):
            if head(packed).rec_id == event.rec_id:
                one = unpack_opened(packed)
                shown = np.isin(one.keys, np.array([item_key(i) for i in event.item_ids[:100]], np.uint64))
                one.shown = shown if one.shown is None else one.shown | shown
                self.held[at] = pack_opened(one)
                return

    def _close_until(self, act: Act) -> None:
        window, late = self._policy.label_window_hours * _HOUR_MS, self._policy.late_label_days * _DAY_MS
        now = act.now_s * 1000
        if all(now - head(packed).ts < window for packed in self.held):
            return
        left: list[bytes] = []
        for packed in self.held:
            one = head(packed)
            if now - one.ts < window:
                left.append(packed)
            elif one.closed:
                if now - one.ts < late:
                    left.append(packed)
            # what nobody touched or can have looked at leaves nothing
            elif (one.asked and not act.impressions) or touched(packed):
                closed = self._close(unpack_opened(packed), act)
                if closed is not None:
                    left.append(closed)
        self.held = left
        self._bound_late()

    def _close(self, one: Opened, act: Act) -> bytes | None:
        """Tells the negatives of a recommendation; what is left of it for late acts, if anything."""
        seen = self._seen(one, act)
        negative = np.flatnonzero(seen & (one.acted == 0))
        if len(negative):
            rows = self._world.catalogue.rows_of_keys(one.keys)
            for place in negative.tolist():
                row = int(rows[place])
                if row >= 0 and self._world.catalogue.alive[row]:  # else the item is gone, and teaches nothing
                    item_id = self._world.catalogue.items[row].item_id
                    self.examples.append(self._example(one, place, item_id, None, act.ts, []))
        acted = np.flatnonzero(one.acted)
        if not len(acted):
            return None
        rest = one.of(acted)
        rest.closed = True
        return pack_opened(rest)

    def _seen(self, one: Opened, act: Act) -> npt.NDArray[np.bool_]:
        """bool[n]: what the user is taken to have looked at."""
        if one.shown is not None:
            return one.shown
        if act.impressions or not (one.asked or one.acted.any()):
            return np.zeros(len(one.keys), bool)
        return np.ones(len(one.keys), bool)

    def _make_room(self, act: Act) -> None:
        """At most OPEN that wait: what nobody asked for, saw or touched goes first, then the oldest."""
        heads = list(map(head, self.held))
        waiting = [at for at, one in enumerate(heads) if not one.closed]
        if len(waiting) <= OPEN:
            return
        for at in waiting[:-1]:
            if not (heads[at].asked or touched(self.held[at])):
                del self.held[at]
                return
        at = waiting[0]
        closed = self._close(unpack_opened(self.held[at]), act)
        self.held[at : at + 1] = [] if closed is None else [closed]
        self._bound_late()

    def _bound_late(self) -> None:
        if len(self.held) <= LATE:
            return
        closed = [at for at, packed in enumerate(self.held) if head(packed).closed]
        for at in reversed(closed[:-LATE]):
            del self.held[at]

    def _beside(self, one: Opened, chosen: int) -> list[Example]:
        """What was offered beside the item chosen: shown, where impressions tell."""
        among = np.ones(len(one.keys), bool) if one.shown is None else one.shown
        rows = self._world.catalogue.rows_of_keys(one.keys)
        return [
            {"item_id": self._world.catalogue.items[int(rows[place])].item_id,
             "position": int(one.positions[place]), "features": _named(one, place)}
            for place in np.flatnonzero(among & (rows >= 0)).tolist()
            if place != chosen
        ]  # fmt: skip

    def _example(
        self, one: Opened, place: int, item_id: str, label: dict[str, Any] | None, ts: int, beside: list[Example]
    ) -> Example:
        action = "" if label is None else label["action"]
        digest = blake2b(f"{one.rec_id}\0{item_id}\0{action}".encode("utf-8", "surrogatepass"), digest_size=10)
        release_id, statistics_id, version = one.world
        return {
            "example_id": f"ex-{digest.hexdigest()}", "user_id": self._user_id, "rec_id": one.rec_id,
            "item_id": item_id, "position": int(one.positions[place]),
            "propensity": round(max(float(one.propensities[place]), 1e-6), 6), "label": label,
            "features": _named(one, place), "beside": beside, "feature_schema": str(SCHEMA_VERSION),
            "world": {"release_id": release_id, "statistics_id": statistics_id, "catalogue_version": version},
            "recommended_ts": one.ts, "labelled_ts": ts,
        }  # fmt: skip


def _named(one: Opened, place: int) -> dict[str, float]:
    """The features that are not 0, by name, and the lines of the moment that hold."""
    line = one.features[place].astype(np.float64)
    named = {_NAMES[at]: round(float(line[at]), 4) for at in np.flatnonzero(line).tolist()}
    named |= {name: 1.0 for at, name in enumerate(_MOMENTS) if one.moment >> at & 1}
    return named
