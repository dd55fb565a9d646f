"""Waiting until what was sent has arrived: every worker counts the whole catalogue.

In: the items topic as it is, each worker's `headwater_catalogue_items`. Out: the count, or a TimeoutError.
"""

from __future__ import annotations

import time
from typing import Any

from schemas.decode import Malformed, decode_item
from schemas.items import Withdrawn
from schemas.topics import TOPICS
from streams.connection import Connection
from streams.settings import Settings

GAUGE = "headwater_catalogue_items"
ASK_EVERY_S = 0.25


def wait_for_items(place: Connection, settings: Settings, timeout_s: float) -> int:
    """Returns how many items there are once each worker counts at least so many.

    Raises TimeoutError, which says what each worker counts.
    """
    import httpx
    import redis

    from streams.registry import roles

    wanted = _whole_items(settings)
    until = time.monotonic() + timeout_s
    store = redis.Redis.from_url(place.redis_url)
    counts: dict[str, float | None] = {}
    with httpx.Client(timeout=5, trust_env=False) as http:
        while True:
            workers = [role for role in roles(store, place.namespace) if role.role == "worker"]
            counts = {worker.instance: _count(http, worker.url) for worker in workers}
            if workers and all(count is not None and count >= wanted for count in counts.values()):
                return wanted
            if time.monotonic() > until:
                break
            time.sleep(ASK_EVERY_S)
    said = ", ".join(f"{name} counts {count if count is None else int(count)}" for name, count in counts.items())
    raise TimeoutError(
        f"The topic holds {wanted:,} items and after {timeout_s:.0f} s {said or 'no worker runs'}. The items "
        "are sent; `headwater doctor` and the workers' logs may say what holds them up."
    )


def _whole_items(settings: Settings) -> int:
    """Valid items on the topic that are not withdrawn."""
    from streams.kafka.clients import consumer
    from streams.records.read import follow

    reader = consumer(settings, f"{settings.namespace}.cli.wait")
    there: set[bytes] = set()
    try:
        name = TOPICS["items"].full_name(settings.namespace)
        for message in follow(reader, name, beginning=True, to_the_end=True):
            record = decode_item(message.key(), message.value(), settings.max_record_bytes)
            if isinstance(record, Withdrawn):
                there.discard(message.key())
            elif not isinstance(record, Malformed):
                there.add(message.key())
    finally:
        reader.close()
    return len(there)


def _count(http: Any, url: str) -> float | None:
    from httpx import HTTPError
    from prometheus_client.parser import text_string_to_metric_families

    try:
        text = http.get(f"{url}/metrics").raise_for_status().text
    except HTTPError:
        return None
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == GAUGE:
                return float(sample.value)
    return None
