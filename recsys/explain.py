"""Explain: the reasons of each item on a slate, taken from the parts of its score.

In: the chosen candidates' features and contributions. Out: for each chosen item up to `policy.reasons` reasons
`{text, weight, evidence}`, heaviest first. A reason's weight is the summed contribution of its group of features
(`recsys.features`), so no reason can stand that the score does not hold; its evidence names the user's event or the
field it rests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.actions import ACTIONS, PAST_TENSE
from recsys.features import FEATURES, GROUPS
from recsys.policy import Policy
from recsys.query import Block
from recsys.user import RECENT
from recsys.world import World

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
_TITLE_CHARS = 60
_MEMBERS = np.array([[feature.group == group for feature in FEATURES] for group in GROUPS], np.float32)
_PERIODS = {
    "en": ("today", "this week", "this month", "this quarter", "this year"),
    "zh": ("今天", "本周", "本月", "本季度", "今年"),
}
_POPULARITY = tuple(f.name for f in FEATURES if f.group == "popular")
_POPULAR_AT = next(i for i, f in enumerate(FEATURES) if f.group == "popular")
_PHRASES = {
    "en": {
        "together": "Often chosen together with “{title}”, which you {did}",
        "together?": "Often chosen together with things you chose",
        "similar": "Like “{title}”, which you {did}",
        "similar?": "Like things you chose before",
        "words": "Fits what you said: “{said}”",
        "popular": "Chosen by many {period}",
        "new": "New in the catalogue",
        "category": "You often choose {name}",
        "brand": "You have chosen {name} before",
        "price": "In the price range you usually choose",
        "available": "Can be had now",
    },
    "zh": {
        "together": "常与您{did}的“{title}”一起被选择",
        "together?": "常与您选过的商品一起被选择",
        "similar": "与您{did}的“{title}”相似",
        "similar?": "与您以前的选择相似",
        "words": "符合您说的：“{said}”",
        "popular": "{period}很受欢迎",
        "new": "新上架",
        "category": "您常选{name}",
        "brand": "您选过{name}",
        "price": "在您常选的价位",
        "available": "现在有货",
    },
}


@dataclass(slots=True)
class _Anchors:
    """For each chosen item the place (0..RECENT-1) of the user's recent event that speaks most for it; -1: none."""

    together: Ints
    similar: Ints
    category: Ints
    brand: Ints


def explain(world: World, block: Block, chosen: Ints, x: Floats, contributions: Floats, policy: Policy) -> list[list[list[dict[str, Any]]]]:
    """Reasons [B][K][...] for chosen rows int32[B, K] (-1 behind the end), with their features x and contributions
    float32[B, K, F]."""
    parts = np.round((contributions @ _MEMBERS.T).astype(np.float64), 4)
    order = np.argsort(-parts, axis=2, kind="stable")
    weights, ranked = np.take_along_axis(parts, order, 2).tolist(), order.tolist()
    anchors = _anchors(world, block, chosen)
    period = x[:, :, _POPULAR_AT : _POPULAR_AT + len(_POPULARITY)].argmax(axis=2)
    out = []
    for b, query in enumerate(block.queries):
        language = "zh" if query.user.language == "zh" else "en"
        line = []
        for place, row in enumerate(chosen[b].tolist()):
            if row < 0:
                break
            reasons: list[dict[str, Any]] = []
            for group, weight in zip(ranked[b][place], weights[b][place], strict=True):
                if weight <= 0 or len(reasons) == policy.reasons:
                    break
                name = GROUPS[group]
                if name == "available" and reasons:
                    break
                text, evidence = _reason(world, block, b, row, name, anchors, place, int(period[b, place]), language)
                reasons.append({"text": text, "weight": weight, "evidence": evidence})
            line.append(reasons)
        out.append(line)
    return out


def _reason(
    world: World, block: Block, b: int, row: int, group: str, anchors: _Anchors, place: int, period: int, language: str
) -> tuple[str, list[dict[str, str]]]:
    phrases = _PHRASES[language]
    query = block.queries[b]
    if group in ("together", "similar"):
        at = int((anchors.together if group == "together" else anchors.similar)[b, place])
        if at < 0:
            return phrases[group + "?"], [{"field": "history"}]
        column = block.rows.shape[1] - RECENT + at
        title = world.catalogue.items[int(block.rows[b, column])].title[:_TITLE_CHARS]
        did = PAST_TENSE[language][ACTIONS[int(block.evidence.codes[b, column])]]
        return phrases[group].format(title=title, did=did), [{"event": _event_at(query.user.recent_ids, at)}]
    if group == "words":
        event_id, said = block.texts[b][0]
        return phrases["words"].format(said=said[:_TITLE_CHARS]), [{"event": event_id}]
    if group == "popular":
        return phrases["popular"].format(period=_PERIODS[language][period]), [{"field": _POPULARITY[period]}]
    item = world.catalogue.items[row]
    if group in ("category", "brand"):
        name = item.categories[0] if group == "category" and item.categories else item.brand
        evidence = [{"field": "categories" if group == "category" else "brand"}]
        at = int((anchors.category if group == "category" else anchors.brand)[b, place])
        if at >= 0:
            evidence.append({"event": _event_at(query.user.recent_ids, at)})
        return phrases[group].format(name=name or ""), evidence
    field = {"new": "published_at", "price": "price", "available": "available"}[group]
    return phrases[group], [{"field": field}]


def _event_at(ids: tuple[str, ...], place: int) -> str:
    """Recent columns are padded in front: the last column is the last id."""
    return ids[place - RECENT + len(ids)]


def _anchors(world: World, block: Block, chosen: Ints) -> _Anchors:
    keys, rows = block.evidence.keys[:, -RECENT:], block.rows[:, -RECENT:]
    liked = (block.evidence.weights[:, -RECENT:] > 0) & (rows >= 0)
    safe = np.maximum(chosen, 0)
    none = np.full(chosen.shape, -1, np.int32)
    together, similar = none, none
    stats = world.statistics
    if len(stats.keys) and world.catalogue.rows:
        at = stats.take(keys.ravel()).reshape(keys.shape)
        near = stats.neighbours[np.maximum(at, 0)]  # [B, R, N]
        weight = stats.neighbour_weights[np.maximum(at, 0)] * ((at >= 0) & liked)[:, :, None]
        wanted = world.catalogue.keys[safe]
        # [B, K, R]: what each recent item says for each chosen one
        speaks = ((near[:, None] == wanted[:, :, None, None]) * weight[:, None]).max(axis=3)
        together = np.where(speaks.max(axis=2) > 0, speaks.argmax(axis=2), -1).astype(np.int32)
    if world.dense.dim and world.catalogue.rows:
        recent = world.dense.vectors[np.maximum(rows, 0)] * (liked & world.dense.has[np.maximum(rows, 0)])[:, :, None]
        near = np.matmul(world.dense.vectors[safe], recent.transpose(0, 2, 1))
        similar = np.where(near.max(axis=2) > 0.05, near.argmax(axis=2), -1).astype(np.int32)
    category = brand = none
    if world.catalogue.rows:
        recent_rows = np.maximum(rows, 0)
        category = _latest_same(world.catalogue.categories[:, 0], safe, recent_rows, liked)
        brand = _latest_same(world.catalogue.brand, safe, recent_rows, liked)
    return _Anchors(together, similar, category, brand)


def _latest_same(values: Ints, chosen: Ints, recent: Ints, liked: npt.NDArray[np.bool_]) -> Ints:
    """int32[B, K]: the last recent place whose item has the chosen item's value; -1: none."""
    same = (values[recent][:, None, :] == values[chosen][:, :, None]) & liked[:, None, :]
    last = same.shape[2] - 1 - same[:, :, ::-1].argmax(axis=2)
    return np.where(same.any(axis=2), last, -1).astype(np.int32)
