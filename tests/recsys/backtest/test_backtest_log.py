"""Columns and blocks: a user's past is exact, wherever a block is cut."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.backtest.log import HISTORY, UNKNOWN


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_what_a_user_did_before_is_exact_inside_a_block(new_items, new_log, deeds, size):
    items = new_items(30)
    done = deeds(1, 400, 9, 30)
    log = new_log(items, done)
    past: dict[str, list[int]] = {}
    touched: dict[int, int] = {}
    at = 0
    for block in log.blocks(0, len(log), size):
        found = block.interactions
        for line in range(len(found)):
            user, item, ts = done[at]
            row = items.row_of[item]
            before = past.setdefault(user, [])
            assert found.ts[line] == ts
            assert found.row[line] == row
            assert found.place[line] == at - block.at
            assert found.seen[found.seen_start[line] : found.seen_start[line + 1]].tolist() == before
            latest = before[-HISTORY:]
            assert found.history[line].tolist() == [-1] * (HISTORY - len(latest)) + latest
            assert found.repeat[line] == (row in before)
            assert found.user_before[line] == len(before)
            assert found.item_before[line] == touched.get(row, 0)
            before.append(row)
            touched[row] = touched.get(row, 0) + 1
            at += 1
    assert at == len(done)


def test_events_come_back_in_the_order_of_time_whatever_the_order_of_the_file(new_items, new_log, deeds):
    items = new_items(20)
    done = deeds(2, 200, 5, 20)
    shuffled = [done[at] for at in np.random.default_rng(0).permutation(len(done))]
    log = new_log(items, shuffled)
    expected = sorted(range(len(shuffled)), key=lambda at: shuffled[at][2])  # stable, as the protocol asks
    assert [event.event_id for event in log.read(0, len(log))] == [f"e{at}" for at in expected]
    assert [event.event_id for block in log.blocks(50, 120, 16) for event in block.events] == [
        f"e{at}" for at in expected[50:120]
    ]


def test_other_events_are_in_the_log_and_are_no_interactions(new_items, new_log):
    chat = {"type": "chat", "user_id": "u", "text": "a red one", "ts": 2000}
    log = new_log(new_items(3), [("u", "i0", 1000), chat, ("u", "i1", 3000)])
    block = log.block(0, 3)
    assert [event.type for event in block.events] == ["interaction", "chat", "interaction"]
    assert block.interactions.place.tolist() == [0, 2]


def test_an_item_that_the_catalogue_lacks_is_unknown_and_never_seen(new_items, new_log):
    log = new_log(new_items(2), [("u", "gone", 1000), ("u", "gone", 2000), ("u", "i1", 3000)])
    found = log.block(0, 3).interactions
    assert found.row.tolist() == [UNKNOWN, UNKNOWN, 1]
    assert not found.repeat.any()


def test_who_erases_everything_begins_anew(new_items, new_log):
    forget = {"type": "forget", "scope": "all", "user_id": "u", "ts": 2500}
    log = new_log(new_items(3), [("u", "i0", 1000), ("v", "i1", 2000), forget, ("u", "i0", 3000), ("v", "i2", 4000)])
    found = log.block(0, 5).interactions
    assert found.user_before.tolist() == [0, 0, 0, 1]
    assert not found.repeat.any()
    assert len(set(found.user.tolist())) == 3
