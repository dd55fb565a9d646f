"""A condition on what may be offered: typed by a chat, or sent with a request; shown in every recommendation.

In: understood words, or a request's `constraints`. Out: filters over items, and the record's `constraints`.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.wire import Id, Timestamp, Wire

Operator = Literal["<=", ">=", "==", "in", "not_in"]


def _operators_take(schema: dict[str, Any]) -> None:
    """The rule of `Constraint.operator_fits` in the words of JSON Schema."""
    for operators, kind in (
        (["<=", ">="], {"type": "number"}),
        (["=="], {"type": ["number", "string"]}),
        (["in", "not_in"], {"type": ["array", "string"]}),
    ):
        schema.setdefault("allOf", []).append(
            {
                "if": {"properties": {"op": {"enum": operators}}, "required": ["op"]},
                "then": {"properties": {"value": kind}},
            }
        )


class Constraint(Wire):
    """`name op value`, e.g. price <= 500 CNY, colour in [red], brand not_in [Acme].

    `name` is price, category, brand, colour, word, or any attribute of items. `<=` and `>=` take a number,
    `==` a number or a string, `in` and `not_in` a list of strings (one string stands for a list of one).
    """

    model_config = ConfigDict(json_schema_extra=_operators_take)

    name: Id
    op: Operator
    value: float | str | list[str]
    unit: str | None = Field(None, description="for a price the currency's code")
    event_id: str | None = Field(None, description="the event that asked for it")
    expires: Timestamp | None = Field(None, description="ms since the epoch")

    @model_validator(mode="after")
    def operator_fits(self) -> Self:
        value, op = self.value, self.op
        if op in ("<=", ">="):
            fits, wanted = isinstance(value, float), "a number"
        elif op == "==":
            fits, wanted = not isinstance(value, list), "a number or a string"
        else:
            fits, wanted = not isinstance(value, float), "a list of strings"
            if isinstance(value, str):
                self.value = [value]
        if not fits:
            raise PydanticCustomError("operator", f"Input should have {wanted} as `value` when `op` is {op}")
        return self
