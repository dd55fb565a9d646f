"""The line of releases: each takes up where the last one of its role ended, and none is told of twice as new."""

from __future__ import annotations

from itertools import pairwise
from typing import Any


def put_up(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a role's records, those of new releases: one that choices speak against is told again, as rolled back."""
    new: dict[str, dict[str, Any]] = {}
    for one in records:
        assert one["status"] == ("rolled_back" if one["release_id"] in new else "serving")
        new.setdefault(one["release_id"], one)
    return list(new.values())


def assert_one_line(records: list[dict[str, Any]]) -> None:
    releases = put_up(records)
    assert [one["sequence"] for one in releases] == list(range(1, len(releases) + 1))
    for before, after in pairwise(releases):
        assert after["parent"] == before["release_id"]
        read = before["trained_through"]["offsets"]
        assert all(after["trained_through"]["offsets"][p] >= at for p, at in read.items()), "nothing is taken back"
