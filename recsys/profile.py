"""Profile: a User in plain sentences, each with the ids of the events it rests on.

In: a World and the Users that a step changed. Out: one short text each, stored beside the compact state so that
anyone can read it with one HGETALL. The columns are worked out for all users at once; only the words are put together
one by one. A sentence has an id (`category:Dresses`, `brand:Acme`, `price`), so that its owner can pin or mute it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.actions import ACTIONS, PAST_TENSE
from recsys.compiled import REAL, WHOLE, YES, fills, kernel, reads
from recsys.dialogue.naming import shown_category
from recsys.evidence import evidence_of
from recsys.policy import Policy
from recsys.score import price_taste
from recsys.user import RECENT, User
from recsys.world import World

SHARE = 10_000
"""Steps of a share: it is rounded before it is compared."""
LIKES, DISLIKES, BRAND = 1500, 1000, 2500
"""Least share of the evidence for a sentence, in steps; of dislikes what weighs against."""
PRICE = 0.7
"""Least mean price level, in standard deviations within the category."""
FOUND = 11
"""Columns of what is found of a user: two liked categories; the places of the latest two events with either, the newest
last; a disliked category and the place of the latest event with it; a brand and that of its latest event; the place,
row and action code of the last event. Categories and brands are numbers, places those of recent events (0..RECENT-1,
the last is the last event), rows the catalogue's; -1 for none."""
_TITLE_CHARS = 36
_SAID_CHARS = 60
_SENTENCE_CHARS = 160
_PHRASES = {
    "en": {
        "likes": "Likes {}", "dislikes": "Avoids {}", "brand": "Chooses {}", "cheap": "Chooses cheaper things",
        "dear": "Chooses dearer things", "last": "Last {did} “{title}”", "said": "Said “{}”", "and": " and ",
        "wants": "Wants {}",
    },
    "zh": {
        "likes": "喜欢{}", "dislikes": "不喜欢{}", "brand": "常选{}", "cheap": "偏好较便宜的商品",
        "dear": "偏好较贵的商品", "last": "最近{did}“{title}”", "said": "说过“{}”", "and": "、", "wants": "想要{}",
    },
}  # fmt: skip
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
_STOP = {"en": ".", "zh": "。"}
_LAST = {
    language: [phrases["last"].format(did=PAST_TENSE[language][action], title="\0").split("\0") for action in ACTIONS]
    for language, phrases in _PHRASES.items()
}
"""By language and action code: what stands before a title, and behind it."""


def write_profiles(world: World, users: Sequence[User], policy: Policy, weights: Floats) -> None:
    """Sets `profile` of each user (private clones). `weights` is `recsys.actions.code_weights(policy)`."""
    if users:
        _sentences(world, users, *_findings(world, users, policy, weights))


def _findings(world: World, users: Sequence[User], policy: Policy, table: Floats) -> tuple[Longs, Floats]:
    """What the evidence of U users says: [U, FOUND] (see there), and the mean price level of what each chose, nan for
    none."""
    c = world.catalogue
    evidence = evidence_of(users, np.array([u.last_s for u in users], np.int64), policy, table)
    found = np.full((len(users), FOUND), -1, np.int64)
    if not c.rows:
        return found, np.full(len(users), np.nan, np.float32)
    rows = c.rows_of_keys(evidence.keys)
    safe, weights = np.empty_like(rows), np.empty_like(evidence.weights)
    _find(
        rows, evidence.weights, evidence.codes, c.categories, c.brand, c.category_names.ranks(), c.brand_names.ranks(),
        safe, weights, found,
    )  # fmt: skip
    return found, price_taste(world, safe, weights)


@kernel(fills("int32"), fills("float64"), WHOLE, WHOLE, REAL, gives=WHOLE)
def _added(values: Ints, sums: Doubles, n: int, value: int, weight: float) -> int:
    """Adds a weight to the sum of `value` among the first n; how many there are now."""
    for i in range(n):
        if values[i] == value:
            sums[i] += weight
            return n
    values[n], sums[n] = value, weight
    return n + 1


@kernel(fills("int32"), fills("float64"), WHOLE, REAL, WHOLE, reads("int64"), WHOLE, gives=WHOLE)
def _most(values: Ints, sums: Doubles, n: int, whole: float, least: int, ranks: Longs, but: int) -> int:
    """Of the first n values, `but` aside, the one with the largest share of the whole, if it reaches `least` steps; of
    several the one with the lowest rank; -1 for none. Below 0 the whole asks for what weighs against."""
    best, most = -1, least - 1.0
    for i in range(n):
        value, share = values[i], np.rint(sums[i] / whole * SHARE)
        if value != but and (share > most or (share == most and best >= 0 and ranks[value] < ranks[best])):
            best, most = value, share
    return best


@kernel(reads("int32"), WHOLE, gives=YES)
def _among(values: Ints, wanted: int) -> bool:
    """Whether `wanted` is one of the values; -1 never is."""
    found = False
    for value in values:
        found |= value == wanted
    return found and wanted >= 0


@kernel(
    reads("int32", 2), reads("float32", 2), reads("uint8", 2), reads("int32", 2), reads("int32"), reads("int64"),
    reads("int64"), fills("int32", 2), fills("float32", 2), fills("int64", 2),
)  # fmt: skip
def _find(
    rows: Ints, evidence: Floats, codes: npt.NDArray[np.uint8], categories: Ints, brands: Ints, category_ranks: Longs,
    brand_ranks: Longs, safe: Ints, weights: Floats, found: Longs,
) -> None:  # fmt: skip
    """Fills lines of `found` (-1 before) from the evidence [U, S] of users. Ranks [names] decide ties. `safe` and
    `weights` [U, S] become rows and weights with 0 where the catalogue lacks an item."""
    columns, each = rows.shape[1], categories.shape[1]
    values, sums = np.empty(columns * each, np.int32), np.empty(columns * each)
    for u in range(len(rows)):
        whole = 0.0
        for s in range(columns):
            known = rows[u, s] >= 0
            safe[u, s] = rows[u, s] if known else 0
            weights[u, s] = evidence[u, s] if known else 0
            whole += abs(weights[u, s])
        whole = max(whole, 1e-9)

        n = 0
        for s in range(columns):
            for e in range(each):
                category = categories[safe[u, s], e]
                if category >= 0 and weights[u, s] != 0:
                    n = _added(values, sums, n, category, weights[u, s])
        liked = _most(values, sums, n, whole, LIKES, category_ranks, -1)
        also = _most(values, sums, n, whole, LIKES, category_ranks, liked) if liked >= 0 else -1
        disliked = _most(values, sums, n, -whole, DISLIKES, category_ranks, -1)
        n = 0
        for s in range(columns):
            brand = brands[safe[u, s]]
            if brand >= 0 and weights[u, s] != 0:
                n = _added(values, sums, n, brand, weights[u, s])
        brand = _most(values, sums, n, whole, BRAND, brand_ranks, -1)
        found[u, 0], found[u, 1], found[u, 4], found[u, 6] = liked, also, disliked, brand

        for place in range(RECENT):
            s = columns - RECENT + place
            row, weight = rows[u, s], weights[u, s]
            if row < 0:
                continue
            its_own = categories[row]
            if weight > 0 and (_among(its_own, liked) or _among(its_own, also)):
                found[u, 2], found[u, 3] = found[u, 3], place
            if weight < 0 and _among(its_own, disliked):
                found[u, 5] = place
            if weight > 0 and brand >= 0 and brands[row] == brand:
                found[u, 7] = place
            found[u, 8], found[u, 9], found[u, 10] = place, row, codes[u, s]


class _Openings:
    """How sentences of one language begin, put together once for all users who share them."""

    def __init__(self, world: World, language: str) -> None:
        self.language, self.phrases, self.stop = language, _PHRASES[language], _STOP[language]
        self.categories, self.brands = world.catalogue.category_names.all, world.catalogue.brand_names.all
        self.last = _LAST[language]
        self._liked: dict[tuple[int, int], str] = {}

    def liked(self, categories: tuple[int, int]) -> str:
        found = self._liked.get(categories)
        if found is None:
            shown = [shown_category(self.categories[c], self.language) for c in categories if c >= 0]
            found = self._liked[categories] = self.phrases["likes"].format(self.phrases["and"].join(shown))
        return found

    def disliked(self, category: int) -> str:
        return self.phrases["dislikes"].format(shown_category(self.categories[category], self.language))

    def brand(self, brand: int) -> str:
        return self.phrases["brand"].format(self.brands[brand])


def _sentences(world: World, users: Sequence[User], found: Longs, prices: Floats) -> None:
    english, chinese = _Openings(world, "en"), _Openings(world, "zh")
    items = world.catalogue.items
    for user, line, price in zip(users, found.tolist(), prices.tolist(), strict=True):
        first, second, before, newest, disliked, against, brand, of_brand, last, row, code = line
        say = chinese if user.language == "zh" else english
        stop, ids, liked = say.stop, user.recent_ids, (first, second)
        gone = RECENT - len(ids)  # recent columns are padded in front
        if user.statements:
            liked, disliked, brand, price = _unmuted(user, say, liked, disliked, brand, price)
        text = ""
        if liked[0] >= 0:
            text = say.liked(liked)
            if before >= 0:
                text = f"{text} [{ids[before - gone]}, {ids[newest - gone]}]{stop}\n"
            else:
                text = f"{text} [{ids[newest - gone]}]{stop}\n" if newest >= 0 else f"{text}{stop}\n"
        if disliked >= 0:
            cited = f" [{ids[against - gone]}]" if against >= 0 else ""
            text += f"{say.disliked(disliked)}{cited}{stop}\n"
        if brand >= 0:
            cited = f" [{ids[of_brand - gone]}]" if of_brand >= 0 else ""
            text += f"{say.brand(brand)}{cited}{stop}\n"
        if price >= PRICE or price <= -PRICE:
            cited = f" [{ids[last - gone]}]" if last >= 0 else ""
            text += f"{say.phrases['dear' if price > 0 else 'cheap']}{cited}{stop}\n"
        if last >= 0:
            did, then = say.last[code]
            text += f"{did}{items[row].title[:_TITLE_CHARS]}{then} [{ids[last - gone]}]{stop}\n"
        if user.words or user.constraints or user.traits or user.statements:
            text += _told(user, say.phrases, stop)
        user.profile = text[:-1]


def _unmuted(
    user: User, say: _Openings, liked: tuple[int, int], disliked: int, brand: int, price: float
) -> tuple[tuple[int, int], int, int, float]:
    """The same without what the user asked not to hear of."""
    muted = {s.statement_id for s in user.statements if s.state == "muted"}
    left = [c for c in liked if c >= 0 and f"category:{say.categories[c]}" not in muted]
    first, second = (*left, -1, -1)[:2]
    return (
        (first, second),
        -1 if disliked >= 0 and f"category:{say.categories[disliked]}" in muted else disliked,
        -1 if brand >= 0 and f"brand:{say.brands[brand]}" in muted else brand,
        0.0 if "price" in muted else price,
    )


def _told(user: User, phrases: dict[str, str], stop: str) -> str:
    """What the user said and decided themselves; each sentence with a newline behind it."""
    lines: list[str] = []

    def say(text: str, *cited: str) -> None:
        lines.append(f"{text} [{', '.join(cited)}]{stop}\n" if cited else f"{text}{stop}\n")

    for words in user.words[-1:]:
        say(phrases["said"].format(words.text[:_SAID_CHARS]), words.event_id)
    if user.constraints:
        wants = phrases["and"].join(
            f"{c.name} {c.op} {_plain(c.value)}{' ' + c.unit if c.unit else ''}" for c in user.constraints
        )
        asked = sorted({c.event_id for c in user.constraints if c.event_id})
        say(phrases["wants"].format(wants)[:_SENTENCE_CHARS], *asked)
    if user.traits:
        told = "; ".join(f"{name} {_plain(value)}" for name, value in user.traits.items())
        say(told[:_SENTENCE_CHARS], *([user.traits_event] if user.traits_event else ()))
    for statement in user.statements:
        if statement.state in ("added", "pinned") and statement.text:
            say(statement.text, statement.statement_id)
    return "".join(lines)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "/".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
