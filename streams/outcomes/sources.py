"""Where outcomes are read from: files of records, or the topics themselves up to where they end now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streams.records.files import Unreadable, opened

MAX_RECORD = 64 << 20
"""Bytes of a line; files of ours have no longer ones."""


def from_file(path: str) -> Iterator[bytes]:
    """The JSON of each record of a JSONL file (.gz too). Raises Unreadable, with the line that cannot be read."""
    with opened(path, None, MAX_RECORD) as source:
        for row in source.rows:
            if row.problem is not None:
                raise Unreadable(f"{row.where}: {row.problem}")
            yield row.value


def from_topic(consumer: Any, topic: str) -> Iterator[bytes]:
    """The values of a topic from its beginning to where it ends now, each partition in order."""
    from streams.records.read import follow

    for message in follow(consumer, topic, beginning=True, to_the_end=True):
        if message.value() is not None:
            yield message.value()
