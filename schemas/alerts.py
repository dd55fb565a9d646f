"""Something a person should look at: a surge of opinion, drift, a quarantined release.

Out: `<ns>.alerts.v1`, keyed by subject.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from schemas.wire import Id, Timestamp, Wire


class Alert(Wire):
    """`subject` is what it is about (an item_id, a release_id, ...); `details` are the figures behind it."""

    alert_id: Id
    kind: Literal["opinion_surge", "drift", "quarantine"]
    subject: Id
    severity: Literal["info", "warning", "critical"] = "warning"
    text: str
    ts: Timestamp
    details: dict[str, JsonValue] = Field(default_factory=dict)
