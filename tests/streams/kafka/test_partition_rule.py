"""The murmur2 rule, against the values of Kafka's own test of it."""

from __future__ import annotations

import pytest

from streams.kafka.partition import partition_of


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_land_where_the_java_client_puts_them(key, hashed):
    for partitions in (1, 3, 4, 4096):
        assert partition_of(key, partitions) == (hashed & 0x7FFFFFFF) % partitions
