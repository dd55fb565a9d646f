"""`--release`: the statistics of one release, named by its id, its file or its record."""

from __future__ import annotations

import json

import pytest

from recsys.counting import Counts
from recsys.priors import Shelf
from schemas.events import EVENT
from schemas.releases import Release, TrainedThrough
from streams.releases import ReleaseStorage


@pytest.fixture
def released(in_force, make):
    """The records of a whole set and of a difference from it, as the learner releases them."""
    storage, counts = ReleaseStorage.of(in_force), Counts(in_force.policy)
    counts.learn([EVENT.validate_python(one) for one in make.shoppers(300)])
    whole = storage.save_statistics(counts.tallies(Shelf()), 1, make.START, whole=True)
    counts.mark()
    counts.learn(
        [EVENT.validate_python(make.event(at, f"x{at}", action="purchase", item_id="item-9")) for at in range(9)]
    )
    part = storage.save_statistics(counts.tallies(Shelf(), touched=True), 2, make.START + 1, whole=False)
    return [
        Release(
            release_id=f"statistics-{place.sha256[:10]}-{sequence}", role="statistics", sequence=sequence,
            created_ts=make.START, trained_through=TrainedThrough(ts=make.START, offsets={}), uri=place.uri,
            sha256=place.sha256, size=place.size, schema_version=1, status="serving", base=base,
        )
        for sequence, place, base in ((1, whole, None), (2, part, whole))
    ]  # fmt: skip


def test_a_release_is_the_same_by_its_id_its_file_and_its_record(headwater, make, released, tmp_path):
    words = [
        "replay", "--items", make.jsonl(tmp_path / "items.jsonl", make.shop()),
        "--events", make.jsonl(tmp_path / "events.jsonl", make.shoppers(40)), "--json",
    ]  # fmt: skip
    digests = {json.loads(headwater(*words).stdout)["digest"]}
    for release in released:
        record = tmp_path / "release.json"
        record.write_text(json.dumps({"partition": 0, "value": json.loads(release.model_dump_json())}))
        told = [headwater(*words, "--release", one) for one in (release.release_id, release.uri, str(record))]
        said = [json.loads(one.stdout) for one in told]
        assert {one["world"]["statistics_id"] for one in said} == {release.release_id}
        assert len({one["digest"] for one in said}) == 1
        digests.add(said[0]["digest"])
    assert len(digests) == 3


def test_a_release_that_is_not_there_is_an_error_that_says_where_it_was_looked_for(headwater, make, tmp_path):
    words = [
        "replay", "--items", make.jsonl(tmp_path / "items.jsonl", make.shop(3)),
        "--events", make.jsonl(tmp_path / "events.jsonl", []),
    ]  # fmt: skip
    gone = headwater(*words, "--release", "statistics-0123456789-17")
    assert gone.exit_code == 1
    assert "HEADWATER_RELEASES_URL" in gone.stderr
    assert "is no release" in headwater(*words, "--release", "yesterday").stderr
