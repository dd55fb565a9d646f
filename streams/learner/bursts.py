"""Suspicious bursts as alerts, and the word of an operator that one is honest.

Out: an Alert of kind `quarantine` for each burst that the screen reports (`recsys.learning.screen`). In: alerts of the
same kind that an operator writes (`headwater quarantine release ITEM`), which every lane with a screen heeds. Both are
on `<ns>.alerts.v1`, under the item's id, so that whoever follows an item sees what was held back and who let go of it.
"""

from __future__ import annotations

import time

from recsys.learning.screen import Burst
from schemas.alerts import Alert

RELEASED = "released"


def alert_of(burst: Burst) -> Alert:
    """The alert of a burst; the same id whoever reports it, and however often."""
    return Alert(
        alert_id=f"burst-{burst.since}-{burst.item_id}"[:128], kind="quarantine", subject=burst.item_id,
        severity="warning", ts=burst.since,
        text=(
            f"{burst.item_id} drew {burst.observed:.1%} of the latest interactions where {burst.expected:.2%} were to "
            f"be expected. What goes beyond counts for nothing until it calms down; `headwater quarantine release "
            f"{burst.item_id}` lets it count."
        ),
        details={"observed": burst.observed, "expected": burst.expected, "withheld": burst.withheld,
                 "users": burst.users},
    )  # fmt: skip


def release_of(item_id: str) -> Alert:
    """An operator's word for an item."""
    now = int(time.time() * 1000)
    return Alert(
        alert_id=f"vouched-{now}-{item_id}"[:128], kind="quarantine", subject=item_id, severity="info", ts=now,
        text=f"{item_id} counts fully again: an operator vouches for it.", details={RELEASED: True},
    )  # fmt: skip


def vouched(value: bytes | None) -> str | None:
    """The item that an alert vouches for; None where it does not."""
    if value is None or RELEASED.encode() not in value:
        return None
    try:
        alert = Alert.model_validate_json(value)
    except ValueError:
        return None
    return alert.subject if alert.kind == "quarantine" and alert.details.get(RELEASED) is True else None
