"""The settings that the pure step obeys. A value object: one Policy and one log give one result."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recsys.features import INDEX


class Arm(BaseModel):
    """An arm of an experiment: its share of the users, and what is different for them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(0, ge=0, le=1, description="of all users; 0: only to be interleaved")
    diversity: float | None = Field(None, ge=0, lt=1)
    exploration: float | None = Field(None, ge=0, lt=1)
    weights: dict[str, float] = Field(default={}, description="factors of the ranker's weights, by feature")
    interleave: tuple[str, str] | None = Field(None, description="two arms whose rankings share each slate instead")


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

    # labels
    label_window_hours: float = Field(24, gt=0, description="event time until an item without an act is a negative")
    late_label_days: float = Field(14, ge=0, description="event time in which an item with an act can have more")

    # the slate
    k: int = Field(10, ge=1, le=100)
    candidates: int = Field(200, ge=10, le=1000, description="candidates scored for a ranking")
    diversity: float = Field(0.15, ge=0, lt=1, description="weight of similarity to items above (MMR)")
    exploration: float = Field(0.05, ge=0, lt=1, description="chance that a position is drawn at random")
    exploration_pool: int = Field(20, ge=1, le=100, description="how many candidates such a draw is over")
    reasons: int = Field(3, ge=1, le=5, description="most reasons for an item")
    constraint_days: float = Field(7, gt=0, description="event time until a condition from a chat expires")

    # an experiment
    arms: dict[str, Arm] = Field(default={}, description="arms by name; users that their shares leave over are `main`")
    arms_salt: str = Field("", description="names the experiment; another one deals users to arms anew")

    def of_arm(self, arm: Arm) -> Policy:
        """This policy with what the arm sets."""
        own = {name: value for name in ("diversity", "exploration") if (value := getattr(arm, name)) is not None}
        return self.model_copy(update=own) if own else self

    @model_validator(mode="after")
    def arms_fit(self) -> Self:
        if sum(arm.share for arm in self.arms.values()) > 1 + 1e-9:
            raise ValueError("the shares of the arms should add up to at most 1; what they leave is `main`")
        if "main" in self.arms:
            raise ValueError("`main` is the arm of the users that are left: give the others their shares")
        single = {"main", *(name for name, arm in self.arms.items() if arm.interleave is None)}
        for name, arm in self.arms.items():
            if unknown := arm.weights.keys() - INDEX.keys():
                raise ValueError(f"arm {name}: {min(unknown)} is no feature; features are {', '.join(INDEX)}")
            if any(factor < 0 for factor in arm.weights.values()):
                raise ValueError(f"arm {name}: a factor of a weight should be 0 or more")
            if arm.interleave is not None and (
                len({*arm.interleave}) < 2 or not single.issuperset(arm.interleave) or arm.model_fields_set & _OWN
            ):
                raise ValueError(f"arm {name}: interleave should name two arms (or `main`), and nothing else be set")
        return self


_OWN = frozenset({"diversity", "exploration", "weights"})
