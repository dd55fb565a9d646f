"""The table of topics: names and rules that clients and older logs rely on."""

from __future__ import annotations

import pytest

from schemas.releases import journal_key
from schemas.topics import DEAD_LETTER_HEADROOM, EVENTS_RETENTION_MS, TOPICS

BOUNDARY = {
    "events": ("user_id", "delete"),
    "items": ("item_id", "compact"),
    "recommendations": ("user_id", "delete"),
    "training-examples": ("user_id", "delete"),
    "item-vectors": ("item_id", "compact"),
    "releases": ("role", "compact"),
    "journal": ("partition:offset", "compact"),
    "receipts": ("user_id", "delete"),
    "alerts": ("subject", "delete"),
    "dead-letters": ("as received", "delete"),
}


def test_the_boundary_has_these_topics_keys_and_policies():
    table = {name: (topic.key, topic.config(1024)["cleanup.policy"]) for name, topic in TOPICS.items()}
    assert table == BOUNDARY


def test_names_carry_namespace_and_version():
    assert TOPICS["dead-letters"].full_name("shop.eu") == "shop.eu.dead-letters.v1"


def test_dead_letters_take_whatever_the_intake_takes_and_the_intake_takes_more_than_the_limit():
    for limit in (1024, 1 << 20, 1 << 26):
        intake = {topic.max_message_bytes(limit) for topic in TOPICS.values() if topic.intake}
        assert min(intake) > 2 * limit
        assert TOPICS["dead-letters"].max_message_bytes(limit) >= max(intake) + DEAD_LETTER_HEADROOM


@pytest.mark.parametrize("name", ["items", "releases", "item-vectors"])
def test_old_worlds_stay_readable_as_long_as_the_events_do(name):
    assert int(TOPICS[name].config(1024)["min.compaction.lag.ms"]) >= EVENTS_RETENTION_MS
    assert int(TOPICS["events"].config(1024)["retention.ms"]) == EVENTS_RETENTION_MS


def test_every_compacted_topic_read_whole_keeps_one_order_or_one_key_space():
    assert TOPICS["releases"].partitions(12) == TOPICS["journal"].partitions(12) == 1
    assert TOPICS["events"].partitions(12) == 12


def test_journal_entries_of_one_partition_do_not_replace_each_other():
    assert len({journal_key(partition, offset) for partition in range(12) for offset in range(112)}) == 12 * 112
