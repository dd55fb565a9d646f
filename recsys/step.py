"""Step: the one pure function that live work, replay, backtest and tests all call.

    step(world, users, events, policy) -> users', messages

Batched and deterministic, and the result does not depend on where a batch was cut: events are folded into their Users
one by one in the order of the log; whenever a ranking is due, the User as of that event is put aside as a Query; then
all queries of the batch are ranked together as arrays, in blocks.

events -> fold -> queries -> retrieve -> score -> select -> explain -> messages, what became of earlier ones (the label
join), and the profiles of changed users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recsys.actions import code_weights, weigh
from recsys.dialogue.conditions import Understanding, condition_from_request, merge, values_of
from recsys.dialogue.understand import understand
from recsys.fold import (
    add_words,
    event_seconds,
    fold_forget,
    fold_impression,
    fold_interaction,
    fold_profile_edit,
    fold_traits,
    touch_session,
)
from recsys.join import Act, Join
from recsys.policy import Policy
from recsys.profile import write_profiles
from recsys.query import Query
from recsys.recommend import Slate, Timer, derived_id, recommend, untimed
from recsys.text import language
from recsys.user import Condition, User, is_repeat, remember
from recsys.world import World
from schemas.events import (
    Chat,
    Event,
    Forget,
    Impression,
    Interaction,
    ProfileEdit,
    Request,
    Traits,
)

_DAY_MS = 86_400_000


@dataclass(slots=True)
class Incoming:
    """An event with its place in the log. `received_ts` (ms) travels along for the receipt; no handler reads it."""

    event: Event
    partition: int
    offset: int
    received_ts: int = 0


@dataclass(slots=True)
class Message:
    """A record to publish: `topic` is a key of `schemas.topics.TOPICS`, `type` the CloudEvents type, `source` the place
    of the causing event in the batch. `message_id` is derived from that event."""

    topic: str
    key: str
    message_id: str
    type: str
    value: dict[str, Any]
    source: int


@dataclass(slots=True)
class StepResult:
    """`users` holds those that changed; None: erased. Messages are in the order of the log."""

    users: dict[str, User | None] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """What the fold of a batch gathers; private clones of users, queries, receipts."""

    world: World
    policy: Policy
    before: Mapping[str, User]
    users: dict[str, User] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    removals: dict[int, dict[str, int]] = field(default_factory=dict)  # by source of the erasure
    acts: list[tuple[int, str, Act | None]] = field(default_factory=list)  # (source, user, None: an erasure) to join
    waited: set[str] = field(default_factory=set)  # users for whom a recommendation waits, or will
    stale: set[str] = field(default_factory=set)  # users whose profile has to be written anew
    queries: list[Query] = field(default_factory=list)
    understood: dict[int, Understanding] = field(default_factory=dict)  # by source
    messages: list[Message] = field(default_factory=list)
    weighed: dict[str, tuple[int, float]] = field(default_factory=dict)  # by action, without a value
    # of the policy, which is asked once an event
    gap_s: float = field(init=False)
    ranking_actions: frozenset[str] | None = field(init=False)

    def __post_init__(self) -> None:
        self.gap_s, self.ranking_actions = self.policy.session_gap_minutes * 60, self.policy.ranking_actions

    def user(self, user_id: str) -> User:
        """The private clone of a user whose first event of the batch this is."""
        known = self.before.get(user_id)
        found = self.users[user_id] = known.clone() if known is not None else User.new(user_id)
        if found.open:
            self.waited.add(user_id)
        return found

    def weigh(self, event: Interaction) -> tuple[int, float]:
        """`recsys.actions.weigh`, once an action."""
        if event.value is not None:
            return weigh(event.action, event.value, self.policy)
        found = self.weighed.get(event.action)
        if found is None:
            found = self.weighed[event.action] = weigh(event.action, None, self.policy)
        return found

    def queue(self, query: Query) -> None:
        self.queries.append(query)
        self.waited.add(query.user.user_id)


def step(
    world: World,
    users: Mapping[str, User],
    events: Sequence[Incoming],
    policy: Policy,
    timer: Timer = untimed,
) -> StepResult:
    """The next value of every user that `events` concern, and the messages they cause. See the module's docstring.

    `timer` is told the name of each inner stage as it ends; it may measure, and cannot change anything.
    """
    batch = _Batch(world, policy, users)
    touched: set[str] = set()
    now, erased = batch.users, batch.erased
    for source, incoming in enumerate(events):
        event = incoming.event
        user_id = event.user_id
        user = now.get(user_id)
        if user is None:
            user = batch.user(user_id)
        if is_repeat(user, event.event_id):
            continue
        touched.add(user_id)
        if erased:
            erased.discard(user_id)
        kind = event.__class__
        _HANDLERS[kind](batch, user, event, source)
        # an interaction's id stands with its row, and an erased user keeps nothing at all
        if kind is not Interaction and user_id not in erased:
            remember(now[user_id], event.event_id)
        if user_id in batch.waited:
            batch.acts.append((source, user_id, _act(batch, now[user_id], event)))
    timer("fold")

    weights = code_weights(policy)
    slates = recommend(world, batch.queries, batch.understood, policy, weights, timer)
    batch.messages += [
        Message(
            "recommendations", q.user.user_id, slate.value["rec_id"], "headwater.recommendation", slate.value, q.source
        )
        for q, slate in zip(batch.queries, slates, strict=True)
    ]  # fmt: skip
    timer("assemble")
    _label(batch, slates)
    batch.messages.sort(key=lambda m: m.source)  # stable: a recommendation stands before what it became
    timer("label")

    write_profiles(world, [batch.users[u] for u in batch.stale if u in batch.users], policy, weights)
    timer("profile")
    return StepResult({u: None if u in batch.erased else batch.users[u] for u in sorted(touched)}, batch.messages)


def _act(batch: _Batch, user: User, event: Event) -> Act | None:
    if isinstance(event, Forget):
        return None
    code = batch.weigh(event)[0] if isinstance(event, Interaction) else 0
    met = event if isinstance(event, Interaction | Impression) else None
    return Act(met, event.ts, event_seconds(event.ts), code, bool(user.shown))


def _label(batch: _Batch, slates: Sequence[Slate]) -> None:
    """Open recommendations meet the events behind them, in the order of the log; those of the batch among them."""
    joins: dict[str, Join] = {}
    due = {query.source: slate for query, slate in zip(batch.queries, slates, strict=True)}
    for source, user_id, act in batch.acts:
        join = joins.get(user_id)
        if join is None:
            known = batch.before.get(user_id)
            join = joins[user_id] = Join(batch.world, batch.policy, user_id, known.open if known is not None else ())
        if act is None:
            batch.removals[source]["open_recommendations"] = len(join.held)
            join.held.clear()
            continue
        join.move(act)
        slate = due.get(source)
        if slate is not None and slate.value["items"]:
            join.open(slate.open, act)
        for example in join.examples:
            batch.messages.append(
                Message(
                    "training-examples", user_id, example["example_id"], "headwater.training-example", example, source
                )
            )  # fmt: skip
        join.examples.clear()
    for user_id, join in joins.items():
        batch.users[user_id].open = tuple(join.held)


def _interaction(batch: _Batch, user: User, event: Interaction, source: int) -> None:
    ts_s = event_seconds(event.ts)
    touch_session(user, ts_s, event.session_id, batch.gap_s)
    fold_interaction(user, event, ts_s, *batch.weigh(event))
    batch.stale.add(user.user_id)
    if batch.ranking_actions is not None and event.action not in batch.ranking_actions:
        return
    policy = batch.policy
    if policy.throttle_ms and user.last_ranked_ms and abs(event.ts - user.last_ranked_ms) < policy.throttle_ms:
        return
    user.last_ranked_ms = event.ts if policy.throttle_ms else 0
    batch.queue(
        Query(
            source,
            user.clone(),
            event.event_id,
            event.type,
            event.ts,
            k=policy.k,
            constraints=_in_force(user, event.ts),
        )
    )


def _request(batch: _Batch, user: User, event: Request, source: int) -> None:
    touch_session(user, event_seconds(event.ts), event.session_id, batch.gap_s)
    batch.stale.add(user.user_id)  # a profile is as of the last event: whatever moves that time writes it anew
    own = [condition_from_request(c) for c in event.constraints]
    batch.queue(
        Query(
            source, user.clone(), event.event_id, event.type, event.ts, k=event.k, text=event.query or None,
            constraints=(*_in_force(user, event.ts), *own), exclude=event.exclude, candidates=event.candidates,
            like_items=event.like_items, surface=event.surface, asked=bool(event.query),
        )
    )  # fmt: skip
    if event.query:
        add_words(user, event.event_id, event_seconds(event.ts), event.query)


def _chat(batch: _Batch, user: User, event: Chat, source: int) -> None:
    ts_s = event_seconds(event.ts)
    touch_session(user, ts_s, event.session_id, batch.gap_s)
    batch.stale.add(user.user_id)
    if event.role == "assistant":
        return
    user.language = language(event.text)
    live = _in_force(user, event.ts)
    expires = event.ts + int(batch.policy.constraint_days * _DAY_MS)
    said = understand(event.text, batch.world.vocabulary, event_id=event.event_id, expires=expires, in_force=live)
    user.constraints = merge(live, said, event.ts)
    batch.understood[source] = said
    batch.queue(
        Query(
            source, user.clone(), event.event_id, event.type, event.ts, kind="dialogue", k=batch.policy.k,
            text=_wish(said), said=event.text, constraints=user.constraints, asked=True,
        )
    )  # fmt: skip
    add_words(user, event.event_id, ts_s, event.text)


def _wish(said: Understanding) -> str | None:
    """What to look for: the free words, and the values asked for. A refused word would only attract what it names."""
    values = [v for c in said.constraints if c.op in ("==", "in") and c.name != "price" for v in values_of(c)]
    return " ".join(dict.fromkeys([*values, *said.query.split()])) or None


def _impression(batch: _Batch, user: User, event: Impression, source: int) -> None:
    fold_impression(user, event)


def _traits(batch: _Batch, user: User, event: Traits, source: int) -> None:
    fold_traits(user, event)
    batch.stale.add(user.user_id)


def _profile_edit(batch: _Batch, user: User, event: ProfileEdit, source: int) -> None:
    statement_id, outcome = fold_profile_edit(user, event)
    batch.stale.add(user.user_id)
    _receipt(batch, event, source, {"removed": {}, "statement_ids": [statement_id], "outcome": outcome})


def _forget(batch: _Batch, user: User, event: Forget, source: int) -> None:
    left, removed = fold_forget(user, event, batch.gap_s)
    batch.users[user.user_id] = left
    batch.removals[source] = removed
    if event.scope == "all":
        batch.erased.add(user.user_id)
        batch.stale.discard(user.user_id)
    else:
        batch.stale.add(user.user_id)
    _receipt(batch, event, source, {"removed": removed, "statement_ids": [], "outcome": "forgotten"})


def _receipt(batch: _Batch, event: Forget | ProfileEdit, source: int, says: dict[str, Any]) -> None:
    receipt_id = derived_id("receipt", event.user_id, event.event_id)
    value = {
        "receipt_id": receipt_id, "user_id": event.user_id, "event_id": event.event_id, "kind": event.type,
        "ts": event.ts, **says,
    }  # fmt: skip
    batch.messages.append(Message("receipts", event.user_id, receipt_id, "headwater.receipt", value, source))


def _in_force(user: User, now_ms: int) -> tuple[Condition, ...]:
    return tuple(c for c in user.constraints if c.expires is None or c.expires > now_ms) if user.constraints else ()


_HANDLERS: dict[type, Callable[[_Batch, User, Any, int], None]] = {
    Interaction: _interaction,
    Request: _request,
    Chat: _chat,
    Impression: _impression,
    Traits: _traits,
    ProfileEdit: _profile_edit,
    Forget: _forget,
}
