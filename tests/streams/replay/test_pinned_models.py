"""`--release` with models: a replay from files ranks as a worker that has loaded them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recsys.encoder import TextEncoder, adapted_id, identity, item_text
from recsys.world import World
from schemas.items import Item
from streams.releases import ReleaseStorage
from streams.settings import settings


@pytest.fixture
def lanes(in_force, make):
    world = World.empty().advanced([Item.model_validate(one) for one in make.shop()])
    return make.Lanes(ReleaseStorage.of(in_force), world)


@pytest.fixture
def statistics(in_force, make):
    return make.statistics(ReleaseStorage.of(in_force), in_force.policy, 4, make.shoppers(300))


@pytest.fixture
def replayed(headwater, make, tmp_path):
    """`replayed(release)`: what a replay prints."""
    words = [
        "replay", "--items", make.jsonl(tmp_path / "items.jsonl", make.shop()),
        "--events", make.jsonl(tmp_path / "events.jsonl", make.shoppers(60)), "--json",
    ]  # fmt: skip

    def run(*release):
        result = headwater(*words, *(("--release", release[0]) if release else ()))
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout), result.stderr

    return run


def test_models_and_statistics_are_pinned_together_in_any_order_and_each_counts(replayed, lanes, statistics):
    ranker, sequence = lanes.ranker(), lanes.sequence()
    both = f"{ranker.release_id}+{sequence.release_id}"
    digests = {replayed()[0]["digest"]}
    for one in (ranker, sequence, statistics):
        digests.add(replayed(one.release_id)[0]["digest"])
    whole = replayed(f"{both}+{statistics.release_id}")[0]
    assert whole["world"]["release_id"] == both
    assert whole["world"]["statistics_id"] == statistics.release_id
    assert len(digests | {whole["digest"]}) == 5
    for other in (
        f"{sequence.release_id}+{statistics.release_id}+{ranker.release_id}",
        f"{statistics.release_id}+none+{both}",
    ):
        again = replayed(other)[0]
        assert (again["digest"], again["world"]) == (whole["digest"], whole["world"])


def test_a_model_is_the_same_by_its_id_its_file_and_its_record(replayed, lanes, tmp_path):
    for release in (lanes.ranker(), lanes.sequence()):
        record = tmp_path / "release.json"
        record.write_text(release.model_dump_json())
        said = [replayed(one)[0] for one in (release.release_id, release.uri, str(record))]
        assert {one["world"]["release_id"] for one in said} == {release.release_id}
        assert len({one["digest"] for one in said}) == 1


def test_an_older_user_side_stays_with_the_items_it_was_learnt_with(replayed, lanes, tmp_path):
    old = lanes.sequence()
    user_side = lanes.sequence()
    lanes.sequence(items=True)
    record = tmp_path / "release.json"
    for release in (old, user_side):
        record.write_text(release.model_dump_json())
        assert replayed(release.release_id)[0]["digest"] == replayed(str(record))[0]["digest"]


def test_a_file_that_does_not_name_its_items_goes_with_the_latest_of_before_it_and_that_is_told(
    replayed, lanes, tmp_path
):
    releases = [lanes.sequence(named=False), lanes.sequence(named=False, later_ms=500)]
    lanes.sequence(items=True)
    record = tmp_path / "release.json"
    for release, doubtful in zip(releases, (False, True), strict=True):
        record.write_text(release.model_dump_json())
        said, told = replayed(release.release_id)
        assert said["digest"] == replayed(str(record))[0]["digest"]
        assert ("does not say which items it was learnt with" in told) == doubtful


def test_a_release_that_was_made_to_serve_again_is_found_by_its_new_id(replayed, lanes):
    first = lanes.ranker()
    again = first.release_id.rpartition("-")[0] + "-7"
    assert replayed(again)[0]["world"]["release_id"] == again


def test_a_tuned_encoder_is_the_same_by_its_id_its_file_and_its_record_and_brings_its_models_along(
    replayed, lanes, tiny_encoder, monkeypatch, in_force, headwater, make, tmp_path
):
    monkeypatch.setenv("HEADWATER_ENCODER", str(tiny_encoder))
    settings.cache_clear()
    base, dim = identity(tiny_encoder)
    random, module = np.random.default_rng(2), "encoder.layer.1.attention.self.value"
    adapter = {f"{module}.A": random.normal(size=(1, 32)), f"{module}.B": random.normal(size=(32, 1))}
    adapter = {name: array.astype(np.float32) for name, array in adapter.items()}
    release, frozen = lanes.encoder(adapter, base), lanes.encoder({}, base)
    record = tmp_path / "release.json"
    record.write_text(release.model_dump_json())
    said = [replayed(one)[0] for one in (release.release_id, release.uri, str(record))]
    assert {one["world"]["release_id"] for one in said} == {release.release_id}
    assert len({one["digest"] for one in said}) == 1
    digests = {replayed()[0]["digest"], replayed(frozen.release_id)[0]["digest"], said[0]["digest"]}
    assert len(digests) == 3
    texts = [item_text(Item.model_validate(one)) for one in make.shop()]
    kept = (in_force.data_dir / "vectors").glob(f"{adapted_id(base, adapter)}-*")
    held = np.fromfile(next(iter(kept)), np.dtype([("digest", "S16"), ("vector", "<f2", (dim,))]))["vector"]
    wanted = TextEncoder(tiny_encoder, adapter=adapter).encode(texts).astype(np.float16)
    assert {one.tobytes() for one in held} == {one.tobytes() for one in wanted}, "as the encoder role makes them"

    items = [Item.model_validate(one) for one in make.shop()]
    lanes.go_on(World.empty(dim).advanced(items), adapted_id(base, adapter))
    sequence = lanes.sequence()
    both = f"{release.release_id}+{sequence.release_id}"
    assert replayed(both)[0]["world"]["release_id"] == both
    alone = headwater(
        "replay", "--items", make.jsonl(tmp_path / "items.jsonl", make.shop()),
        "--events", make.jsonl(tmp_path / "events.jsonl", []), "--release", sequence.release_id,
    )  # fmt: skip
    assert alone.exit_code == 1
    assert f"vectors of the encoder {adapted_id(base, adapter)}; those here are of {base}" in alone.stderr
    assert "Pin the release of its encoder" in alone.stderr


def test_what_cannot_be_pinned_is_an_error_that_says_why(headwater, make, lanes, tmp_path):
    words = [
        "replay", "--items", make.jsonl(tmp_path / "items.jsonl", make.shop(3)),
        "--events", make.jsonl(tmp_path / "events.jsonl", []), "--release",
    ]  # fmt: skip
    ranker, other, sequence = lanes.ranker(), lanes.ranker(), lanes.sequence()
    twice = headwater(*words, f"{ranker.release_id}+{other.release_id}")
    assert twice.exit_code == 1
    assert "pin one ranker release" in twice.stderr
    adapter = headwater(*words, sequence.base.uri)
    assert adapter.exit_code == 1
    assert "brings its adapter along" in adapter.stderr
    gone = headwater(*words, f"{ranker.release_id}+sequence-0123456789-5")
    assert gone.exit_code == 1
    assert "sequence-0123456789-5" in gone.stderr
    assert "HEADWATER_RELEASES_URL" in gone.stderr
