"""Counting: the learner's first lane, a fold of the log into sums over all users.

In: events in the order of the log. Out: `Tallies`, all rows or those touched since a mark, which a release
carries to every worker. No clock, no I/O; the result depends on the order of events and never on where a
batch was cut.

What counts: an interaction adds its action's weight to the item's popularity (a rating counts as turning to
the item however it ends), a weight below zero adds to its refusals, an impression to the exposures of what
was shown, and the last ten items of a user to co-visitation with 1/gap. All of it is multiplied by the weight
that the event was given (`recsys.learning.screen`), if any. An event id seen of late counts once. A stamp far
ahead of the log's time is pulled back to it; one of long ago weighs nothing. Who erases themselves leaves the
memory of last items at once; sums hold no user, and what they took from one fades with its half-life.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.actions import weigh
from recsys.covisitation import Neighbourhoods, Rows
from recsys.decay import HALF_LIVES_MS, WINDOWS_DAYS, decayed_to, shift, steps_at, weights_at
from recsys.keys import item_key
from recsys.policy import Policy
from recsys.priors import Shelf
from recsys.tallies import COUNTS, NEIGHBOURS, NEVER, Priors, Tallies
from schemas.events import Forget, Impression, Interaction

LAST = 10
"""Items of a user that co-visitation looks back on."""
_WINDOWS = len(WINDOWS_DAYS)
_REFUSALS, _EXPOSURES, _TOGETHER = _WINDOWS, _WINDOWS + 1, _WINDOWS + 2
_MONTH, _YEAR = WINDOWS_DAYS.index(30), WINDOWS_DAYS.index(365)
_IMPLAUSIBLE_MS = 10**11  # before 1973: an unset clock, or seconds taken for milliseconds


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what a Counts keeps: users whose last items it knows, event ids, items."""

    users: int = 200_000
    event_ids: int = 200_000
    items: int = 1_000_000


@dataclass(slots=True)
class _Batch:
    """What the events of a batch come to, gathered one by one and added all at once."""

    rows: list[int]
    ts: list[int]
    reach: list[float]
    refusal: list[float]
    shown: list[int]
    shown_ts: list[int]
    shown_weights: list[float]
    visit_slots: list[int]
    visit_rows: list[int]
    visit_ts: list[int]
    visit_weights: list[float]
    left: list[int]  # slots whose user was let go

    @classmethod
    def empty(cls) -> _Batch:
        return cls(*([] for _ in range(12)))


class Counts:
    """The state of the fold. `learn` moves it on; `tallies` and `dump` read it."""

    def __init__(self, policy: Policy, limits: Limits | None = None) -> None:
        self.policy = policy
        self.limits = limits or Limits()
        self.events = 0
        """Events counted so far: duplicates apart."""
        self.now: int | None = None
        """The log's time, ms: the greatest stamp that can be believed."""
        self._ahead: tuple[int, int] | None = None  # (ts, user) of the stamp before, if it was too far ahead
        self._steps = steps_at(0)
        self._row_of: dict[int, int] = {}
        self._fresh: list[int] = []  # keys that have a row and are not yet in `_keys`
        self._keys = np.zeros(0, np.uint64)
        self._counts = np.zeros((0, COUNTS))
        self._first_ts = np.zeros(0, np.int64)
        self._touched = np.zeros(0, bool)
        self._together = Neighbourhoods()
        self._slot_of: OrderedDict[int, int] = OrderedDict()  # by user, least recent first
        self._free: list[int] = []
        self._last = np.full((0, LAST), -1, np.int64)  # by slot; the newest last
        self._last_weights: NDArray[np.float64] | None = None  # of the same; None as long as all weigh 1
        self._seen: set[int] = set()
        self._seen_before: set[int] = set()

    def __len__(self) -> int:
        """Items with counts."""
        return len(self._row_of)

    # the fold
    # ------------------------------------------------------------------------------------------------
    def learn(
        self,
        events: Sequence[Any],
        received: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
    ) -> int:
        """Takes in events, of any type, in the order of the log. Returns how many changed something.

        `received`: when the log got each of them, ms. A log's own clock settles what is too far ahead;
        without it two users have to agree before the log's time makes a leap.
        `weights`: what each counts for (`recsys.learning.screen`), as a factor of all it adds; two items of a
        user go together by the product of theirs. 0: nothing is counted, but the log's time moves on, and
        the event's id is remembered. A `forget` is obeyed whatever its weight.
        """
        batch = _Batch.empty()
        before = self.events
        stamps: Iterable[int | None] = received if received is not None else repeat(None)
        shares: Iterable[float] = weights if weights is not None else repeat(1.0)
        if weights is not None and self._last_weights is None:
            self._last_weights = np.ones(self._last.shape)
        for event, at, share in zip(events, stamps, shares, strict=False):
            user = user_hash(event.user_id)
            if self._is_repeat(user, event.event_id):
                continue
            self.events += 1
            ts = self._believed(event.ts, user, at)
            if share <= 0 and not isinstance(event, Forget):
                continue
            if isinstance(event, Interaction):
                self._interaction(event, user, ts, share, batch)
            elif isinstance(event, Impression):
                for item_id in event.item_ids:
                    batch.shown.append(self._row(item_id, batch))
                    batch.shown_ts.append(ts)
                    batch.shown_weights.append(share)
            elif isinstance(event, Forget):
                slot = self._slot_of.pop(user, None)
                if slot is not None:
                    batch.left.append(slot)
        self._add(batch)
        return self.events - before

    def _interaction(self, event: Interaction, user: int, ts: int, share: float, batch: _Batch) -> None:
        row = self._row(event.item_id, batch)
        _, weight = weigh(event.action, event.value, self.policy)
        reach = weight
        if event.action == "rate":
            reach = max(weight, self.policy.action_weights.get("rate", self.policy.unknown_action_weight))
        batch.rows.append(row)
        batch.ts.append(ts)
        batch.reach.append(max(reach, 0.0) * share)
        batch.refusal.append(max(-weight, 0.0) * share)
        if reach > 0:
            batch.visit_slots.append(self._slot(user, batch))
            batch.visit_rows.append(row)
            batch.visit_ts.append(ts)
            batch.visit_weights.append(share)

    def _is_repeat(self, user: int, event_id: str) -> bool:
        """Whether this event came before; remembers it. Ids are kept in two halves; the older goes whole."""
        mark = user ^ _hash64(event_id)
        if mark in self._seen or mark in self._seen_before:
            return True
        if len(self._seen) >= max(1, self.limits.event_ids // 2):
            self._seen_before, self._seen = self._seen, set()
        self._seen.add(mark)
        return False

    def _believed(self, ts: int, user: int, received: int | None) -> int:
        """The stamp as it counts; moves the log's time on."""
        leeway = int(self.policy.max_future_seconds * 1000)
        if received is not None:
            ts = min(ts, received + leeway)
        if self.now is None:
            self.now = ts
        elif received is not None or ts <= self.now + leeway:
            self.now = max(self.now, ts)
            self._ahead = None
        else:
            # a pause in the log, or a wrong clock: the next stamp, if another user's, tells
            before, self._ahead = self._ahead, (ts, user)
            if before is not None and before[1] != user:
                self.now = min(before[0], ts)
            ts = min(ts, self.now + leeway)
        return ts

    def _row(self, item_id: str, batch: _Batch) -> int:
        key = item_key(item_id)
        row = self._row_of.get(key)
        if row is None:
            if len(self._row_of) >= self.limits.items:
                self._add(batch)
                self._shed()
            row = self._row_of[key] = len(self._row_of)
            self._fresh.append(key)
        return row

    def _slot(self, user: int, batch: _Batch) -> int:
        slot = self._slot_of.get(user)
        if slot is not None:
            self._slot_of.move_to_end(user)
            return slot
        if len(self._slot_of) >= self.limits.users:
            batch.left.append(self._slot_of.popitem(last=False)[1])
        # a slot that was left is free after this batch: within it, it still means who had it before
        slot = self._free.pop() if self._free else len(self._slot_of) + len(batch.left)
        self._slot_of[user] = slot
        return slot

    # adding a batch
    # ------------------------------------------------------------------------------------------
    def _add(self, batch: _Batch) -> None:
        """Adds what was gathered, and empties it."""
        self._grow()
        if self.now is not None:
            self._move_landmarks(self.now)
        if batch.rows:
            rows, ts = np.array(batch.rows), np.array(batch.ts)
            stamped = ts >= _IMPLAUSIBLE_MS
            reach, refusal = np.array(batch.reach) * stamped, np.array(batch.refusal) * stamped
            for column in range(_WINDOWS):
                self._sum(column, rows, ts, reach)
            if refusal.any():
                self._sum(_REFUSALS, rows, ts, refusal)
            np.minimum.at(self._first_ts, rows[stamped], ts[stamped])
            self._touched[rows] = True
        if batch.shown:
            shown = np.array(batch.shown)
            self._sum(_EXPOSURES, shown, np.array(batch.shown_ts), np.array(batch.shown_weights))
            self._touched[shown] = True
        if batch.visit_rows:
            slots, rows = np.array(batch.visit_slots), np.array(batch.visit_rows)
            self._visit(slots, rows, np.array(batch.visit_ts), np.array(batch.visit_weights))
        if batch.left:
            self._last[[slot for slot in batch.left if slot < len(self._last)]] = -1
            self._free += batch.left
        for gathered in (getattr(batch, name) for name in batch.__slots__):
            gathered.clear()

    def _sum(self, column: int, rows: NDArray[np.int64], ts: NDArray[np.int64], amounts: NDArray[np.float64]) -> None:
        faded = weights_at(ts, int(HALF_LIVES_MS[column]), int(self._steps[column])) * amounts
        # one by one in the order of the log, so that a batch cut elsewhere gives the same last bits
        np.add.at(self._counts.reshape(-1), rows * COUNTS + column, faded)

    def _visit(self, slots: Rows, rows: Rows, ts: Rows, shares: NDArray[np.float64]) -> None:
        """Co-visitation of visits, [v] each, in the order of the log. `shares`: the weights of their events."""
        size = int(slots.max()) + 1
        if size > len(self._last):
            blank = np.full((max(size, 2 * len(self._last)) - len(self._last), LAST), -1, np.int64)
            self._last = np.concatenate([self._last, blank])
            if self._last_weights is not None:
                self._last_weights = np.concatenate([self._last_weights, np.ones(blank.shape)])
        by_user = np.argsort(slots, kind="stable")
        user, item = slots[by_user], rows[by_user]
        starts = np.r_[True, user[1:] != user[:-1]]
        before = np.r_[-1, item[:-1]]
        before[starts] = self._last[user[starts], -1]
        fresh = item != before  # the same item again is no step from one to another
        user, item, place = user[fresh], item[fresh], by_user[fresh]
        if not len(user):
            return

        # each user's last items, then the new ones: a stretch of LAST + n places in `path`
        who, start, many = np.unique(user, return_index=True, return_counts=True)
        base = np.arange(len(who)) * LAST + start
        path = np.full(len(user) + LAST * len(who), -1, np.int64)
        path[base[:, None] + np.arange(LAST)] = self._last[who]
        at = np.arange(len(user)) + LAST * (np.repeat(np.arange(len(who)), many) + 1)
        path[at] = item
        ends = (base + many)[:, None] + np.arange(LAST)
        self._last[who] = path[ends]

        earlier = np.empty((len(user), LAST), np.int64)  # gap 1 first; rows again in the order of the log
        in_log = np.argsort(place)
        earlier[:] = path[at[in_log][:, None] - np.arange(1, LAST + 1)]
        item, when = item[in_log], ts[place[in_log]]
        faded = weights_at(when, int(HALF_LIVES_MS[_TOGETHER]), int(self._steps[_TOGETHER]))
        weights = faded[:, None] / np.arange(1, LAST + 1)
        if self._last_weights is not None:
            path_shares = np.ones(len(path))
            path_shares[base[:, None] + np.arange(LAST)] = self._last_weights[who]
            path_shares[at] = shares[place]
            self._last_weights[who] = path_shares[ends]
            there_shares = path_shares[at[in_log][:, None] - np.arange(1, LAST + 1)]
            weights = weights * there_shares * shares[place[in_log]][:, None]
        pairs = (earlier >= 0) & (earlier != item[:, None])
        here, there = np.broadcast_to(item[:, None], earlier.shape)[pairs], earlier[pairs]
        both = np.stack([here, there], axis=1)
        rows, others = both.reshape(-1), both[:, ::-1].reshape(-1)
        self._together.learn(rows, others, np.repeat(weights[pairs], 2))
        self._touched[rows] = True

    def _move_landmarks(self, now: int) -> None:
        steps = steps_at(now)
        if np.array_equal(steps, self._steps):
            return
        factors = shift(self._steps, steps)
        if self._counts.any() or self._together.used.any():
            self._counts *= factors[:COUNTS]
            if factors[COUNTS] != 1:
                self._together.scale(float(factors[COUNTS]))
        self._steps = steps

    def _grow(self) -> None:
        """Arrays as long as there are items; known rows keep their place."""
        rows, room = len(self._row_of), len(self._keys)
        if rows > room:
            more = max(rows, 2 * room, 1024) - room
            self._keys = np.concatenate([self._keys, np.zeros(more, np.uint64)])
            self._counts = np.concatenate([self._counts, np.zeros((more, COUNTS))])
            self._first_ts = np.concatenate([self._first_ts, np.full(more, NEVER)])
            self._touched = np.concatenate([self._touched, np.zeros(more, bool)])
            self._together.grow(len(self._keys))
        if self._fresh:
            self._keys[rows - len(self._fresh) : rows] = self._fresh
            self._fresh.clear()

    def _shed(self) -> None:
        """Too many items: the quarter that weighed least over a year goes, as neighbours too."""
        rows = len(self._row_of)
        order = np.argsort(-self._counts[:rows, _YEAR], kind="stable")
        kept = np.sort(order[: max(1, rows * 3 // 4)])
        renamed = np.full(rows, -1, np.int64)
        renamed[kept] = np.arange(len(kept))
        self._together.keep(kept, renamed)
        self._keys, self._counts = self._keys[kept], self._counts[kept]
        self._first_ts, self._touched = self._first_ts[kept], np.ones(len(kept), bool)
        self._row_of = {key: row for row, key in enumerate(self._keys.tolist())}
        last = np.where(self._last >= 0, renamed[self._last], -1)
        gaps = np.argsort(last >= 0, axis=1, kind="stable")  # the newest stays last
        self._last = np.take_along_axis(last, gaps, axis=1)
        if self._last_weights is not None:
            self._last_weights = np.take_along_axis(self._last_weights, gaps, axis=1)

    # reading it
    # ----------------------------------------------------------------------------------------------
    def mark(self) -> None:
        """From here on rows count as touched anew: call it with `tallies()` of all rows."""
        self._touched[:] = False

    @property
    def touched(self) -> int:
        """Rows touched since the mark."""
        return int(self._touched.sum())

    def tallies(self, shelf: Shelf | None = None, *, touched: bool = False) -> Tallies:
        """All rows, or those touched since the mark, as a release carries them."""
        n, now = len(self._row_of), self.now or 0
        rows = np.flatnonzero(self._touched[:n]) if touched else np.arange(n)
        by_key = np.argsort(self._keys[rows])
        rows = rows[by_key]
        ids, sums = self._together.strongest(rows)
        neighbours = np.where(ids >= 0, self._keys[ids], np.uint64(0)) if n else np.zeros(ids.shape, np.uint64)
        return Tallies(
            now, self._steps.copy(), self._keys[rows], self._counts[rows], self._first_ts[rows],
            neighbours[:, :NEIGHBOURS], sums[:, :NEIGHBOURS].astype(np.float32), self._priors(shelf),
        )  # fmt: skip

    def _priors(self, shelf: Shelf | None) -> Priors:
        if shelf is None:
            return Priors()
        n = len(self._row_of)
        factors = decayed_to(self.now or 0, self._steps)
        by_key = np.argsort(self._keys[:n])
        month, year = self._counts[by_key, _MONTH], self._counts[by_key, _YEAR]
        return shelf.priors(self._keys[by_key], month * factors[_MONTH], year * factors[_YEAR])

    def dump(self) -> dict[str, NDArray[Any]]:
        """The whole state as arrays: equal states dump equal arrays. `restore` takes them back."""
        n = len(self._row_of)
        slots = np.fromiter(self._slot_of.values(), np.int64, len(self._slot_of))
        last = np.full((len(slots), LAST), -1, np.int64)
        held = slots < len(self._last)
        last[held] = self._last[slots[held]]
        last_weights = np.ones((len(slots) if self._last_weights is not None else 0, LAST))
        if self._last_weights is not None:
            last_weights[held] = np.where(last[held] >= 0, self._last_weights[slots[held]], 1)
        ahead = self._ahead or (0, 0)
        clock = [self.now is not None, self.now or 0, self._ahead is not None, ahead[0], self.events]
        return {
            "clock": np.array(clock, np.int64),
            "ahead_user": np.array([ahead[1]], np.uint64),
            "steps": self._steps.copy(),
            "keys": self._keys[:n].copy(),
            "counts": self._counts[:n].copy(),
            "first_ts": self._first_ts[:n].copy(),
            "neighbour_rows": self._together.ids[:n].copy(),
            "neighbour_sums": self._together.sums[:n].copy(),
            "neighbours_used": self._together.used[:n].copy(),
            "users": np.fromiter(self._slot_of, np.uint64, len(self._slot_of)),
            "last": last,
            "last_weights": last_weights,
            "seen": np.sort(np.fromiter(self._seen, np.uint64, len(self._seen))),
            "seen_before": np.sort(np.fromiter(self._seen_before, np.uint64, len(self._seen_before))),
        }

    @classmethod
    def restore(cls, dumped: dict[str, NDArray[Any]], policy: Policy, limits: Limits | None = None) -> Counts:
        """The state that `dump` gave, with every row touched."""
        self = cls(policy, limits)
        started, now, leapt, ahead, self.events = dumped["clock"].tolist()
        self.now = now if started else None
        self._ahead = (ahead, int(dumped["ahead_user"][0])) if leapt else None
        self._steps = dumped["steps"].copy()
        self._keys, self._counts = dumped["keys"].copy(), dumped["counts"].copy()
        self._first_ts = dumped["first_ts"].copy()
        self._touched = np.ones(len(self._keys), bool)
        self._row_of = {key: row for row, key in enumerate(self._keys.tolist())}
        self._together.ids = dumped["neighbour_rows"].copy()
        self._together.sums = dumped["neighbour_sums"].copy()
        self._together.used = dumped["neighbours_used"].copy()
        self._slot_of = OrderedDict((user, slot) for slot, user in enumerate(dumped["users"].tolist()))
        self._last = dumped["last"].copy()
        last_weights = dumped.get("last_weights")  # a checkpoint of before there were weights has none
        if last_weights is not None and len(last_weights):
            self._last_weights = last_weights.copy()
        self._seen = set(dumped["seen"].tolist())
        self._seen_before = set(dumped["seen_before"].tolist())
        return self


def _hash64(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


user_hash = lru_cache(maxsize=1 << 17)(_hash64)
