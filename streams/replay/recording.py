"""Recording: the recommendations of a run in the order of their digest, on a disk where they do not fit into memory.

In: lines as they come, each with the key and the id of its record. Out: `recs.jsonl` and the digest, or the lines
themselves for a comparison.

The order of the digest is that of the record key (the user_id, by its bytes), and within a key that of the log. It
follows from what a reader of the topic sees, whatever the number of partitions and however they were interleaved: all
records of a key lie in one partition, in the order of its log. A record whose id came before under the same key is left
out, as every reader of the topic does. What is digested is each line without `timing`, its newline included.
"""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgpack
import orjson

from schemas.wire import encode

HELD_BYTES = 96 << 20
"""Lines kept in memory; beyond that they are sorted and written to a temporary file, a run of a merge sort."""


class Line(NamedTuple):
    """A recommendation as a line of canonical JSON without its newline. `sequence` counts within the recording;
    `cut` is what of the line is not digested: the place of `timing`."""

    key: bytes
    sequence: int
    rec_id: str
    cut: tuple[int, int]
    text: bytes

    @property
    def digested(self) -> bytes:
        start, end = self.cut
        return self.text[:start] + self.text[end:] + b"\n"


class Recording:
    """Use it as a context manager: it may hold a temporary file."""

    def __init__(self, held_bytes: int = HELD_BYTES) -> None:
        self._held_bytes = held_bytes
        self._held: list[Line] = []
        self._size = 0
        self._added = 0
        self._runs: list[BinaryIO] = []
        self.kept = 0
        """Lines that the last reading gave."""

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs:
            run.close()

    def add(self, value: dict[str, Any]) -> None:
        """Takes a Recommendation as a plain dict."""
        text = encode(value)
        self._take(value, text, _place_of(text, encode(value["timing"])))

    def add_line(self, text: bytes) -> None:
        """Takes a Recommendation as JSON. Raises ValueError if it is none."""
        value = orjson.loads(text)
        if not isinstance(value, dict) or not {"rec_id", "user_id", "items", "timing"} <= value.keys():
            raise ValueError("not a recommendation")
        self.add(value)

    def _take(self, value: dict[str, Any], text: bytes, cut: tuple[int, int]) -> None:
        self._held.append(Line(value["user_id"].encode(), self._added, value["rec_id"], cut, text))
        self._added += 1
        self._size += len(text) + 200
        if self._size > self._held_bytes:
            self._spill()

    def _spill(self) -> None:
        self._held.sort()
        run = tempfile.TemporaryFile(prefix="headwater-replay-")  # noqa: SIM115  (closed with the recording)
        pack = msgpack.Packer().pack
        for line in self._held:
            run.write(pack(line))
        self._runs.append(run)
        self._held, self._size = [], 0

    def lines(self) -> Iterator[Line]:
        """All lines in the order of the digest, each id once a key."""
        self._held.sort()
        self.kept = 0
        key: bytes | None = None
        seen: set[str] = set()
        for line in heapq.merge(*map(_read, self._runs), self._held) if self._runs else self._held:
            if line.key != key:
                key, seen = line.key, set()
            if line.rec_id not in seen:
                seen.add(line.rec_id)
                self.kept += 1
                yield line

    def digest(self) -> str:
        """The sha256, in hexadecimal digits."""
        total = sha256()
        for line in self.lines():
            total.update(line.digested)
        return total.hexdigest()

    def write(self, path: Path) -> str:
        """Writes the lines to `path`, whole or not at all; their digest."""
        total = sha256()
        passing = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with passing.open("wb") as file:
                for line in self.lines():
                    file.write(line.text + b"\n")
                    total.update(line.digested)
            os.replace(passing, path)
        finally:
            passing.unlink(missing_ok=True)
        return total.hexdigest()


def _place_of(text: bytes, timing: bytes) -> tuple[int, int]:
    """Where `"timing":{...}` with one of its commas stands in a record. Its fields are sorted and `trigger` follows."""
    part = b'"timing":' + timing + b","
    start = text.rindex(part)
    return start, start + len(part)


def _read(run: BinaryIO) -> Iterator[Line]:
    run.seek(0)
    for key, sequence, rec_id, cut, text in msgpack.Unpacker(run, max_buffer_size=1 << 30, use_list=False):
        yield Line(key, sequence, rec_id, cut, text)
