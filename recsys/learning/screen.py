"""Screen: what an event may count for before any lane learns from it, so that a few cannot move what all are shown.

In: events in the order of the log. Out: a weight of 0 to 1 for each, for the statistics, ranker and sequence lanes, and
a `Burst` for each item that was pushed, and again once it has calmed down. No clock, no I/O; weights depend on the log
and never on where it was cut.

Three caps, each on what a poisoning attack (Lam & Riedl 2004, "Shilling recommender systems for fun and profit") needs:

- A user and an item: of repeated interactions within a window of time the first few count fully (one looks, puts into
  the cart, buys), then each half as much as the one before.
- A user: within a block of interactions, no more than a share of it.
- An item: what it gets within a block is held against its own decayed share and against the catalogue's spread (the
  share of the item at rank `usual`). What goes beyond by more than chance opens an episode. In it the item goes on at a
  floor rate, and beyond that only by users who had not touched it yet, each once, up to a share of the block and of the
  users who are about. So a hit that many people find is hardly held back, and one that the same few press again and
  again is. An episode lifts the item's own share no further than a calm block would: an attack can't make its own past.

What many users do once each looks like a hit, and passes as one. Blocks are counted in weight and not in time, so quiet
and busy shops are treated alike, wrong stamps move nothing there, and clicks that count for nothing hurry nothing on.
The window of time follows the log's time, on which two users have to agree before it leaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import repeat
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.counting import user_hash
from recsys.decay import DAY_MS
from recsys.keys import item_key
from recsys.learning.repeats import Repeats
from schemas.events import Forget, Impression, Interaction

_REPEATS = (1.0, 1.0, 1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125)
"""Weight of a user's first, second, ... interaction with an item within the window; then 0."""
_RESCALE = 2.0**60
_EPISODE_USERS = 1000
_PATIENCE = 50
"""Interactions for each that counts, at most, until a block is over: a shop of one user goes on too."""
_FIRST_BLOCK = 250


@dataclass(frozen=True, slots=True)
class Caps:
    """How much is let through, and what is kept. Shares are of a block's interactions."""

    block: int = 1000
    """Interactions a block."""
    window_ms: int = 7 * DAY_MS
    """A user's interactions with an item are remembered for one to two of these."""
    user_share: float = 0.05
    user_fair: float = 3.0
    """In a shop of few users: this many times the even share of a user."""
    growth: float = 3.0
    """An item may have this many times its own share before it looks pushed."""
    chance: float = 3.0
    """Standard deviations that are put down to chance."""
    usual: int = 20
    """A rank: what the item that stands there gets is no burst for any item."""
    newcomers: float = 0.04
    """Most that an item in an episode gets, from users who had not touched it."""
    reach: float = 0.08
    """Most of them within a block, of the users of the block before: in a shop of few users a block's share is many."""
    memory: int = 20
    """Half-life of an item's own share, blocks."""
    tell: float = 10.0
    """Weight withheld in an episode before it is reported."""
    release_ms: int = 7 * DAY_MS
    leeway_ms: int = 300_000
    pairs: int = 500_000
    items: int = 500_000


@dataclass(frozen=True, slots=True)
class Burst:
    """An item that got far more than its history explains. Shares are of the block when it was reported; `withheld` is
    in interactions; `users` counts up to 1,000; `until` is when it had calmed down, ms, None while it lasts."""

    item_id: str
    since: int
    observed: float
    expected: float
    withheld: float
    users: int
    until: int | None = None


@dataclass(slots=True)
class _Episode:
    item_id: str
    since: int
    withheld: float
    told: bool
    users: set[int]


@dataclass(slots=True)
class _Tally:
    """An item within a block. `wanted` and `counted` in weight; `calm`: where a burst begins; `free`: what passes
    unseen, `calm` or the floor rate; `most`: for newcomers in an episode."""

    wanted: float
    counted: float
    expected: float
    calm: float
    free: float
    most: float


class Screen:
    """`weigh` moves it on."""

    def __init__(self, caps: Caps | None = None) -> None:
        self.caps = caps or Caps()
        self.now: int | None = None
        """The log's time, ms."""
        self.weighed, self.withheld = 0, 0.0
        """Interactions so far, and the weight that was withheld from them."""
        self._ahead: tuple[int, int] | None = None
        self._repeats = Repeats(self.caps.window_ms, self.caps.pairs)
        self._blocks = 0
        self._in_block = 0.0  # weight, and interactions
        self._raw = 0
        self._users: dict[int, float] = {}  # counted in this block
        self._size = min(self.caps.block, _FIRST_BLOCK)  # of this block: a young log has short ones
        self._user_most = 0.2 * self._size
        self._active = self._size  # users of the block before
        self._tallies: dict[int, _Tally] = {}
        self._shares: dict[int, float] = {}  # item -> decayed sum, relative to `_scale`
        self._total = 0.0
        self._scale = 1.0
        self._usual = 1.0  # share of the item at that rank
        self._episodes: dict[int, _Episode] = {}
        self._released: dict[int, int] = {}  # item -> until
        self._owed: dict[int, float] = {}
        self._bursts: list[Burst] = []

    # weighing
    # -------------------------------------------------------------------------------------------------------
    def weigh(self, events: Sequence[Any], received: Sequence[int] | None = None) -> NDArray[np.float64]:
        """float64[n]: the weight of each event, in the order of the log. `received`: as for `Counts.learn`; with it no
        user's stamps can move the window. Impressions are held to the user's share; other events weigh 1."""
        weights: list[float] = []
        again = self._repeats.again
        stamps: Iterable[int | None] = received if received is not None else repeat(None)
        for event, at in zip(events, stamps, strict=False):
            kind = type(event)
            if kind is not Interaction:
                weights.append(self._impression(event) if kind is Impression else 1.0)
                if kind is Forget:
                    self.forget(event.user_id)
                continue
            user, item, ts = user_hash(event.user_id), item_key(event.item_id), event.ts
            if self.now is None or ts > self.now or self._ahead is not None:
                self._tick(ts, user, at)
            # a user and an item
            times = again(user, item)
            weight = _REPEATS[times] if times < 8 else 0.0
            # a user
            used = self._users.get(user, 0.0)
            if used + weight > self._user_most:
                weight = max(0.0, self._user_most - used)
            # an item
            tally = self._tallies.get(item)
            if tally is None:
                tally = self._tallies[item] = self._tally(item)
            tally.wanted += weight
            if tally.wanted > tally.free:
                weight = self._excess(event.item_id, item, user, tally, weight, times)
            tally.counted += weight
            self._users[user] = used + weight
            weights.append(self._give_back(item, weight) if item in self._owed else weight)
            self.weighed += 1
            self.withheld += 1.0 - weight
            self._in_block += weight
            self._raw += 1
            if self._in_block >= self._size or self._raw >= _PATIENCE * self._size:
                self._turn_block()
            self._repeats.tidy(self.now or 0)
        return np.array(weights)

    def _impression(self, event: Impression) -> float:
        user = user_hash(event.user_id)
        used = self._users.get(user, 0.0)
        if used + 1.0 > self._user_most:
            return 0.0
        # ten slates weigh as much as one interaction: a shop shows many for each that leads somewhere
        self._users[user] = used + 0.1
        return 1.0

    def _excess(self, item_id: str, item: int, user: int, tally: _Tally, weight: float, times: int) -> float:
        """The weight of an interaction beyond what passes unseen."""
        if self._released and self._released.get(item, 0) > (self.now or 0):
            return weight
        episode = self._episodes.get(item)
        if episode is None:
            episode = self._episodes[item] = _Episode(item_id, self.now or 0, 0.0, False, set())
            tally.free = self._floor(tally.expected)
        if len(episode.users) < _EPISODE_USERS:
            episode.users.add(user)
        room = (tally.most if times == 0 else tally.free) - tally.counted
        granted = min(weight, max(0.0, room))
        episode.withheld += weight - granted
        if episode.withheld >= self.caps.tell and not episode.told:
            episode.told = True
            self._bursts.append(self._burst(episode, tally))
        return granted

    def _burst(self, episode: _Episode, tally: _Tally, until: int | None = None) -> Burst:
        seen = max(1.0, self._in_block)
        return Burst(
            episode.item_id, episode.since, min(1.0, tally.wanted / seen), tally.expected / self._size,
            episode.withheld, len(episode.users), until,
        )  # fmt: skip

    def _tally(self, item: int) -> _Tally:
        """What an item may get within this block."""
        caps = self.caps
        expected = self._shares.get(item, 0.0) / self._total * self._size if self._total else 0.0
        usual = max(caps.growth * expected, self._usual * self._size)
        calm = usual + caps.chance * sqrt(usual)
        free = self._floor(expected) if item in self._episodes else calm
        newcomers = min(caps.newcomers * self._size, caps.reach * self._active)
        return _Tally(0.0, 0.0, expected, calm, free, max(calm, newcomers))

    def _floor(self, expected: float) -> float:
        return max(expected, self._usual * self._size / 2)

    def _give_back(self, item: int, weight: float) -> float:
        back = min(self._owed[item], 1.0)
        self._owed[item] -= back
        if self._owed[item] <= 0:
            del self._owed[item]
        return weight + back

    # time
    # -----------------------------------------------------------------------------------------------------------
    def _tick(self, ts: int, user: int, received: int | None) -> None:
        """Moves the log's time on, as `Counts` does, and what is remembered of pairs with it."""
        if received is not None:
            ts = min(ts, received + self.caps.leeway_ms)
        if self.now is None:
            self.now = ts
            self._repeats.begin(ts)
        elif received is not None or ts <= self.now + self.caps.leeway_ms:
            self.now = max(self.now, ts)
            self._ahead = None
        else:
            before, self._ahead = self._ahead, (ts, user)
            if before is not None and before[1] != user:
                self.now = min(before[0], ts)
        self._repeats.moved(self.now)

    def _turn_block(self) -> None:
        """A block is over: it becomes history."""
        caps = self.caps
        for item, tally in self._tallies.items():
            # what an episode let through beyond a calm block is no history, unless an operator vouches for it
            lasting = (tally.counted if item in self._released else min(tally.counted, tally.calm)) * self._scale
            self._shares[item] = self._shares.get(item, 0.0) + lasting
            self._total += lasting
        for item in [i for i in self._episodes if self._is_over(i)]:
            episode = self._episodes.pop(item)
            if episode.told:
                tally = self._tallies.get(item) or self._tally(item)
                self._bursts.append(self._burst(episode, tally, self.now))
        self._scale *= 2.0 ** (1 / caps.memory)
        if self._scale > _RESCALE or len(self._shares) > caps.items:
            self._rescale()
        self._blocks += 1
        # ranks cost a look at every item: often at first, then now and then
        if self._blocks < 4 or self._blocks % 8 == 0:
            ranked = nlargest(caps.usual, self._shares.values())
            usual = max(1, min(caps.usual, len(self._shares) // 4))
            self._usual = ranked[usual - 1] / self._total if self._total else 1.0
        self._size = min(caps.block, 2 * self._size)
        self._active = len(self._users)
        self._user_most = self._size * max(caps.user_share, caps.user_fair / max(1, self._active))
        self._users, self._tallies, self._in_block, self._raw = {}, {}, 0.0, 0
        now = self.now or 0
        self._released = {item: until for item, until in self._released.items() if until > now}

    def _is_over(self, item: int) -> bool:
        tally = self._tallies.get(item)
        return tally is None or tally.wanted <= max(self.caps.growth * tally.expected, self._usual * self._size)

    def _rescale(self) -> None:
        """Sums relative to now, and no more items than are kept: those with the smallest go."""
        if len(self._shares) > self.caps.items:
            kept = nlargest(max(1, self.caps.items * 3 // 4), self._shares.items(), key=lambda entry: entry[1])
            self._shares = dict(kept)
        self._shares = {item: held / self._scale for item, held in self._shares.items() if held > self._scale * 1e-6}
        self._total /= self._scale
        self._scale = 1.0

    # asking and telling
    # -----------------------------------------------------------------------------------------------------
    def bursts(self) -> list[Burst]:
        """Those since the last call: an episode when it is told, and when it is over. One that an operator ended is
        not told again."""
        bursts, self._bursts = self._bursts, []
        return bursts

    def release(self, item_id: str, *, give_back: bool = False) -> float:
        """An operator vouches for an item: for `release_ms` of the log's time it counts fully. Returns what the episode
        under way withheld. `give_back`: its next interactions count one more each (up to 2) until that is back."""
        item = item_key(item_id)
        self._released[item] = (self.now or 0) + self.caps.release_ms
        episode = self._episodes.pop(item, None)
        tally = self._tallies.get(item)
        if tally is not None:
            tally.free = tally.calm
        withheld = episode.withheld if episode is not None else 0.0
        if give_back and withheld > 0:
            self._owed[item] = self._owed.get(item, 0.0) + withheld
        return withheld

    def forget(self, user_id: str) -> None:
        """Drops what is kept of a user; `weigh` does so at a `forget`. Sums of items hold no user."""
        user = user_hash(user_id)
        self._repeats.forget(user)
        self._users.pop(user, None)
        for episode in self._episodes.values():
            episode.users.discard(user)
        if self._ahead is not None and self._ahead[1] == user:
            self._ahead = None

    # keeping it
    # -----------------------------------------------------------------------------------------------------------
    def dump(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The whole state as arrays and a dict for JSON: equal states dump equal ones. `restore` takes them back."""
        repeats, meta = self._repeats.dump()
        arrays = {
            **repeats,
            # in their own order: it decides how sums round, and which of two equals goes
            "shares": np.array(list(self._shares), np.uint64),
            "share_weights": np.array(list(self._shares.values())),
        }
        meta |= {name: getattr(self, name) for name in _SCALARS}
        meta |= {name: sorted([key, value] for key, value in getattr(self, name).items()) for name in _DICTS}
        meta["ahead"] = list(self._ahead) if self._ahead is not None else None
        meta["tallies"] = [[item, *_fields(tally)] for item, tally in self._tallies.items()]
        meta["episodes"] = [
            [item, one.item_id, one.since, one.withheld, one.told, sorted(one.users)]
            for item, one in sorted(self._episodes.items())
        ]
        meta["bursts"] = [_fields(burst) for burst in self._bursts]
        return arrays, meta

    @classmethod
    def restore(cls, arrays: dict[str, NDArray[Any]], meta: dict[str, Any], caps: Caps | None = None) -> Screen:
        """The state that `dump` gave."""
        self = cls(caps)
        for name in _SCALARS:
            setattr(self, name, meta.get(name, self._size) if name == "_active" else meta[name])  # once there was none
        for name in _DICTS:
            setattr(self, name, dict(meta[name]))
        self._ahead = (meta["ahead"][0], meta["ahead"][1]) if meta["ahead"] is not None else None
        self._tallies = {item: _Tally(*fields) for item, *fields in meta["tallies"]}
        for item, item_id, since, withheld, told, users in meta["episodes"]:
            self._episodes[item] = _Episode(item_id, since, withheld, told, set(users))
        self._bursts = [Burst(*fields) for fields in meta["bursts"]]
        self._repeats.restore(arrays, meta)
        self._shares = dict(zip(arrays["shares"].tolist(), arrays["share_weights"].tolist(), strict=True))
        return self


_SCALARS = (
    "now", "weighed", "withheld", "_blocks", "_in_block", "_raw", "_size", "_active", "_user_most",
    "_total", "_scale", "_usual",
)  # fmt: skip
_DICTS = ("_users", "_released", "_owed")


def _fields(one: _Tally | Burst) -> list[Any]:
    return [getattr(one, name) for name in one.__slots__]
