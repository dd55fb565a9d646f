"""A small shop to test the core with: invented items, a toy encoder that is exact and fast, events by the line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from recsys.policy import Policy
from recsys.statistics import Statistics
from recsys.step import Incoming, StepResult, step
from recsys.text import terms
from recsys.user import User, decode_user, encode_user
from recsys.world import World
from schemas.events import EVENT
from schemas.items import Item

DIM = 48
START = 1_760_000_000_000
_KINDS = {
    "dresses": ["silk dress", "linen dress", "party dress"],
    "laptops": ["office laptop", "gaming laptop", "travel laptop"],
    "books": ["sea novel", "garden handbook", "city atlas"],
    "games": ["farm game", "space game", "puzzle game"],
}
_COLOURS = ["red", "blue", "green", "black"]


@cache
def _word(word: str) -> npt.NDArray[np.float32]:
    seed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)


def toy_encode(text: str) -> npt.NDArray[np.float32]:
    """A unit vector: the sum of a fixed random vector for each word."""
    total = np.sum([_word(t) for t in terms(text)] or [_word("")], axis=0)
    return (total / np.linalg.norm(total)).astype(np.float32)


def make_items() -> list[Item]:
    items = []
    for kind, (category, names) in enumerate(_KINDS.items()):
        for n, name in enumerate(names):
            for c, colour in enumerate(_COLOURS):
                items.append(
                    Item(
                        item_id=f"{category}-{n}{c}",
                        title=f"{colour} {name}",
                        categories=[category],
                        brand=["Acorn", "Birch", "Cedar"][(n + c) % 3],
                        price={"amount": 50.0 * (kind + 1) + 30 * n + 7 * c, "currency": "CNY"},
                        attributes={"colour": colour},
                        published_at=START - (n * 9 + c) * 86_400_000,
                    )
                )
    items.append(
        Item(item_id="help-returns", title="How to return a parcel", answer="Within 30 days.", categories=["help"])
    )
    return items


def make_world(items: Sequence[Item] | None = None, statistics: Statistics | None = None, dim: int = DIM) -> World:
    items = make_items() if items is None else items
    vectors = [(i.item_id, toy_encode(f"{i.title} {' '.join(i.categories)}")) for i in items] if dim else []
    world = World.empty(dim, toy_encode if dim else None).advanced(items, vectors, statistics)
    return world.settled()


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()


@pytest.fixture(scope="session")
def build_world() -> Callable[..., World]:
    return make_world


@pytest.fixture(scope="session")
def encode() -> Callable[[str], npt.NDArray[np.float32]]:
    return toy_encode


@pytest.fixture(scope="session")
def shop_items() -> list[Item]:
    return make_items()


class Log:
    """Writes events and runs them; `run` keeps users as a store would, through the codec."""

    def __init__(self, world: World, policy: Policy | None = None) -> None:
        self.world, self.policy = world, policy or Policy()
        self.users: dict[str, User] = {}
        self.stored: dict[str, dict[bytes, bytes]] = {}
        self.offset = 0

    def event(self, type: str, user: str = "u", **fields: Any) -> Incoming:
        at = self.offset
        self.offset += 1
        data = {"event_id": f"e{at}", "user_id": user, "ts": START + at * 60_000, "type": type, **fields}
        return Incoming(EVENT.validate_python(data), 0, at)

    def run(self, events: Sequence[Incoming]) -> StepResult:
        result = step(self.world, self.users, events, self.policy)
        for user_id, user in result.users.items():
            if user is None:
                self.users.pop(user_id, None)
                self.stored.pop(user_id, None)
            else:
                fields = encode_user(user, self.users.get(user_id, User.new(user_id)))
                held = self.stored.setdefault(user_id, {})
                held.update({name.encode(): value for name, value in fields.items()})
                assert held == {name.encode(): value for name, value in encode_user(user).items()}
                self.users[user_id] = decode_user(user_id, held)
        return result

    def send(self, type: str, user: str = "u", **fields: Any) -> list[dict[str, Any]]:
        """Runs one event and returns the values of the messages it caused."""
        return [m.value for m in self.run([self.event(type, user, **fields)]).messages]

    def click(self, item_id: str, user: str = "u", action: str = "click", **fields: Any) -> dict[str, Any]:
        return self.send("interaction", user, action=action, item_id=item_id, **fields)[0]


@pytest.fixture
def log(world: World) -> Log:
    return Log(world)


@pytest.fixture(scope="session")
def new_log() -> Callable[..., Log]:
    return Log
