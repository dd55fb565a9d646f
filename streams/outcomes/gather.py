"""Gather: recommendations as published and the events that followed -> arrays, each place with its reward.

In: bytes of recommendations, all of them before the first event; then bytes of events in the order of the log. Out:
`Outcomes`. Only numbers and codes are kept: about 30 bytes a place, 60 an event.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from recsys.actions import weigh
from recsys.counterfactual.attribution import Acts, Shown, rewards_of
from recsys.counterfactual.slates import Floats, Ints, Logged
from recsys.policy import Policy


@dataclass(slots=True)
class Outcomes:
    """n recommendations that count; users are codes, arms are places in `arm_names`.

    In the order of their users' and their own ids, whatever order they were read in: partitions of a topic come in no
    order, and sums of floats, and draws of a bootstrap, would differ in what they are taken over.

    `teams` [n, K]: 0 none, 1 the first ranking of an interleaving, 2 the second. `pairs` [n]: which two, -1 for none.
    """

    logged: Logged
    rec_ids: list[str]
    arms: Ints
    arm_names: list[str]
    teams: npt.NDArray[np.int8]
    pairs: Ints
    pair_names: list[tuple[str, str]]
    item_codes: dict[str, int]
    notes: list[str] = field(default_factory=list)


class Codes(dict[str, int]):
    """Numbers for names, from 0 on, in the order of their first coming."""

    def __missing__(self, name: str) -> int:
        self[name] = code = len(self)
        return code


class Gatherer:
    """Takes recommendations, then events; `finish` puts them together."""

    def __init__(self, policy: Policy, actions: frozenset[str] | None, window_ms: int) -> None:
        """`actions`: those that count as a reward; None: all with a positive evidence weight."""
        self._policy, self._actions, self._window_ms = policy, actions, window_ms
        self._users, self._items, self._arms, self._pairs = Codes(), Codes(), Codes(), Codes()
        self._rec_of: dict[str, int] = {}
        self._row_of_trigger: dict[tuple[str, str], int] = {}
        self._rec_user, self._rec_ts, self._rec_arm, self._rec_pair = (array("q") for _ in range(4))
        self._place_item, self._place_share, self._place_team, self._ends = (
            array("q"),
            array("d"),
            array("b"),
            array("q"),
        )
        self._trigger_at: dict[int, int] = {}
        self._acts = tuple(array("q") for _ in range(5))
        self._seen_ts = array("q")
        self._seen = 0
        self._shown: set[int] = set()
        self.broken = 0
        own = (policy.exploration, *(arm.exploration for arm in policy.arms.values()))
        self.exploration = max(share for share in own if share is not None)

    def recommendation(self, data: bytes) -> None:
        """One record of the recommendations topic. A second one of the same id, as a retry makes, changes nothing."""
        try:
            record: dict[str, Any] = orjson.loads(data)
            rec_id, user, trigger, items = record["rec_id"], record["user_id"], record["trigger"], record["items"]
            places = [(i["item_id"], float(i["propensity"]), i.get("team")) for i in items]
            if not all(0 < share <= 1 for _, share, _ in places):
                raise ValueError("propensity")
            ts, event_id = int(trigger["ts"]), trigger["event_id"]
        except (ValueError, KeyError, TypeError):
            self.broken += 1
            return
        if not places or rec_id in self._rec_of:
            return
        row = self._rec_of[rec_id] = len(self._rec_of)
        self._row_of_trigger[user, event_id] = row
        self._rec_user.append(self._users[user])
        self._rec_ts.append(ts)
        self._rec_arm.append(self._arms[record.get("arm") or "main"])
        names = list(dict.fromkeys(record.get("interleaved") or ()))
        self._rec_pair.append(self._pairs["\0".join(names)] if len(names) == 2 else -1)
        for item, share, team in places:
            self._place_item.append(self._items[item])
            self._place_share.append(share)
            self._place_team.append(names.index(team) + 1 if len(names) == 2 and team in names else 0)
        self._ends.append(len(self._place_item))

    def event(self, data: bytes) -> None:
        """One record of the events topic; what is no event counts as broken."""
        try:
            record: dict[str, Any] = orjson.loads(data)
            kind, user, event_id = record["type"], record["user_id"], record["event_id"]
            ts = record["ts"] if isinstance(record["ts"], int) else _ms(record["ts"])
        except (ValueError, KeyError, TypeError):
            self.broken += 1
            return
        at, self._seen = self._seen, self._seen + 1
        self._seen_ts.append(ts)
        row = self._row_of_trigger.get((user, event_id))
        if row is not None:
            self._trigger_at.setdefault(row, at)
        if kind == "impression":
            if (shown := self._rec_of.get(record.get("rec_id", ""))) is not None:
                self._shown.add(shown)
        elif kind == "interaction" and user in self._users and self._counts(record):
            rec = self._rec_of.get(record.get("rec_id") or "", -1)
            if rec >= 0 and self._rec_user[rec] != self._users[user]:
                rec = -1  # another user's: a mistake of the sender
            item = self._items.get(record.get("item_id", ""), -1)
            if item >= 0:
                for column, value in zip(self._acts, (self._users[user], item, ts, 2 * at, rec), strict=True):
                    column.append(value)

    def _counts(self, record: dict[str, Any]) -> bool:
        action, value = str(record.get("action", "")), record.get("value")
        if self._actions is not None:
            return action in self._actions
        number = value if isinstance(value, int | float) else None
        return weigh(action, number, self._policy)[1] > 0

    def finish(self, *, shown_only: bool = True, keep: Callable[[str], bool] | None = None) -> Outcomes:
        """`shown_only`: if impressions name any recommendation, only those that they name count. `keep`: by arm."""
        n = len(self._rec_of)
        starts = np.concatenate([[0], np.asarray(self._ends, np.int64)])
        lengths = np.diff(starts)
        width = int(lengths.max(initial=0))
        there = np.arange(width) < lengths[:, None]
        items, shares = np.full((n, width), -1, np.int64), np.ones((n, width))
        teams = np.zeros((n, width), np.int8)
        items[there], shares[there], teams[there] = self._place_item, self._place_share, self._place_team
        users, ts = np.asarray(self._rec_user, np.int64), np.asarray(self._rec_ts, np.int64)
        rewards = rewards_of(
            Shown(users, items, ts, self._orders(ts)), Acts(*(np.asarray(c, np.int64) for c in self._acts)),
            self._window_ms,
        )  # fmt: skip
        chosen = np.ones(n, bool)
        notes = []
        if self.broken:
            notes.append(f"{self.broken:,} records could not be read and are left out")
        if shown_only and self._shown:
            chosen[:] = False
            chosen[list(self._shown)] = True
            notes.append(f"{len(self._shown):,} of {n:,} recommendations were shown (impressions); only these count")
        if keep is not None:
            names = np.array([keep(name) for name in self._arms], bool)
            chosen &= names[np.asarray(self._rec_arm, np.int64)]
        rec_ids, names_of_users = list(self._rec_of), list(self._users)
        order_of_user = np.empty(len(names_of_users), np.int64)
        order_of_user[sorted(range(len(names_of_users)), key=names_of_users.__getitem__)] = np.arange(
            len(names_of_users)
        )
        users = order_of_user[users]
        at = np.array(sorted(np.flatnonzero(chosen).tolist(), key=lambda n: (users[n], rec_ids[n])), np.int64)
        return Outcomes(
            Logged(users[at], items[at], rewards[at], shares[at]),
            [rec_ids[n] for n in at],
            np.asarray(self._rec_arm, np.int64)[at], list(self._arms), teams[at],
            np.asarray(self._rec_pair, np.int64)[at],
            [(a, b) for a, _, b in (name.partition("\0") for name in self._pairs)], self._items, notes,
        )  # fmt: skip

    def _orders(self, ts: Ints) -> Ints:
        """Just behind its trigger in the log; by time where the log does not hold it."""
        order = 2 * np.searchsorted(np.maximum.accumulate(np.asarray(self._seen_ts, np.int64)), ts, "right") - 1
        rows = np.fromiter(self._trigger_at.keys(), np.int64, len(self._trigger_at))
        order[rows] = 2 * np.fromiter(self._trigger_at.values(), np.int64, len(self._trigger_at)) + 1
        return np.asarray(order, np.int64)


def slates_of(records: Iterable[bytes], item_codes: dict[str, int]) -> tuple[list[str], Ints, Floats]:
    """(rec_ids, items [n, K], propensities [n, K]) of recommendations, in the codes of another log.

    An item that it does not know is -2, and -1 stands behind the end of a slate.
    """
    ids, rows, shares = [], [], []
    for data in records:
        record = orjson.loads(data)
        ids.append(record["rec_id"])
        rows.append([item_codes.get(i["item_id"], -2) for i in record["items"]])
        shares.append([float(i["propensity"]) for i in record["items"]])
    width = max(map(len, rows), default=0)
    items, chance = np.full((len(rows), width), -1, np.int64), np.ones((len(rows), width))
    for n, (row, share) in enumerate(zip(rows, shares, strict=True)):
        items[n, : len(row)], chance[n, : len(share)] = row, share
    return ids, items, chance


def _ms(stamp: Any) -> int:
    from schemas.wire import parse_rfc3339

    return parse_rfc3339(stamp) if isinstance(stamp, str) else int(stamp)
