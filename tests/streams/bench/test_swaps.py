"""Which two releases take turns where swaps are measured."""

from __future__ import annotations

import pytest

from schemas.releases import Release, TrainedThrough
from streams.bench.errors import BenchFailed
from streams.bench.swaps import _two
from streams.lineage import Lineage


def lineage(*releases: tuple[int, str, str]) -> Lineage:
    """Of (sequence, letter of the file, status)."""
    made = Lineage()
    for sequence, letter, status in releases:
        made.take(
            Release.model_validate({
                "release_id": f"ranker-{letter}-{sequence}", "role": "ranker", "sequence": sequence, "created_ts": 0,
                "trained_through": TrainedThrough(ts=0, offsets={}), "uri": f"memory://{letter}",
                "sha256": letter * 64, "size": 1, "schema_version": 1, "status": status,
            })
        )  # fmt: skip
    return made


def test_the_newest_that_serves_and_the_oldest_of_another_file_take_turns():
    found = _two(
        lineage((1, "a", "serving"), (2, "b", "serving"), (3, "c", "serving"), (4, "d", "candidate")), "ranker"
    )
    assert [one.sequence for one in found] == [1, 3]


@pytest.mark.parametrize("known", [[(1, "a", "serving")], [(1, "a", "serving"), (2, "a", "serving")]])
def test_one_file_under_whatever_ids_is_no_pair(known):
    with pytest.raises(BenchFailed, match="role ranker"):
        _two(lineage(*known), "ranker")
