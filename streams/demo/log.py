"""Synthetic catalogues and logs of any size, for benchmarks: believable shapes, made fast.

In: sizes and a seed. Out: iterators of plain records, the same each time. A catalogue has titles from the
demo's word lists; a log has popular items (a power law), users with a lasting interest, and ordered times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from streams.demo.words import books, clothing, films, games

CHUNK = 50_000
ACTIONS = ("view", "click", "add_to_cart", "purchase", "like", "skip")
ACTION_SHARES = (0.45, 0.35, 0.08, 0.04, 0.04, 0.04)
GROUPS = 64  # of items that the same people like
AT_HOME = 0.6  # share of a user's events inside the own group
STEP_MS = 20  # mean time between two events of the log


def synthetic_items(n: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """`n` items with unique ids `item-0000000` and unique titles; a third Chinese. A million take seconds."""
    stock = _stock()
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        random = np.random.default_rng([seed, 1, start])
        kinds = random.integers(len(stock), size=size).tolist()
        prices = np.round(np.exp(random.normal(4.8, 1.0, size)), 1).tolist()
        ages = random.integers(0, 3 * 365 * 86_400, size=size).tolist()
        speaks_chinese = (random.random(size) < 1 / 3).tolist()
        for offset, (kind, price, age, chinese) in enumerate(zip(kinds, prices, ages, speaks_chinese, strict=True)):
            category, shelf, english, zh, brand, colour = stock[kind]
            number = start + offset
            # a number in the title, as model numbers and editions have: a million titles, none twice
            yield {
                "item_id": f"item-{number:07d}",
                "title": f"{zh} {number}" if chinese else f"{english} {number}",
                "categories": [category, shelf],
                "brand": brand,
                "price": {"amount": price, "currency": "CNY"},
                "attributes": {"colour": colour} if colour else {},
                "published_at": 1_793_000_000_000 - age * 1000,
            }


def _stock() -> list[tuple[str, str, str, str, str, str]]:
    """(category, shelf, English title, Chinese title, brand, colour) of everything the words can say."""
    stock = [
        (
            "clothing",
            garment.category,
            f"{brand} {colour.title()} {material.title()} {cut[0]} {garment.noun[0]}",
            f"{brand_zh}{clothing.COLOURS[colour]}{clothing.MATERIALS[material]}{cut[1]}{garment.noun[1]}",
            brand,
            colour,
        )
        for garment in clothing.GARMENTS
        for brand, brand_zh, _ in clothing.BRANDS
        for colour in garment.colours
        for cut in garment.cuts
        for material in cut[2]
    ]
    kinds: tuple[tuple[str, str, str, Any, Any], ...] = (
        ("games", "game", "游戏", games.GENRES, games.STUDIOS),
        ("films", "film", "电影", films.GENRES, films.STUDIOS),
        ("books", "book", "图书", books.GENRES, books.PUBLISHERS),
    )
    for category, noun, noun_zh, genres, makers in kinds:
        for genre, (genre_zh, titles, _, _) in genres.items():
            stock += [
                (category, genre, f"{title} ({genre} {noun})", f"《{title_zh}》{genre_zh}{noun_zh}", maker, "")
                for title, title_zh in titles
                for maker, _, _ in makers
            ]
    return stock


def synthetic_log(
    users: int, events: int, items: int | Sequence[str], seed: int = 0, start_ms: int = 1_790_000_000_000
) -> Iterator[dict[str, Any]]:
    """`events` interactions in order of time, by `users` users on `items` (their number, or their ids).

    Ids: `user-0000000`, and `item-0000000` as in `synthetic_items` where `items` is a number.
    """
    names = [f"item-{n:07d}" for n in range(items)] if isinstance(items, int) else list(items)
    if users < 1 or not names:
        raise ValueError("a log needs at least one user and one item")
    ranks = np.random.default_rng([seed, 2]).permutation(len(names))
    groups = min(GROUPS, len(names))
    clock = start_ms
    for start in range(0, events, CHUNK):
        size = min(CHUNK, events - start)
        random = np.random.default_rng([seed, 4, start])
        # who: few users do much; what: few items get much, most of it inside the user's own group
        who = (users * random.random(size) ** 1.6).astype(np.int64)
        place = (len(names) * random.random(size) ** 3).astype(np.int64)
        home = who % groups
        at_home = random.random(size) < AT_HOME
        near = np.minimum(place // groups * groups + home, len(names) - 1)
        what = ranks[np.where(at_home, near, place)]
        actions = random.choice(len(ACTIONS), size=size, p=ACTION_SHARES).tolist()
        times = clock + np.cumsum(random.integers(0, 2 * STEP_MS + 1, size=size))
        clock = int(times[-1])
        for number, user, item, action, ts in zip(
            range(start, start + size), who.tolist(), what.tolist(), actions, times.tolist(), strict=True
        ):
            yield {
                "event_id": f"e{number}",
                "type": "interaction",
                "user_id": f"user-{user:07d}",
                "ts": ts,
                "action": ACTIONS[action],
                "item_id": names[item],
            }
