"""Proof for the user: what an erasure removed, or what became of an edit of the profile.

Out: `<ns>.receipts.v1`, from the step.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.wire import Count, Id, Timestamp, Wire


class Receipt(Wire):
    """One for each `forget` and `profile_edit`, its id derived from the event."""

    receipt_id: Id
    user_id: Id
    event_id: Id
    kind: Literal["forget", "profile_edit"]
    ts: Timestamp
    removed: dict[str, Count] = Field(default_factory=dict, description="how many of what, e.g. events: 12")
    statement_ids: list[str] = Field(default_factory=list, description="statements added, removed, pinned or muted")
    outcome: str = Field(description="e.g. done, nothing to remove, no such statement")
