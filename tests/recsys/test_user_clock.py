"""The clock of a user: one wrong stamp moves it for one event only, and several until the second right one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.fold import touch_session
from recsys.policy import Policy
from recsys.user import User, decode_user, encode_user

GAP_S = 1800
START_S = 1_760_000_000
HOUR, YEAR_MS = 3_600_000, 366 * 86_400_000
_PAUSE = st.integers(0, GAP_S) | st.integers(0, 90 * 86_400)
_AHEAD = st.integers(GAP_S + 1, 2**31)
_ANY = st.integers(0, 2**32 - 1) | st.integers(START_S - 5 * GAP_S, START_S + 5 * GAP_S)


def clock_after(stamps, user=None):
    """The user's times after events at `stamps` (s)."""
    user = user or User.new("u")
    for ts_s in stamps:
        touch_session(user, ts_s, None, GAP_S)
    return user.last_s, user.session_start_s, user.other_clock


@given(pauses=st.lists(_PAUSE, min_size=1, max_size=12), ahead=st.lists(st.none() | _AHEAD, min_size=12, max_size=12))
def test_wrong_stamps_between_right_ones_leave_no_trace(pauses, ahead):
    now, right, mixed = START_S, [], []
    for pause, wrong in zip(pauses, ahead, strict=False):
        if wrong is not None:
            mixed.append(min(now + pause + wrong, 2**32 - 1))
        now += pause
        right.append(now)
        mixed.append(now)
    assert clock_after(mixed) == clock_after(right)


@given(past=st.lists(_ANY, max_size=8), pause=st.integers(0, GAP_S))
def test_whatever_the_stamps_were_two_right_ones_set_the_clock(past, pause):
    user = User.new("u")
    clock_after(past, user)
    last_s, start_s, _ = clock_after([START_S, START_S + pause], user)
    assert START_S + pause <= last_s <= START_S + pause + GAP_S
    assert start_s <= last_s


def test_late_events_move_the_clock_of_a_user_only_if_two_follow_each_other():
    now, late = START_S + 10 * GAP_S, START_S
    user = User.new("u")
    clock_after([now, now + 1], user)
    assert clock_after([late, now + 2, late + 1, now + 3], user)[:2] == (now + 3, now)
    assert clock_after([late, late + 1], user)[:2] == (late + 1, late)


def test_one_wrong_clock_costs_a_user_neither_session_nor_profile(log):
    log.click("dresses-00", action="purchase")
    log.click("dresses-11", action="like")
    start, before = log.users["u"].session_start_s, log.users["u"].last_s
    log.click("games-00", ts=(before * 1000) + YEAR_MS)
    made = log.click("books-01")
    user = log.users["u"]
    assert user.last_s == made["trigger"]["ts"] // 1000
    assert user.session_start_s == start
    assert "Likes dresses" in user.profile, "not decayed by a year"
    log.offset += 120
    assert log.click("books-02")["trigger"]["ts"] // 1000 == log.users["u"].session_start_s, "a new session"


def test_one_wrong_clock_ends_no_condition(log):
    log.send("chat", text="a red dress under 200 yuan")
    said = log.users["u"].constraints
    assert said
    log.click("games-00", ts=log.users["u"].last_s * 1000 + YEAR_MS)
    assert log.users["u"].constraints == ()
    assert log.send("request")[0]["constraints"]
    assert log.users["u"].constraints == said


def test_forgetting_the_session_finds_it_behind_a_wrong_clock(log):
    log.click("books-00")
    log.click("books-01")
    log.click("games-00", ts=log.users["u"].last_s * 1000 + YEAR_MS)
    log.send("forget", scope="session")
    assert log.users["u"].recent_ids == ()


_EVENT = st.tuples(
    st.sampled_from(["interaction", "request", "chat", "forget"]),
    st.integers(0, 120) | st.sampled_from([-(10**6), 10**6, 10**7]),  # minutes from where the log is
)


@settings(max_examples=40)
@given(spec=st.lists(_EVENT, min_size=2, max_size=10), data=st.data())
def test_where_a_batch_is_cut_tells_nothing_of_wrong_clocks(new_log, world, spec, data):
    whole, cut = new_log(world, Policy()), new_log(world, Policy())
    fields = {
        "interaction": {"action": "click", "item_id": "books-00"}, "request": {}, "forget": {"scope": "session"},
        "chat": {"text": "a red dress under 200 yuan"},
    }  # fmt: skip
    events = [
        whole.event(kind, ts=1000 * START_S + (at + minutes) * 60_000, **fields[kind])
        for at, (kind, minutes) in enumerate(spec)
    ]
    at = data.draw(st.integers(1, len(events) - 1))
    messages = [message.value for message in whole.run(events).messages]
    assert [m.value for part in (events[:at], events[at:]) for m in cut.run(part).messages] == messages
    assert cut.users == whole.users
    for user in whole.users.values():
        assert decode_user("u", {k.encode(): v for k, v in encode_user(user).items()}) == user
