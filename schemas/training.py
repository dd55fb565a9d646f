"""A recommended item and what became of it, with the features as they were then.

Out: `<ns>.training-examples.v1`, from the label join in the User. In: the learner's slower lanes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.recommendations import WorldNames
from schemas.wire import Count, Id, Timestamp, Whole, Wire


class Label(Wire):
    """What the user did with the item, and how long after the recommendation."""

    action: Id
    value: float | None = None
    delay_ms: Count


class Beside(Wire):
    """Another item that was offered in the same recommendation, as it was then."""

    item_id: Id
    position: Annotated[int, Whole(1, 100)]
    features: dict[str, float]


class TrainingExample(Wire):
    """One item of one recommendation. `label` is null for a negative: its window closed without an act. An item that
    was acted on has an example for each kind of act."""

    example_id: Id
    user_id: Id
    rec_id: Id
    item_id: Id
    position: Annotated[int, Whole(1, 100)]
    propensity: float = Field(gt=0, le=1)
    label: Label | None
    features: dict[str, float] = Field(
        description="by name, as they were; those that are 0 are left out. `moment.*`: what held of the moment"
    )
    beside: list[Beside] = Field(default_factory=list, description="with a label: what was offered beside the item")
    feature_schema: str = Field(description="version of the table of features")
    world: WorldNames
    recommended_ts: Timestamp
    labelled_ts: Timestamp
