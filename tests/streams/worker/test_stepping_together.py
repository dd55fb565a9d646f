"""Batches of several partitions in one step: the same as each by itself."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from schemas.decode import decode_event
from streams.settings import Settings
from streams.worker.outbox import Envelopes, unpack
from streams.worker.outcome import Core, Group, outcome, outcomes


def group(stand_in: Any, partition: int, events: list[dict[str, Any]]) -> Group:
    incoming = []
    for offset, given in enumerate(events):
        event = {"type": "interaction", "ts": 1_700_000_000_000, "action": "view", "item_id": "i", **given}
        decoded = decode_event(event["user_id"].encode(), orjson.dumps(event), 1 << 20)
        incoming.append(stand_in.Incoming(decoded, partition, offset, 5))
    users = {one.event.user_id: (0, b"") for one in incoming}
    return Group(users, incoming, received_ms=100 + partition)


def told(made: Any) -> Any:
    """What an Outcome says, without the time of emission."""
    messages = []
    for offset, payload in made.entries:
        record = unpack(payload)
        value = orjson.loads(record.value)
        value["timing"].pop("emitted_ts")
        messages.append((offset, record.topic, record.key, value))
    return made.changed, made.fields, messages, made.kinds, made.refused


@pytest.fixture
def step_calls(stand_in: Any) -> tuple[Any, list[int]]:
    """A core that notes how many events each step got, and the notes."""
    from dataclasses import replace

    sizes: list[int] = []

    def step(world: Any, users: Any, events: Any, policy: Any) -> Any:
        sizes.append(len(events))
        return stand_in.step(world, users, events, policy)

    return replace(stand_in.core(Settings()), step=step), sizes


def test_partitions_stepped_together_come_out_as_if_stepped_alone(stand_in, step_calls):
    core, sizes = step_calls
    groups = [
        group(stand_in, p, [{"event_id": f"e{p}-{n}", "user_id": f"u{p}-{n % 2}"} for n in range(3 + p)])
        for p in range(3)
    ]
    envelopes = Envelopes("t")
    together = outcomes(core, envelopes, stand_in.WORLD, groups)
    assert sizes == [12]
    alone = [outcome(core, envelopes, stand_in.WORLD, g.users, g.events, g.received_ms) for g in groups]
    assert [told(one) for one in together] == [told(one) for one in alone]
    assert [len(one.entries) for one in together] == [3, 4, 5]


def test_a_user_that_stands_on_two_partitions_is_two_users(stand_in, step_calls):
    core, sizes = step_calls
    groups = [group(stand_in, p, [{"event_id": f"e{p}", "user_id": "misrouted"}]) for p in range(2)]
    first, second = outcomes(core, Envelopes("t"), stand_in.WORLD, groups)
    assert sizes == [1, 1]
    assert first.changed["misrouted"][0] == second.changed["misrouted"][0] == 1
    assert first.changed != second.changed


def test_an_event_that_fails_does_not_touch_the_other_partitions(stand_in, step_calls):
    core, _ = step_calls
    groups = [
        group(stand_in, 0, [{"event_id": "good", "user_id": "a"}]),
        group(
            stand_in,
            1,
            [
                {"event_id": "bad", "user_id": "b", "context": {"poison": True}},
                {"event_id": "fine", "user_id": "c"},
            ],
        ),
    ]
    first, second = outcomes(core, Envelopes("t"), stand_in.WORLD, groups)
    assert list(first.changed) == ["a"]
    assert first.refused == []
    assert list(second.changed) == ["c"]
    assert [offset for offset, _ in second.refused] == [0]


def test_one_by_one_the_store_is_told_the_same_as_at_once():
    """The first event opens a recommendation, the second leaves it as it is: its field may not be lost on the way."""
    from recsys.policy import Policy
    from recsys.step import Incoming, step
    from recsys.user import decode_user, encode_user
    from recsys.world import World
    from schemas.items import Item

    world = World.empty().advanced([Item(item_id=f"i{n}", title=f"thing {n}") for n in range(20)]).settled()

    def never_several(world: Any, users: Any, events: Any, policy: Any) -> Any:
        if len(events) > 1:
            raise ValueError("only one at a time")
        return step(world, users, events, policy)

    events = []
    for at, action in enumerate(["click", "impression_of_nothing", "skip"]):
        event = {"event_id": f"e{at}", "user_id": "u", "type": "interaction", "ts": 1_700_000_000_000 + at}
        event |= {"action": action, "item_id": f"i{at}"}
        events.append(Incoming(decode_event(b"u", orjson.dumps(event), 1 << 20), 0, at, 5))
    policy = Policy(ranking_actions=frozenset({"click"}))
    told_of = []
    for function in (step, never_several):
        core = Core(decode_event, Incoming, function, encode_user, decode_user, lambda: (world, {}), policy)
        told_of.append(outcome(core, Envelopes("t"), world, {"u": decode_user("u", {})}, events, 5))
    at_once, singly = told_of
    assert at_once.fields == singly.fields
    assert (singly.fields["u"] or {})["open"]


def test_what_the_store_holds_already_is_not_written_again():
    from recsys.user import User, encode_user

    before = User("u", recent=b"x" * 14, recent_ids=("e1",), profile="Likes books [e1].", open=(b"waits",))
    after = before.clone()
    after.last_s = 5
    assert list(encode_user(after, before)) == ["state"]
    after.open = ()
    assert encode_user(after, before)["open"] == b""
