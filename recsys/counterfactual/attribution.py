"""Attribution: which interaction is the reward of which place of which recommendation.

An interaction that names a rec_id belongs to that recommendation, if its item stands in it. Any other belongs to the
user's last earlier recommendation that holds the item, if that is at most a window old. Each interaction counts once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.counterfactual.slates import Floats, Ints


@dataclass(frozen=True, slots=True)
class Shown:
    """n recommendations: users [n], items [n, K] (-1: none), ts [n] in ms, and `order` [n]: their place in the log."""

    users: Ints
    items: Ints
    ts: Ints
    order: Ints


@dataclass(frozen=True, slots=True)
class Acts:
    """m interactions: users, items, ts (ms), order [m]; recs [m]: the recommendation that each names, or -1.

    An act comes after a recommendation if its `order` is greater.
    """

    users: Ints
    items: Ints
    ts: Ints
    order: Ints
    recs: Ints


def rewards_of(shown: Shown, acts: Acts, window_ms: int) -> Floats:
    """float64[n, K]: 1 where at least one act belongs to the place, else 0. Users and items are codes from 0 on."""
    out = np.zeros(shown.items.shape)
    if not out.size or not len(acts.users):
        return out
    named = acts.recs >= 0
    rows = acts.recs[named]
    match = shown.items[rows] == acts.items[named, None]
    hit = match.any(axis=1) & (acts.order[named] > shown.order[rows])
    out[rows[hit], match[hit].argmax(axis=1)] = 1.0
    _by_item(shown, acts, ~named, window_ms, out)
    return out


def _by_item(shown: Shown, acts: Acts, which: npt.NDArray[np.bool_], window_ms: int, out: Floats) -> None:
    """Places and acts in one line by (user, item, order); before each act stands the place it belongs to."""
    slate, place = np.nonzero(shown.items >= 0)
    n_items = max(int(shown.items.max(initial=0)), int(acts.items.max(initial=0))) + 1
    key = np.concatenate([
        shown.users[slate] * n_items + shown.items[slate, place],
        acts.users[which] * n_items + acts.items[which],
    ])  # fmt: skip
    order = np.concatenate([shown.order[slate], acts.order[which]])
    is_act = np.arange(len(key)) >= len(slate)
    line = np.lexsort((~is_act, order, key))  # of equal order, the act first: it is not after the recommendation
    last = np.maximum.accumulate(np.where(is_act[line], -1, np.arange(len(line))))
    at = np.flatnonzero(is_act[line] & (last >= 0))
    found, act = line[last[at]], line[at]
    ts = acts.ts[which][act - len(slate)]
    good = (key[found] == key[act]) & (ts - shown.ts[slate[found]] <= window_ms)
    out[slate[found[good]], place[found[good]]] = 1.0
