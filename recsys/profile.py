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
CITED = 2
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
Longs = npt.NDArray[np.int64]
_STOP = {"en": ".", "zh": "。"}


@dataclass(slots=True)
class _Findings:
    """What the evidence of U users says, as plain lists. Categories and brands are numbers, -1 for none; places are
    those of recent events (0..RECENT-1, the last column is the last event), -1 for none."""

    liked: list[list[int]]  # [U][2]
    liked_at: list[list[int]]  # [U][CITED]
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
        found = _findings(world, users, policy, weights)
        for at, user in enumerate(users):
            user.profile = _sentences(world, user, found, at)


def _findings(world: World, users: Sequence[User], policy: Policy, table: npt.NDArray[np.float32]) -> _Findings:
    c = world.catalogue
    evidence = evidence_of(users, np.fromiter((u.last_s for u in users), np.int64, len(users)), policy, table)
    none = np.full(len(users), -1)
    rows = c.rows_of_keys(evidence.keys)
    if not c.rows or not (rows >= 0).any():
        empty = none.tolist()
        return _Findings(
            [[-1, -1]] * len(users), [[-1] * CITED] * len(users), empty, empty, empty, empty, [0.0] * len(users),
            empty, empty, empty,
        )  # fmt: skip
    safe = np.maximum(rows, 0)
    weight = np.where(rows >= 0, evidence.weights, 0)
    total = np.maximum(np.abs(weight).sum(axis=1), 1e-9)
    kinds, makers = c.categories[safe], c.brand[safe][:, :, None]
    by_kind = _shares(kinds, weight, total)
    liked = _first(by_kind, -1.0, LIKES, 2, c.category_names, len(users))
    disliked = _first(by_kind, 1.0, -DISLIKES, 1, c.category_names, len(users))[:, 0]
    brand = _first(_shares(makers, weight, total), -1.0, BRAND, 1, c.brand_names, len(users))[:, 0]
    recent, signs = slice(-RECENT, None), weight[:, -RECENT:]

    def alike(values: npt.NDArray[np.int32], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        same = values[:, recent, :, None] == np.where(wanted >= 0, wanted, -2)[:, None, None, :]
        return same.any(axis=(2, 3))

    likes = alike(kinds, liked) & (signs > 0)
    newest = _last(likes)
    before = _last(likes & (np.arange(RECENT) != newest[:, None]))
    known = rows[:, recent] >= 0
    last = _last(known)
    column = np.maximum(last, 0) + rows.shape[1] - RECENT
    line = np.arange(len(users))
    return _Findings(
        liked.tolist(), np.stack([before, newest], axis=1).tolist(),
        disliked.tolist(), _last(alike(kinds, disliked[:, None]) & (signs < 0)).tolist(),
        brand.tolist(), _last(alike(makers, brand[:, None]) & (signs > 0)).tolist(),
        np.nan_to_num(price_taste(world, safe, weight)).tolist(),
        last.tolist(), rows[line, column].tolist(), evidence.codes[line, column].tolist(),
    )  # fmt: skip


def _shares(values: npt.NDArray[np.int32], weight: Floats, total: Floats) -> tuple[Longs, Longs, Doubles]:
    """(user, value, share) for every value of a user's evidence; values [U, S, V], -1 for none. Shares are rounded."""
    u, s, v = np.nonzero((values >= 0) & (weight != 0)[:, :, None])
    value = values[u, s, v].astype(np.int64)
    code = u * (int(value.max(initial=0)) + 1) + value
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    if not len(starts):
        return u, value, np.zeros(0)
    summed = np.add.reduceat(weight[u, s][order].astype(np.float64), starts)
    u, value = u[order][starts], value[order][starts]
    return u, value, np.round(summed / total[u], 4)


def _first(
    shares: tuple[Longs, Longs, Doubles], sign: float, least: float, n: int, names: Names, users: int
) -> npt.NDArray[np.int64]:
    """[users, n]: values by falling share (sign -1) or rising (1) that reach `least`, ties by name, -1 behind them."""
    user, value, share = shares
    out = np.full((users, n), -1, np.int64)
    enough = -sign * share >= least
    user, value, share = user[enough], value[enough], share[enough]
    order = np.lexsort((names.ranks()[value], sign * share, user))
    user, value = user[order], value[order]
    place = np.arange(len(user)) - np.searchsorted(user, user)
    out[user[place < n], place[place < n]] = value[place < n]
    return out


def _last(hits: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """[U]: the last true column, -1 for none."""
    return np.where(hits.any(axis=1), hits.shape[1] - 1 - hits[:, ::-1].argmax(axis=1), -1)


def _sentences(world: World, user: User, found: _Findings, at: int) -> str:
    language = "zh" if user.language == "zh" else "en"
    phrases, stop = _PHRASES[language], _STOP[language]
    categories, brands = world.catalogue.category_names.all, world.catalogue.brand_names.all
    muted = {s.statement_id for s in user.statements if s.state == "muted"} if user.statements else ()
    ids, gone = user.recent_ids, RECENT - len(user.recent_ids)
    lines: list[str] = []

    def say(text: str, *cited: str) -> None:
        lines.append(f"{text} [{', '.join(cited)}]{stop}" if cited else text + stop)

    liked = [c for c in found.liked[at] if c >= 0 and f"category:{categories[c]}" not in muted]
    if liked:
        shown = phrases["and"].join(shown_category(categories[c], language) for c in liked)
        say(phrases["likes"].format(shown), *(ids[p - gone] for p in found.liked_at[at] if p >= 0))
    no, p = found.disliked[at], found.disliked_at[at]
    if no >= 0 and f"category:{categories[no]}" not in muted:
        say(phrases["dislikes"].format(shown_category(categories[no], language)), *([ids[p - gone]] if p >= 0 else ()))
    maker, p = found.brand[at], found.brand_at[at]
    if maker >= 0 and f"brand:{brands[maker]}" not in muted:
        say(phrases["brand"].format(brands[maker]), *([ids[p - gone]] if p >= 0 else ()))
    p = found.last_at[at]
    if abs(found.price[at]) >= PRICE and "price" not in muted:
        say(phrases["dear" if found.price[at] > 0 else "cheap"], *([ids[p - gone]] if p >= 0 else ()))
    if p >= 0:
        title = world.catalogue.items[found.last_row[at]].title[:_TITLE_CHARS]
        did = PAST_TENSE[language][ACTIONS[found.last_code[at]]]
        say(phrases["last"].format(did=did, title=title), ids[p - gone])
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
    return "\n".join(lines)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "/".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
