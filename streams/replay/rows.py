"""Rows: files of events and of items as a replay takes them.

In: paths (JSONL, CSV, Parquet, gzipped; see `streams.records.files`). Out: events in the order of the files, numbered
as if they had come in on their partitions; items, the last one of an id. What cannot be read as a record is counted,
told by file and line, and left out: on the topics it would have been a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from recsys.step import Incoming
from schemas.decode import Malformed, Reason, decode_own_event, decode_own_item
from schemas.items import Item
from streams.kafka.partition import partition_of
from streams.records.files import Format, Row, Source, Unreadable, opened
from streams.replay.errors import ReplayError
from streams.replay.player import Tally

TOLD = 20
"""Faults of a file that are told one by one; the others are only counted."""

Say = Callable[[str], None]
Watch = Callable[[Source], None]


class Faults:
    """Rows that are no records. `strict`: the first one ends the replay."""

    def __init__(self, tally: Tally, say: Say, *, strict: bool = False) -> None:
        self._tally, self._say, self._strict = tally, say, strict
        self.count = 0

    def add(self, reason: str, what: str) -> None:
        """Raises ReplayError if they are not to be borne."""
        if self._strict:
            raise ReplayError(f"{what}. Mend the row, or leave out --strict to go on without it.")
        self._tally.refused[reason] += 1
        self.count += 1
        if self.count <= TOLD:
            self._say(what)

    def finish(self) -> None:
        if self.count > TOLD:
            self._say(f"... and {self.count - TOLD:,} more rows that are no records")


def events_of(
    paths: Sequence[str], partitions: int, max_bytes: int, faults: Faults, format: Format | None, watch: Watch
) -> Iterator[Incoming]:
    """All events of the files, in the order in which they stand there. Raises Unreadable, ReplayError.

    `watch` is told of each file as it is opened."""
    offsets: dict[int, int] = {}
    numbers: dict[str, int] = {}
    for row in _rows(paths, format, max_bytes, faults, watch):
        event = decode_own_event(row.value, max_bytes)
        if isinstance(event, Malformed):
            _refuse(faults, row, event)
            continue
        user_id = event.user_id
        number = numbers.get(user_id)
        if number is None:
            if len(numbers) >= 1 << 17:
                numbers.clear()
            number = numbers[user_id] = partition_of(user_id, partitions)
        offset = offsets[number] = offsets.get(number, -1) + 1
        yield Incoming(event, number, offset)


def items_of(
    paths: Sequence[str], max_bytes: int, faults: Faults, format: Format | None, watch: Watch
) -> dict[str, Item]:
    """The items of the files by id; of several of one id the last. Raises Unreadable, ReplayError."""
    found: dict[str, Item] = {}
    for row in _rows(paths, format, max_bytes, faults, watch):
        item = decode_own_item(row.value, max_bytes)
        if isinstance(item, Malformed):
            _refuse(faults, row, item)
        else:
            found[item.item_id] = item
    return found


def _rows(paths: Sequence[str], format: Format | None, max_bytes: int, faults: Faults, watch: Watch) -> Iterator[Row]:
    for path in paths:
        with opened(path, format, max_bytes) as source:
            watch(source)
            last = ""
            try:
                for row in source.rows:
                    last = row.where
                    if row.problem:
                        reason = str(Reason.TOO_LARGE) if "bytes" in row.problem else "unreadable_row"
                        faults.add(reason, f"{row.where}: {row.problem}")
                    else:
                        yield row
            except Unreadable as error:
                behind = f"; what can be read ends at {last}" if last else ""
                raise Unreadable(
                    f"{error}{behind}. The file is cut off or damaged: fetch it again, or unpack what is whole "
                    f"(`zcat {path} > whole.jsonl`) and replay that."
                ) from None


def _refuse(faults: Faults, row: Row, wrong: Malformed) -> None:
    faults.add(str(wrong.reason), f"{row.where}: {wrong.path}: expected {wrong.expected} [{wrong.reason}]")
