"""The table of metrics says the truth about what is exposed."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.observe import metrics


def test_every_row_is_exposed_with_its_kind_and_help() -> None:
    exposed = {family.name: family for family in text_string_to_metric_families(metrics.exposition().decode())}
    for row in metrics.TABLE:
        family = exposed[row.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (row.kind, row.help)
        assert row.unit
        assert row.roles


def test_names_are_unique_and_say_their_unit_as_prometheus_has_it() -> None:
    names = [row.name for row in metrics.TABLE]
    assert len(names) == len(set(names))
    for row in metrics.TABLE:
        assert row.name.startswith("headwater_")
        assert row.name.endswith("_total") == (row.kind == "counter"), row.name
        assert row.name.endswith("_seconds") == (row.unit == "seconds"), row.name


def test_a_stage_is_timed_whether_it_succeeds_or_not() -> None:
    def count() -> float:
        return metrics.REGISTRY.get_sample_value("headwater_stage_seconds_count", {"stage": "t"}) or 0.0

    before = count()
    with metrics.stage("t"):
        pass
    with pytest.raises(KeyError), metrics.stage("t"):
        raise KeyError
    assert count() == before + 2


def test_only_the_world_in_use_is_shown() -> None:
    metrics.world_info({"release_id": "r1", "statistics_id": "s1", "catalogue_version": "c1"})
    metrics.world_info({"release_id": "r2", "statistics_id": "s2", "catalogue_version": "c2"})
    shown = [
        line for line in metrics.exposition("worker").decode().splitlines() if line.startswith("headwater_world_info")
    ]
    assert shown == ['headwater_world_info{catalogue_version="c2",release_id="r2",statistics_id="s2"} 1.0']
