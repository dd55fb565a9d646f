"""Measure: from predicted lists to the figures of a report, as plain data.

In: what each policy predicted, and the log. Out: one dict, which is report.json and all that the page shows. The main
figures are over the events on items that their user had not touched before; the others can't be right, since seen items
are filtered out, and are only counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.backtest.items import ItemTable
from recsys.backtest.log import UNKNOWN, Log, interactions_of
from recsys.backtest.metrics import diversity, novelty, relevance
from recsys.backtest.significance import differences, intervals
from recsys.backtest.slices import COLD, slices_of, stretches
from streams.backtest.options import POLICIES, Options
from streams.backtest.progress import Watch
from streams.backtest.reading import Summary
from streams.backtest.results import Results

_BULK = 16_384
WORST = 10
_LEAST_EVENTS = 3  # of a user, to be among the worst
_SHOWN_HISTORY, _SHOWN_EVENTS, _SHOWN_ITEMS = 8, 3, 5
MAIN = "ndcg"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Results by policy, seconds by (policy, "train" | "predict" | "learn"), epochs of what trains in epochs."""

    results: Mapping[str, Results]
    seconds: Mapping[tuple[str, str], float]
    epochs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Events:
    """What is known of each predicted event, [m]."""

    place: NDArray[np.int64]
    user: NDArray[np.int64]  # number of the user's life; see `Columns`
    owner: NDArray[np.int64]  # number of the user
    row: NDArray[np.int64]
    item_before: NDArray[np.int64]
    user_before: NDArray[np.int64]
    repeat: NDArray[np.bool_]


def measure(
    options: Options, summary: Summary, log: Log, items: ItemTable, users: list[str], cut: int,
    places: NDArray[np.int64], outcome: Outcome, watch: Watch,
) -> dict[str, Any]:  # fmt: skip
    """All figures. `users`: ids by number."""
    events = _events(log, users, places)
    fresh = ~events.repeat
    watch.task("measuring", len(outcome.results) + 2)
    values = {
        name: {metric: column[fresh] for metric, column in relevance(result.rank.astype(np.int64), options.k).items()}
        for name, result in outcome.results.items()
    }
    owner = events.owner[fresh]
    counts = np.bincount(log.columns.row[:cut][log.columns.row[:cut] >= 0], minlength=len(items)).astype(np.float64)
    policies = []
    for number, name in enumerate(options.policies):
        policies.append(_policy(name, values[name], outcome, fresh, owner, items, counts))
        watch.at(number + 1)
    main = {name: values[name][MAIN] for name in options.policies}
    names, category = items.categories
    of_item = np.where(events.row >= 0, category[np.maximum(events.row, 0)], -1)[fresh] if len(items) else events.row
    cuts = slices_of(events.item_before[fresh], events.user_before[fresh], of_item.astype(np.int32), names)
    report = {
        "k": options.k,
        "log": _about(options, summary, log, items, cut, events),
        "policies": policies,
        "differences": [asdict(one) for one in differences(main, owner)],
        "slices": [_slice(one.name, one.kind, one.mask, values, owner) for one in cuts],
        "over_time": _over_time(log, events.place[fresh], values),
        "stages": _stages(outcome, fresh),
        "worst": _worst(options, log, items, users, events, outcome),
    }
    watch.at(len(outcome.results) + 2)
    return _plain(report)  # type: ignore[no-any-return]


def _events(log: Log, users: list[str], places: NDArray[np.int64]) -> _Events:
    parts = []
    for at in range(int(places[0]), len(log), _BULK):
        some = interactions_of(log.columns, at, min(at + _BULK, len(log)))
        parts.append((some.user, some.row, some.item_before, some.user_before, some.repeat))
    user, row, item_before, user_before, repeat = (np.concatenate(part) for part in zip(*parts, strict=True))
    number: dict[str, int] = {}
    owners = np.fromiter((number.setdefault(name, len(number)) for name in users), np.int64, len(users))
    # numbered as they appear after the cut, so that the order of the files leaves no trace in what chance draws
    _, first, owner = np.unique(owners[user], return_index=True, return_inverse=True)
    owner = np.argsort(np.argsort(first))[owner]
    return _Events(places, user, owner, row, item_before, user_before, repeat)


def _about(options: Options, summary: Summary, log: Log, items: ItemTable, cut: int, events: _Events) -> dict[str, Any]:
    first, last = int(log.columns.ts[0]), int(log.columns.ts[-1])
    return {
        **{name: value for name, value in asdict(summary).items() if name != "problems"},
        "items": len(items),
        "files": [str(path) for path in options.events],
        "catalogue": [str(path) for path in options.items],
        "from": _day(first),
        "until": _day(last),
        "split": options.split,
        "cut": {
            "index": cut,
            "ts": int(log.columns.ts[cut]),
            "time": _moment(int(log.columns.ts[cut])),
            "event_id": log.read(cut, cut + 1)[0].event_id,
        },
        "refresh": options.refresh,
        "learning": options.learning.value,
        "predicted": len(events.place),
        "measured": int((~events.repeat).sum()),
        "on_seen_items": int(events.repeat.sum()),
        "on_unknown_items": int((events.row == UNKNOWN).sum()),
        "on_new_items": int((events.item_before[~events.repeat] < COLD).sum()),
        "users_measured": len(np.unique(events.owner[~events.repeat])),
    }


def _policy(
    name: str, values: Mapping[str, NDArray[np.float64]], outcome: Outcome, fresh: NDArray[np.bool_],
    owner: NDArray[np.int64], items: ItemTable, counts: NDArray[np.float64],
) -> dict[str, Any]:  # fmt: skip
    result = outcome.results[name]
    shown = np.zeros(len(items), bool)
    bits, apart, slates = 0.0, 0.0, 0
    pairs = 0
    for at in range(0, len(result.top), _BULK):
        top = np.asarray(result.top[at : at + _BULK]).astype(np.int64)[fresh[at : at + _BULK]]
        shown[top[top >= 0]] = True
        bits += float(np.nansum(novelty(top, counts)))
        slates += int((top >= 0).any(axis=1).sum())
        if items.vectors is not None:
            spread = diversity(top, items.vectors)
            apart += float(np.nansum(spread))
            pairs += int((~np.isnan(spread)).sum())
    seconds = {done: outcome.seconds.get((name, done), 0.0) for done in ("train", "predict", "learn")}
    per_event, epochs = (seconds["predict"] + seconds["learn"]) / max(1, len(result.top)), outcome.epochs.get(name)
    return {
        "name": name,
        "title": POLICIES[name],
        **{metric: asdict(found) for metric, found in intervals(values, owner).items()},
        "events": int(fresh.sum()),
        "coverage": float(shown.sum() / max(1, items.offered.sum())),
        "novelty_bits": bits / max(1, slates),
        "diversity": apart / pairs if pairs else None,
        "seconds": {**seconds, "epoch": seconds["train"] / epochs if epochs else None},  # all of its training, by epoch
        "epochs": epochs,
        "ms_per_event": 1000 * per_event,
    }


def _slice(
    name: str, kind: str, mask: NDArray[np.bool_], values: Mapping[str, Mapping[str, NDArray[np.float64]]],
    owner: NDArray[np.int64],
) -> dict[str, Any]:  # fmt: skip
    found = intervals({policy: columns[MAIN][mask] for policy, columns in values.items()}, owner[mask])
    return {
        "name": name,
        "kind": kind,
        "events": int(mask.sum()),
        "users": len(np.unique(owner[mask])),
        "policies": {
            policy: {MAIN: asdict(found[policy]), "hr": float(columns["hr"][mask].mean())}
            for policy, columns in values.items()
        },
    }


def _over_time(
    log: Log, place: NDArray[np.int64], values: Mapping[str, Mapping[str, NDArray[np.float64]]]
) -> list[dict[str, Any]]:
    out = []
    for part in stretches(len(place)):
        ts = log.columns.ts[place[part]]
        out.append(
            {
                "from": _day(int(ts[0])),
                "until": _day(int(ts[-1])),
                "events": len(ts),
                "policies": {policy: float(columns[MAIN][part].mean()) for policy, columns in values.items()},
            }
        )
    return out


def _stages(outcome: Outcome, fresh: NDArray[np.bool_]) -> dict[str, Any]:
    """By policy: how many events were looked at, and the share whose item was still there after each stage."""
    out = {}
    for name, result in outcome.results.items():
        found = {}
        for stage, column in result.stages.items():
            looked_at = fresh & (np.asarray(column) >= 0)
            if looked_at.any():
                found[stage] = float((np.asarray(column)[looked_at] > 0).mean())
                found["events"] = int(looked_at.sum())
        if found:
            out[name] = found
    return out


def _worst(
    options: Options, log: Log, items: ItemTable, users: list[str], events: _Events, outcome: Outcome
) -> dict[str, Any]:
    """The users with the most events of whom the system foresaw least."""
    name = "full" if "full" in outcome.results else options.policies[-1]
    result = outcome.results[name]
    gain = relevance(np.asarray(result.rank).astype(np.int64), options.k)[MAIN]
    fresh = ~events.repeat
    n = np.bincount(events.user[fresh], minlength=len(users))
    summed = np.bincount(events.user[fresh], gain[fresh], minlength=len(users))
    enough = np.flatnonzero(n >= min(_LEAST_EVENTS, n.max(initial=1)))
    mean = summed[enough] / n[enough]
    chosen = enough[np.lexsort((-n[enough], mean))][:WORST]

    def titles(rows: list[int]) -> list[str]:
        return [items.items[row].title if row >= 0 else "(not in the catalogue)" for row in rows]

    people = []
    for user in chosen.tolist():
        mine = np.flatnonzero((events.user == user) & fresh)
        start = int(log.columns.start[user])
        end = start + int(events.user_before[mine[0]])
        told = [
            {
                "time": _day(int(log.columns.ts[events.place[at]])),
                "chose": titles([int(events.row[at])])[0],
                "item_events_before": int(events.item_before[at]),
                "saw": titles([row for row in np.asarray(result.top[at]).tolist() if row >= 0][:_SHOWN_ITEMS]),
                "rank": int(result.rank[at]) or None,
            }
            for at in mine[:_SHOWN_EVENTS].tolist()
        ]
        people.append(
            {
                "user_id": users[user],
                "events": int(n[user]),
                MAIN: float(summed[user] / n[user]),
                "history": titles(log.columns.chain[start:end][-_SHOWN_HISTORY:].tolist()),
                "predicted": told,
            }
        )
    return {"policy": name, "users": people}


def _day(ts: int) -> str:
    return _moment(ts)[:10]


def _moment(ts: int) -> str:
    try:
        return datetime.fromtimestamp(ts / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(ts)  # beyond the calendar


def _plain(value: Any) -> Any:
    """The same without nan, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
