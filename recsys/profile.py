"""Profile: a User in plain sentences, each with the ids of the events it rests on.

In: a World and the Users that a step changed. Out: one short text each, stored beside the compact state so that
anyone can read it with one HGETALL. The columns are worked out for all users at once; only the words are put together
one by one. A sentence has an id (`category:Dresses`, `brand:Acme`, `price`), so that its owner can pin or mute it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.actions import ACTIONS, PAST_TENSE
from recsys.catalogue import Names
from recsys.dialogue.naming import shown_category
from recsys.evidence import evidence_of
from recsys.policy import Policy
from recsys.score import price_taste
from recsys.user import RECENT, User
from recsys.world import World

LIKES, DISLIKES, BRAND = 0.15, -0.1, 0.25
"""Least share of the evidence for a sentence."""
PRICE = 0.7
"""Least mean price level, in standard deviations within the category."""
SHARE = 10_000
"""Steps of a share: it is rounded before it is compared."""
_INT32 = np.iinfo(np.int32).max
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
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
_STOP = {"en": ".", "zh": "。"}
_LAST = {
    language: [phrases["last"].format(did=PAST_TENSE[language][action], title="\0").split("\0") for action in ACTIONS]
    for language, phrases in _PHRASES.items()
}
"""By language and action code: what stands before a title, and behind it."""


@dataclass(slots=True)
class _Findings:
    """What the evidence of U users says, as plain lists. Categories and brands are numbers, -1 for none; places are
    those of recent events (0..RECENT-1, the last column is the last event), -1 for none."""

    liked: list[tuple[int, int]]
    liked_at: list[tuple[int, int]]  # the newest behind
    disliked: list[int]
    disliked_at: list[int]
    brand: list[int]
    brand_at: list[int]
    price: list[float]  # mean level of what was chosen; 0 for none
    last_at: list[int]
    last_row: list[int]
    last_code: list[int]


def write_profiles(world: World, users: Sequence[User], policy: Policy, weights: npt.NDArray[np.float32]) -> None:
    """Sets `profile` of each user (private clones). `weights` is `recsys.actions.code_weights(policy)`."""
    if users:
        _sentences(world, users, _findings(world, users, policy, weights))


def _findings(world: World, users: Sequence[User], policy: Policy, table: npt.NDArray[np.float32]) -> _Findings:
    c = world.catalogue
    evidence = evidence_of(users, np.fromiter((u.last_s for u in users), np.int64, len(users)), policy, table)
    rows = c.rows_of_keys(evidence.keys)
    known = rows >= 0
    if not c.rows or not known.any():
        empty = [-1] * len(users)
        return _Findings(
            [(-1, -1)] * len(users), [(-1, -1)] * len(users), empty, empty, empty, empty, [0.0] * len(users),
            empty, empty, empty,
        )  # fmt: skip
    safe = np.maximum(rows, 0)
    weight = np.where(known, evidence.weights, np.float32(0))
    total = np.maximum(np.abs(weight).sum(axis=1), 1e-9)
    kinds, makers = c.categories.take(safe, axis=0), c.brand.take(safe)[:, :, None]
    while kinds.shape[2] > 1 and (kinds[:, :, -1] < 0).all():
        kinds = kinds[:, :, :-1]
    by_kind, by_brand = _shares(kinds, makers, weight, total, len(c.category_names.all))
    liked = _first(by_kind, -1, LIKES, 2, c.category_names, len(users))
    disliked = _first(by_kind, 1, -DISLIKES, 1, c.category_names, len(users))[:, 0]
    brand = _first(by_brand, -1, BRAND, 1, c.brand_names, len(users))[:, 0]
    kinds, makers, signs, known = kinds[:, -RECENT:], makers[:, -RECENT:], weight[:, -RECENT:], known[:, -RECENT:]
    above = signs > 0
    likes = (_alike(kinds, liked[:, 0]) | _alike(kinds, liked[:, 1])) & above
    newest = _last(likes)
    before = _last(likes & (np.arange(RECENT) != newest[:, None]))
    last = _last(known)
    column = np.maximum(last, 0) + rows.shape[1] - RECENT
    line = np.arange(len(users))
    return _Findings(
        list(zip(liked[:, 0].tolist(), liked[:, 1].tolist(), strict=True)),
        list(zip(before.tolist(), newest.tolist(), strict=True)),
        disliked.tolist(), _last(_alike(kinds, disliked) & (signs < 0)).tolist(),
        brand.tolist(), _last(_alike(makers, brand) & above).tolist(),
        np.where(np.isnan(price := price_taste(world, safe, weight)), 0, price).tolist(),
        last.tolist(), rows[line, column].tolist(), evidence.codes[line, column].tolist(),
    )  # fmt: skip


def _alike(values: Ints, wanted: Longs) -> npt.NDArray[np.bool_]:
    """[U, S]: whether one of values [U, S, V] is the wanted one [U]; a wanted -1 is like nothing."""
    if not (wanted >= 0).any():
        return np.zeros(values.shape[:2], bool)
    wanted = np.where(wanted >= 0, wanted, -2)[:, None]
    hit: npt.NDArray[np.bool_] = values[:, :, 0] == wanted
    for at in range(1, values.shape[2]):
        hit |= values[:, :, at] == wanted
    return hit


Shares = tuple[Longs, Longs, Longs]
"""(user, value, share) for every value of a user's evidence; shares in steps of 1/SHARE."""


def _shares(kinds: Ints, makers: Ints, weight: Floats, total: Floats, n_kinds: int) -> tuple[Shares, Shares]:
    """The shares of categories `kinds` [U, S, V], below `n_kinds`, and of brands `makers` [U, S, 1]; -1 for none. Both
    are summed up together, as one kind of value."""
    values = np.concatenate([kinds, np.where(makers >= 0, makers + n_kinds, -1)], axis=2)
    users, columns, each = values.shape
    places = columns * each
    bits = places.bit_length()
    flat, weight = values.reshape(users, places), weight.repeat(each, axis=1)
    # one number a place, so that a sort of each line (ten times as fast as one of all) puts a user's equal values
    # side by side in the order of the evidence
    small = int(flat.max()) < _INT32 >> bits
    kind, nothing = (np.int32, _INT32 >> bits) if small else (np.int64, np.int64(1) << 40)
    code = np.where((flat >= 0) & (weight != 0), flat, nothing).astype(kind, copy=False)
    code = (code << bits) | np.arange(places, dtype=kind)
    code.sort(axis=1)
    value = code >> bits
    first = np.ones(code.shape, bool)
    np.not_equal(value[:, 1:], value[:, :-1], out=first[:, 1:])
    starts = first.ravel().nonzero()[0]
    ordered = weight.take((code & ((1 << bits) - 1)) + (np.arange(users) * places)[:, None])
    summed = np.add.reduceat(ordered.ravel(), starts, dtype=np.float64)
    value = value.ravel()[starts]
    some = (value < nothing).nonzero()[0]
    user, value = starts[some] // places, value[some].astype(np.int64)
    share = np.round(summed[some] / total[user] * SHARE).astype(np.int64)
    brand = value >= n_kinds
    category = ~brand
    return (user[category], value[category], share[category]), (user[brand], value[brand] - n_kinds, share[brand])


def _first(shares: Shares, sign: int, least: float, n: int, names: Names, users: int) -> Longs:
    """[users, n]: values by falling share (sign -1) or rising (1) that reach `least`, ties by name, -1 behind them."""
    user, value, share = shares
    out = np.full((users, n), -1, np.int64)
    enough = (-sign * share >= round(least * SHARE)).nonzero()[0]
    if not len(enough):
        return out
    user, value = user[enough], value[enough]
    # one number sorts by user, then by share (at most 1 either way), then by name
    order = np.argsort((user << 48) + ((sign * share[enough] + SHARE) << 32) + names.ranks()[value])
    user, value = user[order], value[order]
    place = np.arange(len(user)) - np.searchsorted(user, user)
    kept = place < n
    out[user[kept], place[kept]] = value[kept]
    return out


def _last(hits: npt.NDArray[np.bool_]) -> Longs:
    """[U]: the last true column, -1 for none."""
    last = hits.shape[1] - 1 - hits[:, ::-1].argmax(axis=1)
    return np.where(hits.any(axis=1), last, -1)


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


def _sentences(world: World, users: Sequence[User], found: _Findings) -> None:
    english, chinese = _Openings(world, "en"), _Openings(world, "zh")
    items = world.catalogue.items
    lines = zip(
        users, found.liked, found.liked_at, found.disliked, found.disliked_at, found.brand, found.brand_at,
        found.price, found.last_at, found.last_row, found.last_code, strict=True,
    )  # fmt: skip
    for user, liked, (before, newest), disliked, against, brand, of_brand, price, last, row, code in lines:
        say = chinese if user.language == "zh" else english
        stop, ids = say.stop, user.recent_ids
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
