"""The user's log: all that can be said of one user, a union on `type`, keyed by user_id.

In: `<ns>.events.v1`. Out: `recsys.step`. `ts` may come as text; here it is always int milliseconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import ConfigDict, Field, GetCoreSchemaHandler, JsonValue, TypeAdapter, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from schemas.constraints import Constraint
from schemas.wire import Id, NullMeans, Timestamp, Whole, Wire

Strings = Annotated[list[str], NullMeans(list)]
Ids = Annotated[list[Id], NullMeans(list)]


class EventBase(Wire):
    """What every event carries. `event_id` is unique for its user: a second one changes nothing."""

    event_id: Id
    type: str
    user_id: Id
    ts: Timestamp
    session_id: Id | None = None
    context: Annotated[dict[str, JsonValue], NullMeans(dict)] = Field(default_factory=dict)


class InteractionRecord(EventBase):
    """The user did something with an item. `action` is an open set; its weight is a setting."""

    model_config = ConfigDict(title="Interaction")

    type: Literal["interaction"]
    action: Id
    item_id: Id
    value: float | None = Field(None, description="a rating, seconds, an amount")
    text: str | None = Field(None, description="the review or comment")
    rec_id: Id | None = None


class Interaction(msgspec.Struct, kw_only=True, gc=False):
    """An `InteractionRecord` in memory. Nearly all events are interactions, and this is made of JSON, and let go of, in
    a fifth of the time that a model takes; `schemas.decode` says when. The record alone is the contract."""

    event_id: Id
    type: Literal["interaction"]
    user_id: Id
    ts: Timestamp
    action: Id
    item_id: Id
    session_id: Id | None = None
    context: dict[str, Any] = {}  # msgspec makes each its own
    value: float | None = None
    text: str | None = None
    rec_id: Id | None = None

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Where models are asked for one, they validate the record."""
        return core_schema.no_info_after_validator_function(
            lambda record: cls(**record.__dict__), handler.generate_schema(InteractionRecord)
        )


class Chat(EventBase):
    """Something said. `assistant` is what the shop's own agent said: context, never answered."""

    type: Literal["chat"]
    text: str
    conversation_id: Id | None = None
    role: Annotated[Literal["user", "assistant"], NullMeans(lambda: "user")] = "user"


class Request(EventBase):
    """Asks for a slate. `candidates`: rank exactly those of these that exist and are available."""

    type: Literal["request"]
    k: Annotated[int, Whole(1, 100, null=10)] = 10
    query: str | None = None
    surface: str | None = None
    constraints: Annotated[list[Constraint], NullMeans(list)] = Field(default_factory=list)
    exclude: Ids = Field(default_factory=list)
    candidates: list[Id] | None = None
    like_items: Ids = Field(default_factory=list)


class Impression(EventBase):
    """A slate was shown: `item_ids` in the order shown."""

    type: Literal["impression"]
    rec_id: Id
    item_ids: list[Id]


class Traits(EventBase):
    """Merged into the portrait; null removes one."""

    type: Literal["traits"]
    attributes: dict[Id, float | int | str | bool | None]


def _statement_or_id(schema: dict[str, Any]) -> None:
    """The rule of `ProfileEdit.says_what` in the words of JSON Schema."""

    def text(name: str) -> dict[str, Any]:
        return {"properties": {name: {"type": "string"}}, "required": [name]}

    schema["if"] = {"properties": {"op": {"const": "add"}}, "required": ["op"]}
    schema["then"] = text("statement")
    schema["else"] = {"anyOf": [text("statement"), text("statement_id")]}


class ProfileEdit(EventBase):
    """The user corrects the portrait: by a statement's words, or by its id. `add` needs words."""

    model_config = ConfigDict(json_schema_extra=_statement_or_id)

    type: Literal["profile_edit"]
    op: Literal["add", "remove", "pin", "mute"]
    statement: Annotated[str, Field(min_length=1)] | None = None
    statement_id: Id | None = None

    @model_validator(mode="after")
    def says_what(self) -> Self:
        if self.statement is None and (self.op == "add" or self.statement_id is None):
            wanted = "`statement`" if self.op == "add" else "`statement` or `statement_id`"
            raise PydanticCustomError("statement", f"Input should have {wanted}")
        return self


_RANGE_WORDS = ("range", "since", "until", "since/until")


def _range_has_ends(schema: dict[str, Any]) -> None:
    """The rules of `Forget` in the words of JSON Schema, its lenient spellings of a range included."""
    schema["properties"]["scope"] = {
        "anyOf": [{"enum": ["all", "session", *_RANGE_WORDS]}, {"type": "object"}, {"type": "null"}],
        "description": "all, session, or range (which takes `since`, `until` or both)",
    }
    schema["required"] = [name for name in schema["required"] if name != "scope"]
    ends = {
        "anyOf": [{"properties": {name: {"not": {"type": "null"}}}, "required": [name]} for name in ("since", "until")]
    }
    named = {"properties": {"scope": {"enum": ["all", "session"]}}, "required": ["scope"]}
    nested = {"properties": {"scope": {"type": "object"}}, "required": ["scope"]}
    schema["if"] = named
    schema["then"] = {"not": ends}
    stamps = {name: schema["properties"][name] for name in ("since", "until")}
    inside = {"properties": {"scope": {**ends, "properties": stamps}}}
    schema["else"] = {"if": nested, "then": inside, "else": ends}


class Forget(EventBase):
    """Erase: everything, a session (`session_id`, or else the present one), or all within [since, until]."""

    model_config = ConfigDict(json_schema_extra=_range_has_ends)

    type: Literal["forget"]
    scope: Literal["all", "session", "range"]
    since: Timestamp | None = None
    until: Timestamp | None = None

    @model_validator(mode="before")
    @classmethod
    def spelling_of_ranges(cls, data: Any) -> Any:
        """`{"since": ...}` alone, `"scope": "since/until"` and `"scope": {"since": ...}` all mean a range."""
        if not isinstance(data, dict):
            return data
        scope = data.get("scope")
        if isinstance(scope, dict):
            return {**data, "scope": "range", "since": scope.get("since"), "until": scope.get("until")}
        ends = data.get("since") is not None or data.get("until") is not None
        if scope in _RANGE_WORDS or (scope is None and ends):
            return {**data, "scope": "range"}
        return {name: value for name, value in data.items() if name != "scope"} if scope is None else data

    @model_validator(mode="after")
    def ends_belong_to_ranges(self) -> Self:
        # `all` with an end could mean either; erasing too much cannot be undone, so ask again instead
        if (self.scope == "range") == (self.since is None and self.until is None):
            wanted = "`since` or `until`" if self.scope == "range" else "no `since` and no `until`"
            raise PydanticCustomError("scope", f"Input should have {wanted} when `scope` is {self.scope}")
        return self


Event = Annotated[
    Interaction | Chat | Request | Impression | Traits | ProfileEdit | Forget, Field(discriminator="type")
]

EVENT: TypeAdapter[Interaction | Chat | Request | Impression | Traits | ProfileEdit | Forget] = TypeAdapter(Event)
"""Validates any event; built once, since building it costs milliseconds."""


def moved(event: Event, ts: int) -> Event:
    """The same event at another time, in ms."""
    if isinstance(event, Interaction):
        return msgspec.structs.replace(event, ts=ts)
    return event.model_copy(update={"ts": ts})
