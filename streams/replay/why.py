"""Why: what sets two records apart that should be one, as far as the records themselves can say.

In: a Difference. Out: the fields, the ranks and the parts of scores that are not the same, and sentences about them.
"""

from __future__ import annotations

from typing import Any

import orjson

from streams.replay.compare import Comparison, Difference

_SCALARS = ("kind", "arm", "surface", "reply", "trigger")


def as_dict(found: Comparison) -> dict[str, Any]:
    """A Comparison for a program."""
    return {
        "equal": found.equal,
        "same": found.same,
        "differ": found.differs,
        "only_in_a": found.only_a,
        "only_in_b": found.only_b,
        "in_another_order": found.moved,
        "users_with_differences": found.users,
        "first": [_explained(one) for one in found.first],
        "earliest": None if found.earliest is None else _explained(found.earliest),
    }


def _explained(one: Difference) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "place": one.place,
        "user_id": one.key,
        "rec_id": one.rec_id,
        "trigger": one.record.get("trigger"),
        "fields": fields(one),
        "worlds": {"a": (one.a or {}).get("world"), "b": (one.b or {}).get("world")},
        "items": items(one),
        "why": why(one),
    }


def fields(difference: Difference) -> list[str]:
    """Names of the fields that are not the same; of one that is only here or there, none."""
    a, b = difference.a, difference.b
    if a is None or b is None:
        return []
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def items(difference: Difference) -> list[dict[str, Any]]:
    """Rank by rank what stands in A and in B; of an item that is in both, how much its score and each of its reasons
    differ (B less A)."""
    a, b = _ranked(difference.a), _ranked(difference.b)
    by_id_a, by_id_b = {one["item_id"]: one for one in a}, {one["item_id"]: one for one in b}
    rows = []
    for at in range(max(len(a), len(b))):
        one, other = (a[at] if at < len(a) else None), (b[at] if at < len(b) else None)
        if one == other:
            continue
        row: dict[str, Any] = {"rank": at + 1, "a": _short(one), "b": _short(other)}
        shared = [i["item_id"] for i in (one, other) if i and i["item_id"] in by_id_a and i["item_id"] in by_id_b]
        row["changes"] = [_change(by_id_a[item_id], by_id_b[item_id]) for item_id in dict.fromkeys(shared)]
        rows.append(row)
    return rows


def why(difference: Difference) -> list[str]:
    """Sentences, the most telling first."""
    a, b = difference.a, difference.b
    if difference.kind == "order":
        return [
            "Both have the record, at different places of the user's log: the logs hold the events in another order."
        ]
    if a is None or b is None:
        here, there = ("A", "B") if b is None else ("B", "A")
        return [
            f"Only {here} has it. In {there} its event is missing, was malformed, came after the end of the range, "
            "repeats an event_id that is still remembered, or does not trigger a ranking by that run's settings."
        ]
    said = []
    said += _worlds_differ(a["world"], b["world"])
    if a["constraints"] != b["constraints"]:
        said.append(_conditions_differ(a["constraints"], b["constraints"]))
    for name in _SCALARS:
        if a.get(name) != b.get(name):
            said.append(f"{name} is {_told(a.get(name))} in A and {_told(b.get(name))} in B.")
    said += _items_differ(_ranked(a), _ranked(b))
    if said and a["world"] == b["world"] and a["constraints"] == b["constraints"] and a["items"] != b["items"]:
        said.append(
            "World and conditions are the same, and nothing of this user differed before in what was recommended: the "
            "user's other events (impressions, traits, edits, repeated ids), the settings of the step, or the version "
            "of Headwater are not the same."
        )
    return said


def _ranked(record: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [] if record is None else record["items"]


def _short(item: dict[str, Any] | None) -> dict[str, Any] | None:
    if item is None:
        return None
    return {name: item[name] for name in ("item_id", "score", "propensity", "source", "moved") if name in item}


def _change(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    weights_a = {reason["text"]: reason["weight"] for reason in one["reasons"]}
    weights_b = {reason["text"]: reason["weight"] for reason in other["reasons"]}
    reasons = {
        text: round(weights_b.get(text, 0.0) - weights_a.get(text, 0.0), 6)
        for text in dict.fromkeys([*weights_a, *weights_b])
        if weights_a.get(text) != weights_b.get(text)
    }
    return {
        "item_id": one["item_id"],
        "rank": [one["rank"], other["rank"]],
        "score": round(other["score"] - one["score"], 6),
        "reasons": reasons,
    }


def _worlds_differ(a: dict[str, str], b: dict[str, str]) -> list[str]:
    words = {
        "release_id": "The models differ",
        "statistics_id": "The statistics differ",
        "catalogue_version": "The catalogue differs",
    }
    return [
        f"{words.get(name, name + ' differs')}: {a.get(name)} in A, {b.get(name)} in B."
        for name in sorted(a.keys() | b.keys(), key=lambda n: list(words).index(n) if n in words else 9)
        if a.get(name) != b.get(name)
    ]


def _conditions_differ(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> str:
    only_a, only_b = [one for one in a if one not in b], [one for one in b if one not in a]
    parts = [
        f"only in {where}: " + "; ".join(_condition(one) for one in those)
        for where, those in (("A", only_a), ("B", only_b))
        if those
    ]
    return "Other conditions are in force" + (f" ({'; '.join(parts)})." if parts else ", in another order.")


def _condition(one: dict[str, Any]) -> str:
    return f"{one['name']} {one['op']} {one['value']} {one.get('unit') or ''}".strip()


def _items_differ(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> list[str]:
    said = []
    ids_a, ids_b = [one["item_id"] for one in a], [one["item_id"] for one in b]
    if ids_a == ids_b:
        changed = [at for at in range(len(a)) if a[at] != b[at]]
        names = sorted(
            {name for at in changed for name in a[at].keys() | b[at].keys() if a[at].get(name) != b[at].get(name)}
        )
        if changed:
            said.append(f"The same items in the same order; {', '.join(names)} differ at rank {changed[0] + 1} first.")
        return said
    if len(ids_a) != len(ids_b):
        said.append(f"A has {len(ids_a)} items, B {len(ids_b)}.")
    first = next((at for at in range(min(len(a), len(b))) if ids_a[at] != ids_b[at]), min(len(a), len(b)))
    if first < min(len(a), len(b)):
        said.append(f"The first place that differs is rank {first + 1}: {ids_a[first]} in A, {ids_b[first]} in B.")
        for item_id in (ids_a[first], ids_b[first]):
            said += _of_item(item_id, a, b)
    gone, came = [i for i in ids_a if i not in ids_b], [i for i in ids_b if i not in ids_a]
    if gone or came:
        said.append(f"Only in A: {', '.join(gone) or 'nothing'}. Only in B: {', '.join(came) or 'nothing'}.")
    return said


def _of_item(item_id: str, a: list[dict[str, Any]], b: list[dict[str, Any]]) -> list[str]:
    one = next((i for i in a if i["item_id"] == item_id), None)
    other = next((i for i in b if i["item_id"] == item_id), None)
    if one is None or other is None:
        return []
    change = _change(one, other)
    if not change["score"]:
        drawn = "" if one.get("moved") == other.get("moved") else " and it was moved by a rule in one of them"
        return [f"{item_id} has the same score in both{drawn}."]
    text = max(change["reasons"], key=lambda name: abs(change["reasons"][name]), default=None)
    because = f", most of it from “{text}” ({change['reasons'][text]:+.4f})" if text else ""
    return [f"{item_id} scores {change['score']:+.5f} in B{because}."]


def _told(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) < 120 else text[:119] + "…"
