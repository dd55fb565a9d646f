"""How learnt things reach the workers, and which worker took what when.

In and out: `<ns>.releases.v1` (learner -> every worker), `<ns>.journal.v1` (worker -> replay).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.recommendations import WorldNames
from schemas.wire import Count, Id, Timestamp, Whole, Wire

Sha256 = r"^[0-9a-f]{64}$"


class TrainedThrough(Wire):
    """How far the learner had read: the log's time, and the next offset of each partition of `events`."""

    ts: Timestamp
    offsets: dict[str, Count]


class Base(Wire):
    """The whole snapshot that a small release builds on."""

    uri: str
    sha256: str = Field(pattern=Sha256)
    size: Count = Field(description="bytes")


class Release(Wire):
    """A model or a set of statistics, stored at `uri`. `sequence` grows by one within a role.

    A candidate with a `share` is a canary: workers rank that share of the users by it, until a later record of the same
    id says that it serves all, or that it is over. Those announced together are tried together; the ranker's id deals
    the users."""

    release_id: Id
    role: Literal["statistics", "ranker", "sequence", "adapter", "encoder"]
    sequence: Count
    parent: str | None = None
    created_ts: Timestamp
    trained_through: TrainedThrough
    metrics: dict[str, float] = Field(default_factory=dict)
    uri: str
    sha256: str = Field(pattern=Sha256)
    size: Count = Field(description="bytes")
    schema_version: Annotated[int, Whole(1, 10_000)]
    status: Literal["candidate", "serving", "rolled_back", "quarantined"]
    base: Base | None = Field(
        None, description="what it builds on: of a difference the whole one, of a user side the item side"
    )
    share: float | None = Field(None, gt=0, lt=1, description="of a candidate: the share of users that it serves")
    pinned: bool = Field(False, description="an operator holds on to it: the learner proposes no other")


class JournalEntry(Wire):
    """From `offset` of `partition` of the events topic on, this World was served.

    `positions`: for each topic the World was built from, partition -> next offset. Replay reads to there. Of a large
    catalogue also `items.index` and `item-vectors.index`: where its index was built, newer items apart.
    """

    partition: Count
    offset: Count = Field(description="first offset served by this World")
    world: WorldNames
    positions: dict[str, dict[str, Count]]
    ts: Timestamp


def journal_key(partition: int, offset: int) -> str:
    """Key of a journal record. It names both, so that compaction keeps one entry for each change of World."""
    return f"{partition}:{offset}"
