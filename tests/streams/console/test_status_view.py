"""From roles' metrics to what the page shows, without services."""

from __future__ import annotations

from math import inf

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.console.gather import Answer, Snapshot, federated
from streams.console.recent import pseudo, shortened
from streams.console.status import Status, quantile
from streams.registry import Role


def answer(instance: str, pid: int, text: str, role: str = "worker") -> Answer:
    return Answer(Role(role, instance, pid, "http://x"), [], text)


def events(count: int) -> str:
    return f'# TYPE headwater_events_total counter\nheadwater_events_total{{type="chat"}} {count}\n'


def test_rates_add_up_over_workers_and_a_restart_is_no_negative_rate() -> None:
    status = Status()
    status.add(Snapshot(100.0, [answer("a", 1, events(1000)), answer("b", 2, events(50))]))
    status.add(Snapshot(110.0, [answer("a", 1, events(1100)), answer("b", 2, events(70))]))
    assert status.view()["events_s"] == pytest.approx(12)
    status.add(Snapshot(120.0, [answer("a", 9, events(3)), answer("b", 2, events(95))]))
    view = status.view()
    assert view["events_s"] == pytest.approx(2.5)
    assert view["events"] == {"chat": 98}


def test_the_window_slides() -> None:
    status = Status()
    for second in range(60):
        status.add(Snapshot(float(second), [answer("a", 1, events(second * 100 if second < 30 else 2900))]))
    assert status.view()["events_s"] == 0
    assert max(point["events_s"] for point in status.view()["curves"]) == pytest.approx(100)


def test_quantiles_lie_between_the_bounds_of_their_bucket() -> None:
    buckets = {0.01: 50.0, 0.1: 90.0, 1.0: 100.0, inf: 100.0}
    assert quantile(buckets, 0.5) == pytest.approx(0.01)
    assert quantile(buckets, 0.7) == pytest.approx(0.01 + 0.09 / 2)
    assert quantile(buckets, 0.99) == pytest.approx(0.91)
    assert quantile({1.0: 0.0, inf: 5.0}, 0.99) == 1.0
    assert quantile({}, 0.5) is None
    assert quantile({1.0: 0.0, inf: 0.0}, 0.5) is None


def test_federated_metrics_keep_their_values_and_say_whose_they_are() -> None:
    text = (
        "# HELP headwater_catalogue_items Items\n# TYPE headwater_catalogue_items gauge\nheadwater_catalogue_items {}\n"
        "# HELP headwater_lag_records Lag\n# TYPE headwater_lag_records gauge\n"
        'headwater_lag_records{{partition="0"}} 5.0\n'
    )
    answers = [answer("w0", 1, text.format(400.0)), answer('w"1', 2, text.format(399.0)), answer("gone", 3, "")]
    families = {family.name: family for family in text_string_to_metric_families(federated(answers).decode())}
    found = {
        (sample.name, sample.labels["role"], sample.labels["instance"]): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert found["headwater_catalogue_items", "worker", "w0"] == 400
    assert found["headwater_catalogue_items", "worker", 'w"1'] == 399
    assert found["headwater_lag_records", "worker", "w0"] == 5
    assert (found["headwater_role_up", "worker", "w0"], found["headwater_role_up", "worker", "gone"]) == (1, 0)
    assert federated(answers).decode().count("# TYPE headwater_catalogue_items") == 1


def test_a_recommendation_is_shown_without_the_whole_user_id_or_what_was_said() -> None:
    record = {
        "rec_id": "r1", "user_id": "anna.rossi@example.org", "kind": "dialogue", "reply": "So, a gift for Eve?",
        "trigger": {"event_id": "e1", "type": "chat", "ts": 1}, "timing": {"received_ts": 10, "emitted_ts": 17},
        "items": [{"item_id": f"i{n}", "score": 1, "source": "dense", "reasons": [{"text": "red"}]} for n in range(8)],
    }  # fmt: skip
    short = shortened(orjson.dumps(record))
    assert short is not None
    assert (short["user"], short["took_ms"], len(short["items"]), short["more"]) == ("anna…", 7, 5, 3)
    assert "Eve" not in str(short)
    assert pseudo("ab") == "a…"


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b"7", b'{"rec_id": 1}'])
def test_what_is_no_recommendation_is_not_shown(value: bytes | None) -> None:
    assert shortened(value) is None
