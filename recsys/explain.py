"""Explain: the reasons of each item on a slate, taken from the parts of its score.

In: the chosen candidates' features and contributions. Out: for each chosen item up to `policy.reasons` reasons
`{text, weight, evidence}`, heaviest first. A reason's weight is the summed contribution of its group of features
(`recsys.features`), so no reason can stand that the score does not hold; its evidence names the user's event or the
field it rests on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.actions import ACTIONS, PAST_TENSE
from recsys.dialogue.naming import shown_category
from recsys.features import FEATURES, GROUPS, INDEX, side_by_side
from recsys.policy import Policy
from recsys.query import Block
from recsys.retrieve import Neighbours
from recsys.score import Tastes
from recsys.user import RECENT
from recsys.world import World

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
_TITLE_CHARS = 60
_MEMBERS = np.array([[feature.group == group for feature in FEATURES] for group in GROUPS], np.float32)
_AVAILABLE = GROUPS.index("available")
_PERIODS = {
    "en": ("today", "this week", "this month", "this quarter", "this year", "over the years"),
    "zh": ("今天", "本周", "本月", "本季度", "今年", "一直以来"),
}
_POPULARITY = tuple(f"popularity_{window}" for window in ("day", "week", "month", "quarter", "year", "ever"))
_SHARES, _LOGS = side_by_side(*_POPULARITY), side_by_side(*(f"{name}_log" for name in _POPULARITY))
_TOGETHER, _SIMILAR, _POPULAR = (GROUPS.index(name) for name in ("together", "similar", "popular"))
_CATEGORY, _BRAND, _YOUNG = (GROUPS.index(name) for name in ("category", "brand", "young"))
_FRESH = 0.25
"""A reason says that others have only begun to choose an item if its `fresh` is at least this: 40 days."""
_PHRASES = {
    "en": {
        "together": "Often chosen together with “{title}”, which you {did}",
        "together?": "Often chosen together with things you chose",
        "similar": "Like “{title}”, which you {did}",
        "similar?": "Like things you chose before",
        "words": "Fits what you said: “{said}”",
        "popular": "Chosen by many {period}",
        "next": "Often follows what you chose lately",
        "young": "Others have only begun to choose it",
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
        "next": "常在您最近的选择之后被选择",
        "young": "最近才开始有人选择",
        "new": "新上架",
        "category": "您常选{name}",
        "brand": "您选过{name}",
        "price": "在您常选的价位",
        "available": "现在有货",
    },
}


def explain(
    world: World,
    block: Block,
    neighbours: Neighbours,
    tastes: Tastes,
    chosen: Ints,
    x: Floats,
    contributions: Floats,
    policy: Policy,
) -> list[list[list[dict[str, Any]]]]:
    """Reasons [B][K][...] for chosen rows int32[B, K] (-1 behind the end), with their features x and contributions
    float32[B, K, F]."""
    # learnt weights may turn a lack into a merit (rarely chosen, shown before): the words below say what there is
    parts = (np.where(x > 0, contributions, 0) @ _MEMBERS.T).astype(np.float64).round(4)
    parts[:, :, _YOUNG][x[:, :, INDEX["fresh"]] < _FRESH] = 0
    order = (-parts).argsort(axis=2, kind="stable")[:, :, : policy.reasons]
    line, place = np.arange(len(chosen))[:, None, None], np.arange(chosen.shape[1])[:, None]
    weights, ranked = parts[line, place, order].tolist(), order.tolist()
    about = _subjects(world, block, neighbours, tastes, chosen, contributions)[line, place, order]
    subjects, cited = about.tolist(), _latest_alike(world, block, about, order).tolist()
    counts = (chosen >= 0).sum(axis=1).tolist()
    out = []
    for b in range(len(block.queries)):
        told: dict[tuple[int, int], tuple[str, list[dict[str, str]]]] = {}
        slate = []
        for item in range(counts[b]):
            reasons: list[dict[str, Any]] = []
            its_own = zip(ranked[b][item], weights[b][item], subjects[b][item], cited[b][item], strict=True)
            for group, weight, subject, alike in its_own:
                if weight <= 0 or (group == _AVAILABLE and reasons):
                    break
                # items of a slate share most of their reasons' words: each is put together once
                known = told.get((group, subject))
                if known is None:
                    known = told[group, subject] = _reason(world, block, b, GROUPS[group], subject, alike)
                reasons.append({"text": known[0], "weight": weight, "evidence": known[1]})
            slate.append(reasons)
        out.append(slate)
    return out


def _subjects(
    world: World, block: Block, neighbours: Neighbours, tastes: Tastes, chosen: Ints, contributions: Floats
) -> npt.NDArray[np.int64]:
    """[B, K, groups]: what each reason is about. together, similar: the evidence column that speaks most for the item,
    -1 for none; popular: the window; category, brand: its number; else 0."""
    out = np.zeros((*chosen.shape, len(GROUPS)), np.int64)
    if not world.catalogue.rows:
        return out
    safe = np.maximum(chosen, 0)
    out[:, :, _TOGETHER] = -1
    if len(neighbours.codes):
        place = neighbours.places(world.catalogue.keys[safe])
        out[:, :, _TOGETHER] = np.where(place >= 0, neighbours.anchors[place], -1)
    out[:, :, _SIMILAR] = -1
    if world.dense.dim:
        rows = np.maximum(block.rows[:, -RECENT:], 0)
        usable = block.liked[:, -RECENT:] & (block.rows[:, -RECENT:] >= 0) & world.dense.has[rows]
        recent = world.dense.vectors[rows] * usable[:, :, None]
        near = np.matmul(world.dense.vectors[safe], recent.transpose(0, 2, 1)).round(4)
        place = near.argmax(axis=2) + block.rows.shape[1] - RECENT
        out[:, :, _SIMILAR] = np.where(near.max(axis=2) > 0.05, place, -1)
    out[:, :, _POPULAR] = (contributions[:, :, _SHARES] + contributions[:, :, _LOGS]).argmax(axis=2)
    kinds = world.catalogue.categories[safe]
    if tastes.categories.shape[1]:
        query = np.arange(len(chosen))[:, None, None]
        best = np.where(kinds >= 0, tastes.categories[query, kinds], -2).argmax(axis=2)
        out[:, :, _CATEGORY] = kinds[query[:, :, 0], np.arange(chosen.shape[1]), best]
    out[:, :, _BRAND] = world.catalogue.brand[safe]
    return out


def _latest_alike(world: World, block: Block, subjects: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]) -> Ints:
    """int32 like `subjects`: for a category or a brand the place of the latest recent item that has it too; else -1."""
    out = np.full(subjects.shape, -1, np.int32)
    if not world.catalogue.rows:
        return out
    rows = block.rows[:, -RECENT:]
    liked = (rows >= 0) & block.liked[:, -RECENT:]
    for group, column in ((_CATEGORY, world.catalogue.categories), (_BRAND, world.catalogue.brand[:, None])):
        b, k, n = (groups == group).nonzero()
        if len(b):
            values = column[np.maximum(rows, 0)]
            alike = (values[b] == subjects[b, k, n][:, None, None]).any(axis=2) & liked[b]
            last = RECENT - 1 - alike[:, ::-1].argmax(axis=1)
            out[b, k, n] = np.where(alike.any(axis=1), last, -1)
    return out


def _reason(
    world: World, block: Block, b: int, group: str, subject: int, alike: int
) -> tuple[str, list[dict[str, str]]]:
    """(text, evidence) of a reason of query `b`."""
    query = block.queries[b]
    language = "zh" if query.user.language == "zh" else "en"
    phrases = _PHRASES[language]
    if group in ("together", "similar"):
        place = subject - (block.rows.shape[1] - RECENT)
        row = int(block.rows[b, subject])
        if subject < 0 or place < 0 or row < 0:  # an older item: its event id is not kept
            return phrases[group + "?"], [{"field": "history"}]
        title = world.catalogue.items[row].title[:_TITLE_CHARS]
        did = PAST_TENSE[language][ACTIONS[int(block.evidence.codes[b, subject])]]
        return phrases[group].format(title=title, did=did), [{"event": _event_at(query.user.recent_ids, place)}]
    if group == "words":
        event_id, said = block.texts[b][0]
        return phrases["words"].format(said=said[:_TITLE_CHARS]), [{"event": event_id}]
    if group == "popular":
        return phrases["popular"].format(period=_PERIODS[language][subject]), [{"field": _POPULARITY[subject]}]
    if group in ("category", "brand"):
        names = world.catalogue.category_names if group == "category" else world.catalogue.brand_names
        evidence = [{"field": "categories" if group == "category" else "brand"}]
        if alike >= 0:
            evidence.append({"event": _event_at(query.user.recent_ids, alike)})
        name = names.all[subject]
        return phrases[group].format(name=shown_category(name, language) if group == "category" else name), evidence
    if group == "next":
        last = query.user.recent_ids[-1:]
        return phrases["next"], [{"event": last[0]} if last else {"field": "history"}]
    field = {"young": "first_chosen", "new": "published_at", "price": "price", "available": "available"}[group]
    return phrases[group], [{"field": field}]


def _event_at(ids: tuple[str, ...], place: int) -> str:
    """Recent columns are padded in front: the last column is the last id."""
    return ids[place - RECENT + len(ids)]
