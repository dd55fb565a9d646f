"""Recommenders to put in Headwater's place, and a loop that runs the market against one of them, in memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from streams.demo.catalogue import load
from streams.demo.market import Market
from streams.demo.taste import chances

START = 1_790_000_000_000
Recommend = Callable[[Market, str], np.ndarray]


def by_popularity(market: Market, user_id: str) -> np.ndarray:
    return market.popularity.counts.astype(float)


def by_oracle(market: Market, user_id: str) -> np.ndarray:
    shopper = market.shoppers[int(user_id[-4:])]
    return chances(market.features, shopper.taste)


class ByContent:
    """Likeness of titles, as TF-IDF of words, Chinese characters and pairs of them, to what a user touched.

    `memory`: how many of a user's first items count; None: all, the later ones more.
    """

    def __init__(self, titles: list[str], memory: int | None = None) -> None:
        texts = [Counter(self._tokens(title)) for title in titles]
        words = {word: column for column, word in enumerate(sorted(set().union(*texts)))}
        counts = np.zeros((len(titles), len(words)))
        for row, text in enumerate(texts):
            for word, count in text.items():
                counts[row, words[word]] = count
        weighted = counts * np.log(len(titles) / (counts > 0).sum(axis=0))
        self.vectors = weighted / np.linalg.norm(weighted, axis=1, keepdims=True)
        self.memory = memory
        self.touched: dict[str, list[int]] = defaultdict(list)

    @staticmethod
    def _tokens(title: str) -> list[str]:
        chinese = [c for c in title if "\u4e00" <= c <= "\u9fff"]
        pairs = [a + b for a, b in pairwise(chinese)]
        return [word.strip("(),") for word in title.lower().split() if word.isascii()] + pairs

    def __call__(self, market: Market, user_id: str) -> np.ndarray:
        rows = self.touched[user_id]
        rows = rows[: self.memory] if self.memory else rows
        if not rows:
            return by_popularity(market, user_id)
        fading = 1.0 if self.memory else 0.85 ** np.arange(len(rows))[::-1]
        return self.vectors @ (self.vectors[rows] * np.reshape(fading, (-1, 1))).sum(axis=0)


def simulate(
    items: list[dict[str, Any]], recommend: Recommend, *, turns: int, shoppers: int = 120, seed: int = 5
) -> tuple[Market, list[dict[str, Any]]]:
    """Runs the market for so many turns; every event but an impression is answered at once by a ranking."""
    market, log = Market(items, shoppers, seed), []
    for turn in range(turns):
        events = market.act(START + 40 * turn)
        log += events
        for event in events:
            user_id = event["user_id"]
            if event["type"] == "interaction" and isinstance(recommend, ByContent):
                wanted = event["action"] not in ("skip", "dislike")
                recommend.touched[user_id] += [market.features.row[event["item_id"]]] * wanted
        asked = [event for event in events if event["type"] != "impression"]
        if asked:
            market.deliver(ranking(market, recommend, asked[-1]))
    return market, log


def ranking(market: Market, recommend: Recommend, event: dict[str, Any]) -> dict[str, Any]:
    user_id = event["user_id"]
    scores = np.where(market.shoppers[int(user_id[-4:])].seen, -np.inf, recommend(market, user_id))
    top = np.argsort(-scores, kind="stable")[:10]
    return {
        "rec_id": f"r-{event['event_id']}",
        "user_id": user_id,
        "kind": "ranking",
        "trigger": {"event_id": event["event_id"], "type": event["type"], "ts": event["ts"]},
        "items": [{"item_id": market.features.item_ids[row], "reasons": []} for row in top],
        "reply": None,
    }


@pytest.fixture(scope="session")
def items() -> list[dict[str, Any]]:
    return load()


@pytest.fixture(scope="session")
def run() -> Callable[..., Any]:
    return simulate


@pytest.fixture(scope="session")
def recommenders(items: list[dict[str, Any]]) -> dict[str, Callable[[], Recommend]]:
    """Makers of recommenders by name; each call a fresh one."""
    titles = [item["title"] for item in items]
    return {
        "popularity": lambda: by_popularity,
        "oracle": lambda: by_oracle,
        "content": lambda: ByContent(titles),
        "frozen": lambda: ByContent(titles, memory=4),
    }
