"""People to fill a store with: real Users, made by the real step from fifty varied events each.

In: a shop. Out: fields as the worker stores them. A few thousand distinct ones are made and stored again under other
keys: what a user takes in Redis depends on its bytes and not on whether another has the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from recsys.policy import Policy
from recsys.step import Incoming, step
from recsys.user import User, encode_user
from schemas.events import EVENT
from streams.bench.shop import Shop

EVENTS = 50
RANKED = 4
"""How many of the last events are ranked: as many recommendations as a user keeps open."""
SAID = ("a red dress under 500 yuan", "something light for running", "不要太贵的连衣裙", "a game for two")
ACTIONS = ("view", "click", "click", "add_to_cart", "purchase", "like", "skip", "dislike", "rate", "share")
TOGETHER = 100  # users made at a time
START_MS = 1_790_000_000_000


def fields_of_people(shop: Shop, n: int) -> list[dict[str, bytes]]:
    """The stored fields of `n` users after EVENTS events."""
    random = np.random.default_rng(21)
    quiet = shop.settings.policy.model_copy(update={"ranking_actions": frozenset()})
    made: list[dict[str, bytes]] = []
    while len(made) < n:
        names = [f"user{len(made) + at:012d}" for at in range(min(TOGETHER, n - len(made)))]
        lives = [list(_life(shop, name, random)) for name in names]
        users = _lived(shop, {}, [event for life in lives for event in life[:-RANKED]], quiet)
        users |= _lived(shop, users, [event for life in lives for event in life[-RANKED:]], Policy())
        made += [encode_user(users[name]) for name in names]
    return made


def _lived(shop: Shop, users: dict[str, User], events: list[Any], policy: Policy) -> dict[str, User]:
    incoming = [Incoming(EVENT.validate_python(event), 0, at) for at, event in enumerate(events)]
    after = step(shop.world, users, incoming, policy).users
    return {name: user for name, user in after.items() if user is not None}


def _life(shop: Shop, user_id: str, random: np.random.Generator) -> Iterator[dict[str, Any]]:
    """EVENTS events over some weeks: interactions for the most part, now and then a word, a slate shown, a trait."""
    ts = START_MS
    for at in range(EVENTS):
        ts += int(random.exponential(8 * 3_600_000))
        event = {"event_id": f"{user_id[4:]}{at:04d}", "user_id": user_id, "ts": ts}
        items = [shop.items[int(one)].item_id for one in len(shop.items) * random.random(8) ** 2]
        if at in (10, 30):
            yield event | {"type": "chat", "text": SAID[int(random.integers(len(SAID)))]}
        elif at in (15, 25, 40):
            yield event | {"type": "impression", "rec_id": f"rec-{at}", "item_ids": items}
        elif at == 5:
            yield event | {"type": "traits", "attributes": {"age": int(random.integers(18, 80)), "city": "Uppsala"}}
        else:
            action = ACTIONS[int(random.integers(len(ACTIONS)))]
            value = {"value": float(random.integers(1, 6))} if action == "rate" else {}
            yield event | {"type": "interaction", "action": action, "item_id": items[0], **value}
