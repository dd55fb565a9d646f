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
from recsys.catalogue import Names
from recsys.dialogue.naming import shown_category
from recsys.policy import Policy
from recsys.query import Query, block_of
from recsys.score import tastes_of
from recsys.user import RECENT, User
from recsys.world import World

LIKES, DISLIKES, BRAND = 0.15, -0.1, 0.25
"""Least share of the evidence for a sentence."""
CITED = 2
_TITLE_CHARS = 36
_SAID_CHARS = 60
_SENTENCE_CHARS = 160
_PHRASES = {
    "en": {
        "likes": "Likes {}", "dislikes": "Avoids {}", "brand": "Chooses {}", "cheap": "Chooses cheaper things",
        "dear": "Chooses dearer things", "last": "Last {did} “{title}”", "said": "Said “{}”", "and": " and ",
        "wants": "Wants {}", "own": "{}",
    },
    "zh": {
        "likes": "喜欢{}", "dislikes": "不喜欢{}", "brand": "常选{}", "cheap": "偏好较便宜的商品",
        "dear": "偏好较贵的商品", "last": "最近{did}“{title}”", "said": "说过“{}”", "and": "、", "wants": "想要{}",
        "own": "{}",
    },
}  # fmt: skip
_STOP = {"en": ".", "zh": "。"}


def write_profiles(world: World, users: Sequence[User], policy: Policy, weights: npt.NDArray[np.float32]) -> None:
    """Sets `profile` of each user (private clones). `weights` is `recsys.actions.code_weights(policy)`."""
    if not users:
        return
    queries = [Query(0, user, "", "", user.last_s * 1000) for user in users]
    block = block_of(world, queries, policy, weights, vectors=False)
    tastes = tastes_of(world, block)
    categories, brands = world.catalogue.category_names.all, world.catalogue.brand_names.all
    recent = block.rows[:, -RECENT:]
    known = recent >= 0
    safe = np.maximum(recent, 0)
    if world.catalogue.rows:
        kinds = np.where(known, world.catalogue.categories[safe, 0], -1)
        makers = np.where(known, world.catalogue.brand[safe], -1)
    else:
        kinds = makers = np.full(recent.shape, -1)
    liked = _top(tastes.categories, 2, world.catalogue.category_names)
    disliked = _top(-tastes.categories, 1, world.catalogue.category_names)
    brand = _top(tastes.brands, 1, world.catalogue.brand_names)
    for at, user in enumerate(users):
        language = "zh" if user.language == "zh" else "en"
        phrases = _PHRASES[language]
        muted = {s.statement_id for s in user.statements if s.state == "muted"}
        lines: list[tuple[str, list[str]]] = []

        def cite(hits: npt.NDArray[np.bool_], most: int = 1, user: User = user) -> list[str]:
            return [user.recent_ids[p - RECENT + len(user.recent_ids)] for p in np.flatnonzero(hits)[-most:]]

        names = [
            c
            for c in liked[at]
            if c >= 0 and tastes.categories[at, c] >= LIKES and f"category:{categories[c]}" not in muted
        ]
        if names:
            hits = np.isin(kinds[at], names)
            shown = phrases["and"].join(shown_category(categories[c], language) for c in names)
            lines.append((phrases["likes"].format(shown), cite(hits, CITED)))
        no = disliked[at][0] if len(disliked[at]) else -1
        if no >= 0 and tastes.categories[at, no] <= DISLIKES and f"category:{categories[no]}" not in muted:
            lines.append((phrases["dislikes"].format(shown_category(categories[no], language)), cite(kinds[at] == no)))
        b = brand[at][0] if len(brand[at]) else -1
        if b >= 0 and tastes.brands[at, b] >= BRAND and f"brand:{brands[b]}" not in muted:
            lines.append((phrases["brand"].format(brands[b]), cite(makers[at] == b)))
        if abs(tastes.price[at]) >= 0.7 and "price" not in muted:
            lines.append((phrases["dear" if tastes.price[at] > 0 else "cheap"], cite(known[at])))
        if known[at].any():
            place = int(np.flatnonzero(known[at])[-1])
            did = PAST_TENSE["zh" if user.language == "zh" else "en"][
                ACTIONS[int(block.evidence.codes[at, place - RECENT])]
            ]
            title = world.catalogue.items[int(recent[at, place])].title[:_TITLE_CHARS]
            lines.append((phrases["last"].format(did=did, title=title), cite(np.arange(RECENT) == place)))
        lines.extend((phrases["said"].format(words.text[:_SAID_CHARS]), [words.event_id]) for words in user.words[-1:])
        if user.constraints:
            wants = phrases["and"].join(
                f"{c.name} {c.op} {_plain(c.value)}{' ' + c.unit if c.unit else ''}" for c in user.constraints
            )
            lines.append(
                (
                    phrases["wants"].format(wants)[:_SENTENCE_CHARS],
                    sorted({c.event_id for c in user.constraints if c.event_id}),
                )
            )
        if user.traits:
            told = "; ".join(f"{name} {_plain(value)}" for name, value in user.traits.items())
            lines.append((told[:_SENTENCE_CHARS], [user.traits_event] if user.traits_event else []))
        lines += [(s.text, [s.statement_id]) for s in user.statements if s.state in ("added", "pinned") and s.text]
        stop = _STOP["zh" if user.language == "zh" else "en"]
        user.profile = "\n".join(text + (f" [{', '.join(ids)}]" if ids else "") + stop for text, ids in lines)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "/".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _top(shares: npt.NDArray[np.float32], n: int, names: Names) -> npt.NDArray[np.int64]:
    """[B, n]: columns of the greatest shares, ties by name, -1 where they are not positive."""
    columns = shares.shape[1]
    if not columns:
        return np.full((len(shares), n), -1, np.int64)
    n = min(n, columns)
    rounded = np.round(shares.astype(np.float64), 4)
    value = rounded - names.ranks()[:columns] * 1e-9
    top = np.argpartition(-value, n - 1, axis=1)[:, :n]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(value, top, 1), axis=1, kind="stable"), 1)
    return np.where(np.take_along_axis(rounded, top, 1) > 0, top, -1)
