"""Alerts of the model lanes: rankings that foresee choices better or worse than before, and models that were set back.

Out: Alerts for `<ns>.alerts.v1`. All times are ms.
"""

from __future__ import annotations

from recsys.learning.drift import Drifted
from schemas.alerts import Alert


def rolled_back(release_id: str, why: str, now: int) -> Alert:
    """What served before the last promotion serves again."""
    return Alert(
        alert_id=f"rolled-back-{now}", kind="quarantine", subject="ranker", severity="critical", ts=now,
        text=f"{release_id} was rolled back: what served before is better, {why} (NDCG@10).",
    )  # fmt: skip


def diverged(release_id: str, wrong: str, now: int) -> Alert:
    """What was learnt could not serve."""
    return Alert(
        alert_id=f"diverged-{now}", kind="quarantine", subject="ranker", severity="critical", ts=now,
        text=f"The learner's models were set back to {release_id}: {wrong}.",
    )  # fmt: skip


def drifted(one: Drifted, read_ts: int) -> Alert:
    """How well rankings foresee choices has changed; `read_ts`: the log's time."""
    direction = "fell" if one.after < one.before else "rose"
    return Alert(
        alert_id=f"drift-{read_ts}-{one.at}", kind="drift", subject="ranking",
        severity="warning" if one.after < one.before else "info", ts=read_ts,
        text=f"How well rankings foresee choices {direction} from {one.before:.3f} to {one.after:.3f} (NDCG@10).",
        details={"before": one.before, "after": one.after},
    )  # fmt: skip
