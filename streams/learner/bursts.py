"""Suspicious bursts as alerts, and the word of an operator that one is honest.

Out: an Alert of kind `quarantine` for each burst that the screen reports (`recsys.learning.screen`), and another when
it has calmed down. In: alerts of the same kind that an operator writes (`headwater quarantine release ITEM`), which
every lane with a screen heeds. All are on `<ns>.alerts.v1`, under the item's id, so that whoever follows an item sees
what was held back, until when, and who let go of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from recsys.learning.screen import Burst
from schemas.alerts import Alert

RELEASED = "released"
UNTIL = "until"


class Held(NamedTuple):
    """A burst as it was told; `until`: when it had calmed down, ms, None as long as it lasts."""

    alert: Alert
    until: int | None


def alert_of(burst: Burst) -> Alert:
    """The alert of a burst, or of its end; the same id whoever reports it, and however often."""
    if burst.until is not None:
        return Alert(
            alert_id=f"calm-{burst.since}-{burst.item_id}"[:128], kind="quarantine", subject=burst.item_id,
            severity="info", ts=burst.until,
            text=f"{burst.item_id} has calmed down and is held back no longer; {burst.withheld:,.0f} interactions with "
            "it did not count.",
            details={UNTIL: burst.until, "withheld": burst.withheld, "users": burst.users},
        )  # fmt: skip
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


def held(values: Iterable[bytes | None]) -> list[Held]:
    """The bursts that nobody has vouched for since, those that came last at the end; of an item the latest. `values`:
    alerts as they stand on the topic."""
    found: dict[str, Held] = {}
    seen: set[str] = set()
    for value in values:
        if (item_id := vouched(value)) is not None:
            found.pop(item_id, None)
            continue
        try:
            alert = Alert.model_validate_json(value or b"")
        except ValueError:
            continue
        # the learner's own setbacks are quarantines too, but of a role and not of an item
        if alert.kind != "quarantine" or "withheld" not in alert.details or alert.alert_id in seen:
            continue
        seen.add(alert.alert_id)  # one that is told once more, after a restart of the learner, is no new one
        before = found.pop(alert.subject, None)
        if UNTIL not in alert.details:
            found[alert.subject] = Held(alert, None)
        elif before is not None:
            details = before.alert.details | {"withheld": alert.details["withheld"], "users": alert.details["users"]}
            found[alert.subject] = Held(before.alert.model_copy(update={"details": details}), alert.ts)
    return list(found.values())
