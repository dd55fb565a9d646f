"""Drift as an alert: rankings foresee choices better or worse than before.

Out: an Alert for `<ns>.alerts.v1`. All times are ms.
"""

from __future__ import annotations

from recsys.learning.drift import Drifted
from schemas.alerts import Alert


def drifted(one: Drifted, read_ts: int) -> Alert:
    """How well rankings foresee choices has changed; `read_ts`: the log's time."""
    direction = "fell" if one.after < one.before else "rose"
    return Alert(
        alert_id=f"drift-{read_ts}-{one.at}", kind="drift", subject="ranking",
        severity="warning" if one.after < one.before else "info", ts=read_ts,
        text=f"How well rankings foresee choices {direction} from {one.before:.3f} to {one.after:.3f} (NDCG@10).",
        details={"before": one.before, "after": one.after},
    )  # fmt: skip
