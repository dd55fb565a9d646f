"""A user of fifty events takes a kilobyte of Redis on average, open recommendations apart."""

from __future__ import annotations

import random
import uuid

import pytest
import redis

from recsys.policy import Policy
from recsys.step import Incoming, step
from recsys.user import User, encode_user
from recsys.world import World
from schemas.events import EVENT
from schemas.items import Item
from streams.store.redis import RedisStore

pytestmark = pytest.mark.services
START = 1_760_000_000_000


def _item(n: int) -> Item:
    kind = ["dresses", "laptops", "books", "games", "phones"][n % 5]
    return Item(
        item_id=f"item-{n:06}", title=f"A thing of the kind {kind} no. {n}", categories=[kind], brand=f"maker {n % 40}"
    )


def _events(user: str, rng: random.Random) -> list[Incoming]:
    """Fifty events as a shopper sends them, with ids of sixteen characters."""
    out = []
    for n in range(50):
        base = {"event_id": f"{rng.getrandbits(64):016x}", "user_id": user, "ts": START + n * 3_600_000}
        item = f"item-{rng.randrange(2000):06}"
        if n % 25 == 24:
            data = {"type": "traits", "attributes": {"age": 31, "city": "Hangzhou"}}
        elif n % 16 == 15:
            data = {
                "type": "impression",
                "rec_id": "r",
                "item_ids": [f"item-{rng.randrange(2000):06}" for _ in range(5)],
            }
        else:
            data = {
                "type": "interaction",
                "action": rng.choice(["view", "click", "click", "purchase"]),
                "item_id": item,
            }
        out.append(Incoming(EVENT.validate_python(base | data), 0, n))
    return out


def test_fifty_events_fit_into_a_kilobyte(redis_server, namespace):
    world = World.empty().advanced([_item(n) for n in range(2000)]).settled()
    policy = Policy(ranking_actions=frozenset())
    rng = random.Random(5)
    users: dict[str, User] = {}
    for _ in range(60):
        user_id = uuid.UUID(int=rng.getrandbits(128)).hex[:12]
        result = step(world, {}, _events(user_id, rng), policy)
        users |= {u: v for u, v in result.users.items() if v is not None}
    store = RedisStore(redis_server.url, namespace)
    store.save(0, None, 1, {u: encode_user(v) for u, v in users.items()}, [], note=b"", token=b"t")
    client = redis.Redis.from_url(redis_server.url)
    sizes = [client.memory_usage(key) for key in client.scan_iter(f"*{namespace}*:u:*", count=1000)]
    assert len(sizes) == 60
    parts = {name: sum(len(encode_user(u)[name]) for u in users.values()) / 60 for name in ("state", "profile", "open")}
    print("bytes a user:", sum(sizes) / 60, "to", max(sizes), parts)
    assert sum(sizes) / 60 <= 1024
