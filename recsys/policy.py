"""The settings that the pure step obeys. A value object: one Policy and one log give one result."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Policy(BaseModel):
    """How events are weighed and slates are made. Weights without a unit; times in the unit that the name says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # evidence
    action_weights: dict[str, float] = Field(
        default={
            "view": 0.5,
            "click": 1.0,
            "play": 1.0,
            "add_to_cart": 2.0,
            "purchase": 3.0,
            "like": 2.5,
            "rate": 1.0,
            "review": 1.0,
            "share": 2.0,
            "skip": -0.5,
            "dislike": -2.5,
        },
        description="evidence weight of each action; a rating is centred on 3 and scaled",
    )
    unknown_action_weight: float = 0.5
    evidence_half_life_hours: float = Field(24 * 30, gt=0)
    session_gap_minutes: float = Field(30, gt=0)
    max_future_seconds: float = Field(300, description="a ts further ahead of the log's own time is clamped for decay")

    # when to rank
    ranking_actions: frozenset[str] | None = Field(None, description="actions that trigger a ranking; null: all")
    throttle_ms: int = Field(0, ge=0, description="least event time between two rankings nobody asked for; 0: off")
    keep_out_actions: frozenset[str] | None = Field(None, description="actions that keep an item out; null: all")

    # the slate
    k: int = Field(10, ge=1, le=100)
    candidates: int = Field(200, ge=10, le=1000, description="candidates scored for a ranking")
    diversity: float = Field(0.15, ge=0, lt=1, description="weight of similarity to items above (MMR)")
    exploration: float = Field(0.05, ge=0, lt=1, description="chance that a position is drawn at random")
    exploration_pool: int = Field(20, ge=1, le=100, description="how many candidates such a draw is over")
    reasons: int = Field(3, ge=1, le=5, description="most reasons for an item")
    constraint_days: float = Field(7, gt=0, description="event time until a condition from a chat expires")
