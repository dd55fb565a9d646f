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
from recsys.compiled import fills, kernel, reads
from recsys.dialogue.naming import shown_category
from recsys.features import FEATURES, GROUPS, INDEX, side_by_side
from recsys.fixed import STEP, Fixed, product
from recsys.neighbours import Neighbours
from recsys.policy import Policy
from recsys.query import Block
from recsys.score import Tastes
from recsys.user import RECENT
from recsys.world import World

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Keys = npt.NDArray[np.uint64]
Longs = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_TITLE_CHARS = 60
_GROUPS, _GROUP_OF = len(GROUPS), np.array([GROUPS.index(feature.group) for feature in FEATURES])
_PERIODS = {
    "en": ("today", "this week", "this month", "this quarter", "this year", "over the years"),
    "zh": ("今天", "本周", "本月", "本季度", "今年", "一直以来"),
}
_POPULARITY = tuple(f"popularity_{window}" for window in ("day", "week", "month", "quarter", "year", "ever"))
_WINDOWS = len(_POPULARITY)
_SHARES, _LOGS = side_by_side(*_POPULARITY).start, side_by_side(*(f"{name}_log" for name in _POPULARITY)).start
_TOGETHER, _SIMILAR, _POPULAR = (GROUPS.index(name) for name in ("together", "similar", "popular"))
_CATEGORY, _BRAND, _YOUNG, _AVAILABLE = (GROUPS.index(name) for name in ("category", "brand", "young", "available"))
_LEAST_NEAR, _NEAR_STEPS = np.float32(0.05), np.float32(1e4)
"""A reason names an item that is nearer than this; nearness is rounded to such steps."""
_FRESH_AT, _FRESH = INDEX["fresh"], 0.25
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
    c, dense = world.catalogue, world.dense
    numbers, weights = np.full((*chosen.shape, policy.reasons), -1, np.int64), np.empty((*chosen.shape, policy.reasons))
    # items of a slate share most of their reasons' words: each is put together once
    told, many = np.empty((len(chosen), numbers[0].size, 3), np.int64), np.zeros(len(chosen), np.int64)
    if c.rows:
        _find(
            chosen, x, contributions, neighbours.codes, neighbours.anchors, c.keys, dense.numbers, dense.has,
            c.categories, c.brand, tastes.categories, block.rows, block.liked, numbers, weights, told, many,
        )  # fmt: skip
    out = []
    items = (chosen >= 0).sum(axis=1).tolist()
    lines = zip(items, numbers.tolist(), weights.tolist(), told, many.tolist(), strict=True)
    for b, (n, line, shares, told_here, size) in enumerate(lines):
        reasons = [_reason(world, block, b, *one) for one in told_here[:size].tolist()]
        out.append([
            [
                {"text": reasons[at][0], "weight": weight, "evidence": reasons[at][1]}
                for at, weight in zip(line[item], shares[item], strict=True)
                if at >= 0
            ]
            for item in range(n)
        ])  # fmt: skip
    return out


@kernel(
    reads("int32", 2), reads("float32", 3), reads("float32", 3), reads("uint64"), reads("int32"), reads("uint64"),
    reads("int16", 2), reads("bool"), reads("int32", 2), reads("int32"), reads("float32", 2), reads("int32", 2),
    reads("bool", 2), fills("int64", 3), fills("float64", 3), fills("int64", 3), fills("int64"),
)  # fmt: skip
def _find(
    chosen: Ints, x: Floats, contributions: Floats, codes: Keys, anchors: Ints, keys: Keys, vectors: Fixed,
    has: Bools, categories: Ints, brands: Ints, tastes: Floats, rows: Ints, liked: Bools,
    numbers: Longs, weights: npt.NDArray[np.float64], told: Longs, many: Longs,
) -> None:  # fmt: skip
    """Fills `weights` [B, K, reasons], heaviest first, and `numbers` alike (-1 before), which point into the reasons
    that differ: `told` [B, K * reasons, 3], of which there are `many` [B]. Each is a group; a subject; and for a
    category or a brand the latest place of the recent evidence that has it too, or -1.
    Subjects by group: together, similar: the evidence column that speaks most for the item, -1 for none; popular: the
    window; category, brand: its number; else 0. `codes` and `anchors` are those of `Neighbours`."""
    reasons, recent = numbers.shape[2], rows.shape[1] - RECENT
    parts = np.empty(_GROUPS, np.float32)
    for b in range(len(chosen)):
        for item in range(chosen.shape[1]):
            row = chosen[b, item]
            if row < 0:
                break
            parts[:] = 0
            for f in range(x.shape[2]):
                # learnt weights may turn a lack into a merit (rarely chosen, shown before): reasons say what there is
                if x[b, item, f] > 0:
                    parts[_GROUP_OF[f]] += contributions[b, item, f]
            if x[b, item, _FRESH_AT] < _FRESH:
                parts[_YOUNG] = 0
            for n in range(reasons):
                group, weight = -1, 0.0
                for g in range(_GROUPS):
                    part = np.rint(float(parts[g]) * 1e4) / 1e4
                    if part > weight:
                        group, weight = g, part
                if group < 0 or (group == _AVAILABLE and n > 0):
                    break
                parts[group] = 0
                subject, alike = 0, -1
                if group == _TOGETHER:
                    subject = -1
                    code = (np.uint64(b) << np.uint64(48)) | keys[row]
                    place = np.searchsorted(codes, code)
                    if place < len(codes) and codes[place] == code:
                        subject = anchors[place]
                elif group == _SIMILAR:
                    subject, nearest = -1, _LEAST_NEAR
                    for s in range(recent, rows.shape[1]):
                        mine = rows[b, s]
                        if mine >= 0 and liked[b, s] and has[mine]:
                            near = np.rint(product(vectors, row, vectors, mine) * STEP * _NEAR_STEPS) / _NEAR_STEPS
                            if near > nearest:
                                subject, nearest = s, near
                elif group == _POPULAR:
                    most = contributions[b, item, _SHARES] + contributions[b, item, _LOGS]
                    for window in range(1, _WINDOWS):
                        part = contributions[b, item, _SHARES + window] + contributions[b, item, _LOGS + window]
                        if part > most:
                            subject, most = window, part
                elif group == _CATEGORY:
                    subject, best = -1, np.float32(-2)
                    for category in categories[row]:
                        if category >= 0 and tastes[b, category] > best:
                            subject, best = category, tastes[b, category]
                    for s in range(recent, rows.shape[1]):
                        mine = rows[b, s]
                        if mine >= 0 and liked[b, s]:
                            for category in categories[mine]:
                                if category == subject:
                                    alike = s - recent
                elif group == _BRAND:
                    subject = brands[row]
                    for s in range(recent, rows.shape[1]):
                        if rows[b, s] >= 0 and liked[b, s] and brands[rows[b, s]] == subject:
                            alike = s - recent
                at = 0
                while at < many[b] and (told[b, at, 0] != group or told[b, at, 1] != subject):
                    at += 1
                if at == many[b]:
                    told[b, at, 0], told[b, at, 1], told[b, at, 2] = group, subject, alike
                    many[b] += 1
                numbers[b, item, n], weights[b, item, n] = at, weight


def _reason(
    world: World, block: Block, b: int, number: int, subject: int, alike: int
) -> tuple[str, list[dict[str, str]]]:
    """(text, evidence) of a reason of query `b`; see `_find`."""
    query, group = block.queries[b], GROUPS[number]
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
