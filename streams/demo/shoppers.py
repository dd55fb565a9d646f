"""One simulated shopper: arrives with next to no history, looks at what is shown, acts by a hidden taste,
and talks.

In: a ranking as rows of the catalogue, its rec_id, and the time. Out: event records in the order in which
they are sent, all of one user. Reproducible: the same seed and the same rankings shown give the same
events, times apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streams.demo import phrases
from streams.demo.measure import TOP, Look
from streams.demo.taste import Features, Wish, chances, draw_taste, fulfils

Event = dict[str, Any]

SHIFT = 0.04  # chance a turn that the taste changes
MOST_CLICKS = 3  # a turn
WISH_TURNS = (2, 5)  # how many turns a wish lasts, from and below


@dataclass
class Turn:
    """What a shopper did at one moment. `shifted`: the taste changed just before; `said`: words of a chat,
    if any.
    """

    events: list[Event] = field(default_factory=list)
    leaves: bool = False
    shifted: bool = False
    said: str | None = None


class Shopper:
    """A user with a hidden taste. `number` and `seed` decide everything that is random about it."""

    def __init__(self, number: int, features: Features, seed: int) -> None:
        self.user_id = f"shopper-{number:04d}"
        self.features = features
        self.random = np.random.default_rng([seed, 7, number])
        language = "zh" if self.random.random() < 0.45 else "en"
        self.taste = draw_taste(features, self.random, language)
        self.talkative = float(self.random.uniform(0.05, 0.25))
        self.seen = np.zeros(len(features.item_ids), dtype=np.bool_)
        self._chances = chances(features, self.taste)
        self._sent = 0
        self._visit = 0
        self._wish_left = 0

    # moments --------------------------------------------------------------------------------------

    def arrive(self, now: int) -> Turn:
        """A visit begins: something found elsewhere, or a wish in plain words. `now` in epoch ms."""
        self._visit += 1
        turn = Turn()
        if self.random.random() < 0.12:
            self._wish(turn, now)
        else:
            for _ in range(1 + (self.random.random() < 0.5)):
                self._browse(turn, now)
        return turn

    def look(self) -> Look:
        """The eyes for the next ranking: to be used for every list compared, then given to `act`."""
        return Look(self._chances, self.random.random(len(self.features.item_ids)), self.random.random(TOP))

    def act(self, rows: list[int], rec_id: str, look: Look, now: int) -> Turn:
        """The answer to a ranking looked at; rows of the items shown, -1 for one that the catalogue lacks."""
        turn = Turn()
        shown = [self.features.item_ids[row] for row in rows[:TOP] if row >= 0]
        if shown:
            self._emit(turn, now, {"type": "impression", "rec_id": rec_id, "item_ids": shown})
        clicked = look.clicked(rows)
        for row in clicked[:MOST_CLICKS]:
            self._interact(turn, now, "click", row, rec_id)
            self._go_on(turn, now, row, rec_id)
        dull = [row for row in look.examined(rows) if look.chances[row] < 0.015]
        if dull and not clicked and self.random.random() < 0.3:
            self._interact(turn, now, "dislike" if self.random.random() < 0.15 else "skip", dull[0], rec_id)
        self._move_on(turn, now, bool(clicked))
        return turn

    def wander(self, now: int) -> Turn:
        """Nothing was shown in time: the shopper looks around alone."""
        turn = Turn()
        self._browse(turn, now)
        return turn

    # deeds ----------------------------------------------------------------------------------------

    def _go_on(self, turn: Turn, now: int, row: int, rec_id: str) -> None:
        """After a click: a cart, a purchase, a like, a review; the likelier, the better it fits."""
        keen = self._chances[row]
        if self.random.random() < 0.3 * keen:
            self._interact(turn, now, "add_to_cart", row, rec_id)
            if self.random.random() < 0.5:
                price = self.features.price[row]
                value = {} if np.isnan(price) else {"value": float(price)}
                self._interact(turn, now, "purchase", row, rec_id, **value)
                if self.random.random() < 0.35:
                    category = self.features.shelves[self.features.shelf[row]][0]
                    if category in phrases.PRAISE:
                        text = phrases.review(category, self.taste.language, self.random)
                        self._interact(turn, now, "review", row, rec_id, value=5.0, text=text)
        elif self.random.random() < 0.2 * keen:
            self._interact(turn, now, "like", row, rec_id)

    def _move_on(self, turn: Turn, now: int, pleased: bool) -> None:
        """After a ranking: wishes lapse, tastes change, people talk, search, browse or leave."""
        if self._wish_left:
            self._wish_left -= 1
            if not self._wish_left:
                self._want(None)
                self._say(turn, now, phrases.retract(self.taste.language, self.random))
                return
        elif self.random.random() < SHIFT:
            self.shift()
            turn.shifted = True
            if self.random.random() < 0.5:
                shelf = self._favourite()
                self._say(turn, now, phrases.confess(self.features, shelf, self.taste.language, self.random))
                return
        chance = self.random.random()
        if pleased:
            if chance < 0.2 * self.talkative and not self._wish_left:
                self._wish(turn, now)
            turn.leaves = chance > 0.93
        elif chance < self.talkative and not self._wish_left:
            self._wish(turn, now)
        elif chance < self.talkative + 0.1:
            self._search(turn, now)
        elif chance < self.talkative + 0.5:
            self._browse(turn, now)
        else:
            turn.leaves = True

    def shift(self) -> None:
        """Another taste, but for one old love that lingers a little."""
        old = self._favourite()
        fresh = draw_taste(self.features, self.random, self.taste.language)
        fresh.shelves.setdefault(old, 0.25)
        self.taste = fresh
        self._chances = chances(self.features, fresh)

    def _favourite(self) -> int:
        shelves, weights = zip(*self.taste.shelves.items(), strict=True)
        share = np.array(weights) ** 2
        return int(self.random.choice(shelves, p=share / share.sum()))

    def _browse(self, turn: Turn, now: int) -> None:
        """Finds an item without help, through a friend or a search engine: by taste, less sharply than by
        choice.
        """
        weights = np.sqrt(self._chances) * self._chances * ~self.seen
        if weights.sum() <= 0:
            turn.leaves = True
            return
        row = int(self.random.choice(weights.size, p=weights / weights.sum()))
        self._interact(turn, now, "click" if self.random.random() < 0.4 else "view", row, None)

    def _search(self, turn: Turn, now: int) -> None:
        words = phrases.query(self.features, self._favourite(), self.taste.language)
        self._emit(turn, now, {"type": "request", "k": TOP, "query": words, "surface": "search"})

    # words ----------------------------------------------------------------------------------------

    def _wish(self, turn: Turn, now: int) -> None:
        """Says what is wanted, or not wanted; from then on the taste asks for just that, for a few turns."""
        language, chance = self.taste.language, self.random.random()
        if chance < 0.06:
            topics = [n for n, (category, _) in enumerate(self.features.shelves) if category == "help"]
            shelf = int(self.random.choice(topics))
            readable = self.features.readable[language] & (self.features.shelf == shelf)
            if readable.any():
                self._want(Wish(shelf=shelf), turns=1)
                topic = self.features.shelves[shelf][1]
                self._say(turn, now, phrases.ask_for_help(topic, language, self.random))
                return
        if chance < 0.2:
            themes = set(phrases.GENRES) - {self.features.shelves[n][1] for n in self.taste.shelves}
            theme = str(self.random.choice(sorted(themes)))
            self._want(Wish(not_theme=self.features.names["theme"].index(theme)))
            self._say(turn, now, phrases.refuse(theme, language, self.random))
            return
        wish = self._draw_wish(self._favourite())
        self._want(wish)
        self._say(turn, now, phrases.want(self.features, wish, language, self.random))

    def _draw_wish(self, shelf: int) -> Wish:
        """A shelf, perhaps a colour, perhaps a price: always one that several unseen items fulfil."""
        wish = Wish(shelf=shelf)
        mine = (self.features.shelf == shelf) & ~self.seen
        colours = np.unique(self.features.colour[mine])
        colours = colours[colours >= 0]
        if colours.size and self.random.random() < 0.5:
            liked = [int(c) for c in colours if int(c) in self.taste.colours] or colours.tolist()
            narrower = Wish(shelf=shelf, colour=int(self.random.choice(liked)))
            if (fulfils(self.features, narrower) & mine).any():
                wish = narrower
        prices = np.sort(self.features.price[fulfils(self.features, wish) & mine])
        if prices.size and self.random.random() < 0.6:
            spread = 0.5 + 0.4 * self.taste.price_level
            wish = Wish(shelf, wish.colour, _round_up(float(prices[int(spread * (prices.size - 1))])))
        return wish

    def _want(self, wish: Wish | None, turns: int | None = None) -> None:
        self.taste = self.taste.wishing(wish)
        self._chances = chances(self.features, self.taste)
        self._wish_left = 0 if wish is None else turns or int(self.random.integers(*WISH_TURNS))

    def _say(self, turn: Turn, now: int, text: str) -> None:
        turn.said = text
        conversation = f"{self.user_id}-{self._visit}"
        self._emit(turn, now, {"type": "chat", "text": text, "conversation_id": conversation})

    # records --------------------------------------------------------------------------------------

    def _interact(self, turn: Turn, now: int, action: str, row: int, rec_id: str | None, **more: Any) -> None:
        self.seen[row] = True
        event = {"type": "interaction", "action": action, "item_id": self.features.item_ids[row], **more}
        self._emit(turn, now, event | ({"rec_id": rec_id} if rec_id else {}))

    def _emit(self, turn: Turn, now: int, event: Event) -> None:
        self._sent += 1
        turn.events.append(
            {
                "event_id": f"{self.user_id}-{self._sent:05d}",
                "user_id": self.user_id,
                "session_id": f"{self.user_id}-{self._visit}",
                "ts": now + len(turn.events),
                **event,
            }
        )


def _round_up(price: float) -> float:
    """The next price that a person would say."""
    for step in (5, 10, 50, 100, 500):
        if price <= step * 20:
            return float(-(-price // step) * step)
    return float(-(-price // 1000) * 1000)
