"""What goes out for an event: a slate with its reasons, the constraints in force, and its World.

Out: `<ns>.recommendations.v1`. The step writes plain dicts of this shape; these models define it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.constraints import Constraint
from schemas.wire import Id, Timestamp, Whole, Wire


class Trigger(Wire):
    """The event that asked for it, or caused it."""

    event_id: Id
    type: str
    ts: Timestamp


class EventEvidence(Wire):
    """A reason rests on this event of the user."""

    event: Id


class FieldEvidence(Wire):
    """A reason rests on this field: of the item, of the user's traits, or of the statistics."""

    field: str


class Reason(Wire):
    """A part of the score in words; `weight` is that part."""

    text: str
    weight: float
    evidence: list[EventEvidence | FieldEvidence]


class RankedItem(Wire):
    """One place of the slate. `score` falls with `rank` unless `moved` says that a rule moved the item."""

    item_id: Id
    rank: Annotated[int, Whole(1, 100)]
    score: float
    propensity: float = Field(gt=0, le=1, description="chance that this item stood at this place")
    source: str = Field(description="the retriever that found it")
    moved: str | None = Field(None, description="why out of score order: diversity | exploration | interleaving")
    team: str | None = Field(None, description="of two interleaved rankings, the arm whose item this is")
    reasons: list[Reason]


class WorldNames(Wire):
    """Which World: enough to make the same recommendation again."""

    release_id: str
    statistics_id: str
    catalogue_version: str


class Timing(Wire):
    """Receipt of the time it took, in ms since the epoch; not part of the replay digest."""

    event_ts: Timestamp
    received_ts: Timestamp | None = None
    emitted_ts: Timestamp | None = None


class Recommendation(Wire):
    """Derived from its trigger, so that a retry makes the same one, `rec_id` and all."""

    rec_id: Id
    user_id: Id
    kind: Literal["ranking", "dialogue", "answer"]
    trigger: Trigger
    items: list[RankedItem]
    reply: str | None = Field(None, description="text for the user, in the language of the message")
    constraints: list[Constraint]
    world: WorldNames
    arm: str | None = None
    interleaved: tuple[str, str] | None = Field(None, description="the two arms whose rankings share this slate")
    surface: str | None = None
    timing: Timing
