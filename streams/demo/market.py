"""All shoppers at once: whose turn it is, what they see, and how well it suits them. No Kafka, no clock, no
screen.

In: recommendation records as they come back (`deliver`) and the time (`act`). Out: the next events to send,
and counts of what happened. `run.py` puts Kafka in between; the tests put any recommender there.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streams.demo.measure import POSITIVE, TOP, WARM_UP, Popularity, Score
from streams.demo.shoppers import Event, Shopper, Turn
from streams.demo.taste import Wish, features, fulfils

PATIENCE_MS = 3000  # after so long without a ranking a shopper goes on alone


@dataclass(frozen=True)
class Exchange:
    """A wish said in a chat, and what came back for it."""

    user_id: str
    language: str
    said: str
    reply: str | None
    titles: list[str]


@dataclass(frozen=True)
class Shown:
    """The head of a ranking as a person would read it: (title, first reason) a line."""

    user_id: str
    after: str
    lines: list[tuple[str, str]]
    clicked: list[str]


@dataclass
class Tally:
    """What happened so far. `all`: every trial; `unprompted`: those of shoppers with no wish in force."""

    all: Score = field(default_factory=Score)
    unprompted: Score = field(default_factory=Score)
    events: Counter[str] = field(default_factory=Counter)
    arrivals: int = 0
    shifts: int = 0
    impatient: int = 0
    offers: int = 0  # items in answers to a wish with conditions
    offers_kept: int = 0  # those that meet the price, the colour and the refusal


class Market:
    """`shoppers` people over one catalogue; the seed decides all but the times."""

    def __init__(self, items: Sequence[dict[str, Any]], shoppers: int, seed: int) -> None:
        self.features = features(items, seed)
        self.titles = [item["title"] for item in items]
        self.shoppers = [Shopper(number, self.features, seed) for number in range(shoppers)]
        self.popularity = Popularity(len(items))
        self.tally = Tally()
        self.exchanges: dict[str, deque[Exchange]] = {"en": deque(maxlen=4), "zh": deque(maxlen=4)}
        self.shown: deque[Shown] = deque(maxlen=4)
        self._random = np.random.default_rng([seed, 3])
        self._away = deque(int(number) for number in self._random.permutation(shoppers))
        self._ready: deque[tuple[int, dict[str, Any] | None]] = deque()
        self._waiting: OrderedDict[str, tuple[int, int]] = OrderedDict()  # event_id -> (shopper, since)
        self._said: dict[str, tuple[str, Wish | None]] = {}

    @property
    def waiting(self) -> int:
        """Shoppers who wait for a ranking."""
        return len(self._waiting)

    @property
    def present(self) -> int:
        """Shoppers who are in the shop."""
        return len(self.shoppers) - len(self._away)

    def deliver(self, recommendation: dict[str, Any]) -> None:
        """A recommendation came back. Only that for a shopper's last event is looked at; others are out of
        date.
        """
        trigger = recommendation["trigger"]["event_id"]
        entry = self._waiting.pop(trigger, None)
        if entry is not None:
            self._ready.append((entry[0], recommendation))
        self._overhear(trigger, recommendation)

    def title(self, row: int, language: str) -> str:
        """An item's title; of one that has two, that in the given language."""
        halves = self.titles[row].split(" / ")
        return str(halves[-1] if language == "zh" else halves[0])

    def act(self, now: int) -> list[Event]:
        """The events of the next shopper's turn; none if all wait. `now` in ms since the epoch."""
        self._lose_patience(now)
        busy = len(self.shoppers) - len(self._away)
        arrives = bool(self._away) and (
            not self._ready or self._random.random() < 0.25 * len(self._away) / (busy + len(self._away))
        )
        if arrives:
            number = self._away.popleft()
            self.tally.arrivals += 1
            turn = self.shoppers[number].arrive(now)
        elif self._ready:
            number, recommendation = self._ready.popleft()
            shopper = self.shoppers[number]
            turn = shopper.wander(now) if recommendation is None else self._show(shopper, recommendation, now)
        else:
            return []
        self._settle(number, turn, now)
        return turn.events

    def _show(self, shopper: Shopper, recommendation: dict[str, Any], now: int) -> Turn:
        """A shopper looks at a ranking; the trial is counted before anything is done about it."""
        rows = [self.features.row.get(item["item_id"], -1) for item in recommendation["items"][:TOP]]
        look, wishing = shopper.look(), shopper.taste.wish is not None
        clicked = look.clicked(rows)
        if self.popularity.counts.sum() >= WARM_UP:
            popular = bool(look.clicked(self.popularity.top(shopper.seen)))
            self.tally.all.add(bool(clicked), popular)
            if not wishing:
                self.tally.unprompted.add(bool(clicked), popular)
        if rows:
            language = shopper.taste.language
            lines = [
                (self.title(row, language), item["reasons"][0]["text"] if item.get("reasons") else "")
                for row, item in zip(rows[:3], recommendation["items"], strict=False)
                if row >= 0
            ]
            after = recommendation["trigger"]["type"]
            self.shown.append(Shown(shopper.user_id, after, lines, [self.title(row, language) for row in clicked]))
        return shopper.act(rows, recommendation["rec_id"], look, now)

    def _settle(self, number: int, turn: Turn, now: int) -> None:
        """Books a turn: counts it, and decides what the shopper waits for."""
        self.tally.shifts += turn.shifted
        last = None
        for event in turn.events:
            self.tally.events[str(event.get("action", event["type"]))] += 1
            if event.get("action") in POSITIVE:
                self.popularity.counts[self.features.row[event["item_id"]]] += 1
            if event["type"] == "chat":
                self._said[event["event_id"]] = (event["text"], self.shoppers[number].taste.wish)
            if event["type"] != "impression":
                last = event
        if turn.leaves or last is None:
            self._away.append(number)
        else:
            self._waiting[last["event_id"]] = (number, now)

    def _lose_patience(self, now: int) -> None:
        while self._waiting:
            event_id, (number, since) = next(iter(self._waiting.items()))
            if now - since < PATIENCE_MS:
                return
            del self._waiting[event_id]
            self.tally.impatient += 1
            self._ready.append((number, None))

    def _overhear(self, trigger: str, recommendation: dict[str, Any]) -> None:
        """Notes the answer to a wish, and whether what it offers keeps to what was said."""
        said = self._said.pop(trigger, None)
        if said is None:
            return
        text, wish = said
        rows = [row for item in recommendation["items"] if (row := self.features.row.get(item["item_id"])) is not None]
        if wish is None:
            return
        if wish.most is not None or wish.colour is not None or wish.not_theme is not None:
            kept = fulfils(self.features, Wish(colour=wish.colour, most=wish.most, not_theme=wish.not_theme))
            self.tally.offers += len(rows)
            self.tally.offers_kept += int(kept[rows].sum())
        user_id = recommendation["user_id"]
        language = self.shoppers[int(user_id.rsplit("-", 1)[1])].taste.language
        self.exchanges[language].append(
            Exchange(
                user_id, language, text, recommendation.get("reply"), [self.title(row, language) for row in rows[:3]]
            )
        )
