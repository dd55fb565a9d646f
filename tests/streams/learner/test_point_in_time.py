"""A choice is seen with statistics of before it, as long as they are known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recsys.rank import Ranker
from recsys.statistics import Statistics
from recsys.tallies import Tallies
from recsys.world import World
from schemas.releases import Release, TrainedThrough
from streams.feed import Snapshot
from streams.learner.point_in_time import PointInTime
from streams.releases import ReleaseGone

PARTITIONS = 3


def snapshot(number: int, through: dict[int, int]) -> Snapshot:
    release = Release(
        release_id=f"s{number}", role="statistics", sequence=number, parent=None, created_ts=0, metrics={}, uri="u",
        trained_through=TrainedThrough(ts=0, offsets={str(p): at for p, at in through.items()}), sha256="0" * 64,
        size=1, schema_version=1, status="serving",
    )  # fmt: skip
    return Snapshot(World.empty().advanced(statistics=statistics_of(release)), {}, statistics=release)


def statistics_of(release: Release) -> Statistics:
    return Statistics.of(Tallies.blank(0), release.release_id)


steps = st.lists(
    st.tuples(st.booleans(), st.lists(st.integers(0, 40), min_size=PARTITIONS, max_size=PARTITIONS)), max_size=40
)


@given(steps)
def test_no_choice_is_seen_with_statistics_that_count_it(steps: list[tuple[bool, list[int]]]) -> None:
    past, world = PointInTime(), World.empty()
    counted = {"none": dict.fromkeys(range(PARTITIONS), 0)}
    read = dict.fromkeys(range(PARTITIONS), 0)
    for number, (is_release, by) in enumerate(steps):
        if is_release:  # of what the statistics lane has read by now, before this learner or behind it
            last = counted[world.statistics.statistics_id]
            counted[f"s{number}"] = {p: last[p] + more for p, more in enumerate(by)}
            seen = snapshot(number, counted[f"s{number}"])
            world = seen.world
            past.see(seen)
            continue
        then = past.world(world, read)
        through = counted[then.statistics.statistics_id]
        assert all(through[p] <= at for p, at in read.items())
        read = {p: at + by[p] for p, at in read.items()}  # of some partitions perhaps nothing


def test_they_are_the_newest_of_those_and_the_rest_of_the_world_is_as_it_serves() -> None:
    seen = [snapshot(n, {0: 10 * n}) for n in (1, 2, 3)]
    past = PointInTime()
    for one in seen:
        past.see(one)
    newest = seen[2].world
    then = past.world(newest, {0: 29})
    assert then.statistics is seen[1].world.statistics
    assert then.catalogue is newest.catalogue
    assert past.world(newest, {0: 29}) is then, "it is put together once"
    assert past.world(newest, {0: 30}) is newest


def test_a_world_that_was_served_a_moment_ago_is_taken_as_it_was() -> None:
    first, second = snapshot(1, {0: 10}), snapshot(2, {0: 20})
    world = first.world.advanced(statistics=second.world.statistics)
    past = PointInTime()
    past.see(first)
    past.see(Snapshot(world, {}, statistics=second.statistics))
    assert past.world(world, {0: 15}) is first.world
    other = world.with_models(Ranker("cpu"), None, "another")
    past.see(Snapshot(other, {}, statistics=second.statistics))
    then = past.world(other, {0: 15})
    assert (then.statistics, then.ranker) == (first.world.statistics, other.ranker), "by what serves now"


def test_a_learner_that_goes_on_stands_where_it_stood() -> None:
    seen = [snapshot(n, {0: 10 * n}) for n in (1, 2)]
    before, after = PointInTime(), PointInTime()
    for one in seen:
        before.see(one)
    assert before.world(seen[1].world, {0: 19}).statistics.statistics_id == "s1"
    after.go_on(before.dump(), statistics_of)
    after.see(seen[1])
    then = after.world(seen[1].world, {0: 19})
    assert then.statistics.statistics_id == "s1"


def test_where_that_file_is_gone_the_world_is_as_it_serves() -> None:
    def gone(release: Release) -> Statistics:
        raise ReleaseGone(f"{release.release_id} is gone")

    seen = [snapshot(n, {0: 10 * n}) for n in (1, 2)]
    before, after = PointInTime(), PointInTime()
    before.see(seen[0])
    assert before.world(seen[0].world, {0: 19}).statistics.statistics_id == "s1"
    after.go_on(before.dump(), gone)
    served = World.empty()
    assert after.world(served, {0: 19}) is served
    after.see(seen[1])
    assert after.world(seen[1].world, {0: 19}) is seen[1].world
    assert after.world(seen[1].world, {0: 20}) is seen[1].world


def test_statistics_that_lack_too_much_are_passed_over() -> None:
    past, seen = PointInTime(), snapshot(1, {0: 1_000_000, 1: 7})
    assert past.world(seen.world, {0: 19_000, 1: 1000}).statistics.statistics_id == "none"
    assert past.world(seen.world, {0: 19_000, 1: 1001}) is seen.world
    past.see(seen)
    other = snapshot(2, {0: 2_000_000, 1: 7}).world
    assert past.world(other, {0: 1_100_000}).statistics.statistics_id == "s1"
    assert past.world(other, {0: 1_100_001}) is other
