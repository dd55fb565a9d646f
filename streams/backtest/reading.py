"""Reading: files of events -> the sorted log of a backtest, in columns on disk.

In: any files that `streams.records.files` opens, in any order. Out: `recsys.backtest.log.Log`, and what had to be left
out. One pass reads; memory holds a chunk of events, a number for each user and item, and while sorting two numbers an
event. The events themselves lie in one file beside the columns, and are read back by the block.

    <folder>/events.jsonl         valid events as they were read
    <folder>/<column>.npy         see `Columns`; also `offset` and `length` of each event in events.jsonl
    <folder>/log.json             written last: what the folder holds, and of which files
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from recsys.actions import weigh
from recsys.backtest.log import OTHER, UNKNOWN, Columns, Log
from recsys.policy import Policy
from schemas.decode import Malformed, decode_own_event
from schemas.events import Event, Forget, Interaction
from streams.records.files import Row

CHUNK = 65_536
_BOM = b"\xef\xbb\xbf"
SHOWN = 20
"""Problems that are told one by one."""
_RAW = np.dtype(
    [("ts", "i8"), ("offset", "i8"), ("mark", "i8"), ("length", "i4"), ("user", "i4"), ("row", "i4"), ("weight", "f4"),
     ("forgets", "?")]
)  # fmt: skip
_COLUMNS = ("ts", "user", "row", "weight", "before", "item_before", "start", "chain", "again")


@dataclass(slots=True)
class Summary:
    """What a log came to. `problems`: the first rows that were left out, with file, line and why."""

    events: int = 0
    interactions: int = 0
    users: int = 0
    rejected: int = 0
    repeats: int = 0
    unknown_items: int = 0
    out_of_order: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ItemRows:
    """Rows by item_id. `growing`: no catalogue was given, so that each item of the events gets a row."""

    row_of: dict[str, int]
    growing: bool = False

    def row(self, item_id: str) -> int:
        found = self.row_of.get(item_id)
        if found is None:
            if not self.growing:
                return UNKNOWN
            found = self.row_of[item_id] = len(self.row_of)
        return found


class LogFiles:
    """A folder with a log in columns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # writing ---------------------------------------------------------------------------------------------------
    def write(
        self, rows: Iterable[Row], items: ItemRows, policy: Policy, max_bytes: int, made_of: Any,
        say: Callable[[str], None] = lambda line: None,
    ) -> Summary:  # fmt: skip
        """Takes in all rows. `made_of` (JSON) is kept, so that a later run sees whether the files are the same."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "log.json").unlink(missing_ok=True)
        summary = Summary()
        raw, names = self._gather(rows, items, policy, max_bytes, summary)
        say(f"{summary.events:,} events of {len(names):,} users read")
        order = _without_repeats(raw, _by_time(raw, summary), summary)
        summary.events, summary.users = len(order), len(names)
        self._columns(raw, order, names, len(items.row_of), summary)
        del raw, order
        (self.folder / "raw").unlink(missing_ok=True)
        ids = list(items.row_of) if items.growing else []
        (self.folder / "item_ids.json").write_bytes(orjson.dumps(ids))
        whole = {"summary": asdict(summary), "made_of": made_of, "items": len(items.row_of)}
        partial = self.folder / "log.json.new"
        partial.write_bytes(orjson.dumps(whole))
        partial.rename(self.folder / "log.json")
        return summary

    def _gather(
        self, rows: Iterable[Row], items: ItemRows, policy: Policy, max_bytes: int, summary: Summary
    ) -> tuple[NDArray[Any], list[str]]:
        numbers: dict[str, int] = {}
        chunk: list[tuple[Any, ...]] = []
        with open(self.folder / "events.jsonl", "wb") as kept, open(self.folder / "raw", "wb") as raw:
            offset = 0
            for row in rows:
                event = self._decoded(row, max_bytes, summary)
                if event is None:
                    continue
                at, weight = OTHER, 0.0
                if isinstance(event, Interaction):
                    at, weight = items.row(event.item_id), weigh(event.action, event.value, policy)[1]
                user = numbers.setdefault(event.user_id, len(numbers))
                line = row.value.removeprefix(_BOM) + b"\n"
                kept.write(line)
                forgets = isinstance(event, Forget) and event.scope == "all"
                mark = hash((event.user_id, event.event_id))
                chunk.append((event.ts, offset, mark, len(line), user, at, weight, forgets))
                offset += len(line)
                if len(chunk) >= CHUNK:
                    _flush(chunk, raw)
            _flush(chunk, raw)
        summary.events = os.path.getsize(self.folder / "raw") // _RAW.itemsize
        if not summary.events:
            return np.zeros(0, _RAW), []
        return np.memmap(self.folder / "raw", _RAW, "r"), list(numbers)

    @staticmethod
    def _decoded(row: Row, max_bytes: int, summary: Summary) -> Event | None:
        wrong = row.problem
        if wrong is None:
            found = decode_own_event(row.value, max_bytes)
            if not isinstance(found, Malformed):
                return found
            wrong = f"{found.path}: expected {found.expected} [{found.reason}]"
        summary.rejected += 1
        if len(summary.problems) < SHOWN:
            summary.problems.append(f"{row.where}: {wrong}")
        return None

    def _columns(
        self, raw: NDArray[Any], order: NDArray[np.int64], names: list[str], items: int, summary: Summary
    ) -> None:
        n = len(order)

        def column(name: str, dtype: str, size: int = n) -> NDArray[Any]:
            made: NDArray[Any] = open_memmap(self.folder / f"{name}.npy", "w+", dtype, (size,))
            return made

        def in_chunks() -> Iterable[slice]:
            return (slice(at, min(at + CHUNK, n)) for at in range(0, n, CHUNK))

        user, row = column("user", "<i4"), column("row", "<i4")
        others = {name: column(name, raw.dtype[name].str) for name in ("ts", "weight", "offset", "length")}
        life, owner = np.arange(len(names), dtype=np.int32), list(range(len(names)))
        for part in in_chunks():
            piece = raw[order[part]]
            row[part] = piece["row"]
            for name, into in others.items():
                into[part] = piece[name]
            user[part] = _lives(piece, life, owner)

        before, item_before = column("before", "<i8"), column("item_before", "<i4")
        of_user, of_item = np.zeros(len(owner), np.int64), np.zeros(max(items, 1), np.int64)
        for part in in_chunks():
            there = row[part] != OTHER
            before[part] = _ordinals(np.asarray(user[part]), there, of_user)
            known = row[part] >= 0
            item_before[part] = np.where(known, _ordinals(np.maximum(row[part], 0), known, of_item), 0)
        start = column("start", "<i8", len(owner))
        start[:] = np.cumsum(of_user) - of_user
        chain = column("chain", "<i4", int(of_user.sum()))
        for part in in_chunks():
            there = np.flatnonzero(row[part] != OTHER)
            chain[start[user[part][there]] + before[part][there]] = row[part][there]
        again = column("again", "|b1", len(chain))
        _mark_repeats(chain, start, again)
        summary.interactions = len(chain)
        summary.unknown_items = int(sum((row[part] == UNKNOWN).sum() for part in in_chunks()))
        written = [user, row, before, item_before, start, chain, again, *others.values()]
        for one in written:
            if isinstance(one, np.memmap):
                one.flush()
        (self.folder / "users.json").write_bytes(orjson.dumps({"names": names, "owner": owner[len(names) :]}))

    # reading ---------------------------------------------------------------------------------------------------
    def known(self) -> dict[str, Any] | None:
        """What `log.json` says; None where the folder holds no whole log."""
        try:
            found: dict[str, Any] = orjson.loads((self.folder / "log.json").read_bytes())
        except (OSError, ValueError):
            return None
        return found

    def log(self) -> Log:
        """The log, ready to be read."""
        loaded = {name: np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in _COLUMNS}
        events = (self.folder / "events.jsonl").open("rb")
        offset = np.load(self.folder / "offset.npy", mmap_mode="r")
        length = np.load(self.folder / "length.npy", mmap_mode="r")
        found = self.known()
        assert found is not None
        return Log(Columns(**loaded), _Reader(events, offset, length), found["items"])

    def item_ids(self) -> list[str]:
        """Item ids by row, where the items were taken from the events."""
        found: list[str] = orjson.loads((self.folder / "item_ids.json").read_bytes())
        return found

    def users(self) -> list[str]:
        """User ids by number; one that erased everything stands there once more for each life."""
        found = orjson.loads((self.folder / "users.json").read_bytes())
        names: list[str] = found["names"]
        return names + [names[owner] for owner in found["owner"]]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Decodes the events of a stretch of the sorted log."""

    file: BinaryIO
    offset: NDArray[np.int64]
    length: NDArray[np.int32]

    def __call__(self, start: int, stop: int) -> Sequence[Event]:
        return [self._event(line) for line in self.lines(start, stop)]

    @staticmethod
    def _event(line: bytes) -> Event:
        event = decode_own_event(line, len(line))
        assert not isinstance(event, Malformed), "the log was checked when it was gathered"
        return event

    def lines(self, start: int, stop: int) -> list[bytes]:
        offset, length = np.asarray(self.offset[start:stop]), np.asarray(self.length[start:stop])
        if not len(offset):
            return []
        at = self.file.fileno()
        if np.array_equal(offset[1:], offset[:-1] + length[:-1]):  # a sorted file: one piece
            whole = os.pread(at, int(length.sum()), int(offset[0]))
            ends = np.cumsum(length).tolist()
            return [whole[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        return [os.pread(at, many, place) for place, many in zip(offset.tolist(), length.tolist(), strict=True)]


def _flush(chunk: list[tuple[Any, ...]], into: BinaryIO) -> None:
    np.array(chunk, _RAW).tofile(into)
    chunk.clear()


def _by_time(raw: NDArray[Any], summary: Summary) -> NDArray[np.int64]:
    ts = np.ascontiguousarray(raw["ts"])
    summary.out_of_order = int((ts[1:] < ts[:-1]).sum())
    return np.argsort(ts, kind="stable") if summary.out_of_order else np.arange(len(ts))


def _without_repeats(raw: NDArray[Any], order: NDArray[np.int64], summary: Summary) -> NDArray[np.int64]:
    """Of events of one user with one event_id the first counts, as live."""
    mark = raw["mark"][order]
    by_mark = np.argsort(mark, kind="stable")
    mark = mark[by_mark]
    again = np.zeros(len(order), bool)
    again[by_mark[1:]] = mark[1:] == mark[:-1]
    summary.repeats = int(again.sum())
    return order[~again]


def _lives(piece: NDArray[Any], life: NDArray[np.int32], owner: list[int]) -> NDArray[np.int32]:
    """int32: the number of each event's user. An erasure gives its user a new one for what follows."""
    out = np.empty(len(piece), np.int32)
    at = 0
    for end in [*(np.flatnonzero(piece["forgets"]) + 1).tolist(), len(piece)]:
        out[at:end] = life[piece["user"][at:end]]
        if end > at and piece["forgets"][end - 1]:
            user = int(piece["user"][end - 1])
            life[user] = len(owner)
            owner.append(user)
        at = end
    return out


def _ordinals(keys: NDArray[Any], there: NDArray[np.bool_], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 like `keys`: how often each key was `there` before; moves `count` (by key) on."""
    order = np.argsort(keys, kind="stable")
    came = there[order].astype(np.int64)
    running = np.cumsum(came) - came
    ordered = keys[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    base = np.repeat(running[first], np.diff(np.r_[np.flatnonzero(first), len(keys)]))
    out = np.empty(len(keys), np.int64)
    out[order] = count[ordered] + running - base
    np.add.at(count, keys[there], 1)
    return out


def _mark_repeats(chain: NDArray[np.int32], start: NDArray[np.int64], again: NDArray[np.bool_]) -> None:
    """Marks what its user touched before; a stretch of users at a time."""
    ends = np.append(start[1:], len(chain))
    at = 0
    while at < len(start):
        # as many users as fit into a chunk, and at least one
        after = max(at + 1, int(np.searchsorted(ends, start[at] + CHUNK, side="right")))
        low, high = int(start[at]), int(ends[after - 1])
        user = np.repeat(np.arange(at, after), ends[at:after] - start[at:after])
        rows = np.asarray(chain[low:high])
        order = np.lexsort((rows, user))  # stable: equal ones stay in the order of time
        same = (rows[order][1:] == rows[order][:-1]) & (user[order][1:] == user[order][:-1]) & (rows[order][1:] >= 0)
        found = np.zeros(high - low, bool)
        found[order[1:]] = same
        again[low:high] = found
        at = after
