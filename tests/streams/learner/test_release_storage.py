"""Release files: what is loaded is what was released, or there is a reason in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.counting import Counts
from recsys.policy import Policy
from recsys.priors import Shelf
from recsys.statistics import Statistics
from recsys.tallies import Tallies
from schemas.events import Interaction
from schemas.items import Item
from schemas.releases import Base, Release, TrainedThrough
from streams.releases import KEPT_MS, ReleaseDamaged, ReleaseGone, ReleaseStorage, ReleaseUnusable

NOW = 1_760_000_000_000


def events(start: int, n: int) -> list[Any]:
    return [
        Interaction(
            event_id=f"e{i}", type="interaction", user_id=f"u{i % 7}", ts=NOW + 1000 * i, action="click",
            item_id=f"i{i % 50}",
        )
        for i in range(start, start + n)
    ]  # fmt: skip


def release(place: Base, base: Base | None = None, **changes: Any) -> Release:
    fields: dict[str, Any] = {
        "release_id": "r", "role": "statistics", "sequence": 1, "created_ts": NOW,
        "trained_through": TrainedThrough(ts=NOW, offsets={}), "uri": place.uri, "sha256": place.sha256,
        "size": place.size, "schema_version": 1, "status": "serving", "base": base,
    }  # fmt: skip
    return Release(**(fields | changes))


@pytest.fixture
def storage(tmp_path: Path) -> ReleaseStorage:
    return ReleaseStorage(tmp_path.as_uri(), "ns")


def equal(one: Statistics, other: Statistics) -> None:
    for name in ("keys", "popularity", "refusals", "exposures", "first_ts", "neighbours", "neighbour_weights"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert (one.as_of, one.category_popularity) == (other.as_of, other.category_popularity)


@pytest.mark.parametrize("location", ["folder", "memory://releases"])
def test_a_whole_set_and_a_difference_load_as_what_was_counted(location: str, tmp_path: Path) -> None:
    where = tmp_path.as_uri() if location == "folder" else location
    writer = ReleaseStorage(where, "ns")
    counts, shelf = Counts(Policy()), Shelf()
    shelf.place(Item(item_id="i3", title="x", categories=["hats"]))
    counts.learn(events(0, 300))
    whole = writer.save_statistics(counts.tallies(shelf), 1, NOW, whole=True)
    counts.mark()
    counts.learn(events(300, 3))
    small = writer.save_statistics(counts.tallies(shelf, touched=True), 2, NOW, whole=False)
    assert small.size < whole.size
    wanted = Statistics.of(counts.tallies(shelf), "r")
    assert wanted.category_popularity["hats"] > 0
    for reader in (writer, ReleaseStorage(where, "ns")):
        equal(reader.load_statistics(release(small, base=whole)), wanted)


def test_a_changed_file_is_refused(storage: ReleaseStorage, tmp_path: Path) -> None:
    place = storage.save_statistics(Tallies.blank(0), 1, NOW, whole=True)
    path = Path(place.uri.removeprefix("file://"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ReleaseDamaged, match="sha256"):
        storage.load_statistics(release(place))


def test_a_missing_file_and_a_newer_layout_are_said_to_be_so(storage: ReleaseStorage, tmp_path: Path) -> None:
    place = Base(uri=(tmp_path / "nothing").as_uri(), sha256="0" * 64, size=1)
    with pytest.raises(ReleaseGone, match="HEADWATER_RELEASES_URL"):
        storage.load_statistics(release(place))
    with pytest.raises(ReleaseUnusable, match="update Headwater"):
        storage.load_statistics(release(place, schema_version=99))


def test_bytes_that_are_no_release_are_refused(storage: ReleaseStorage, tmp_path: Path) -> None:
    storage.save_checkpoint("other", {"a": np.zeros(3)}, {})
    path = tmp_path / "ns" / "checkpoints" / "other.safetensors"
    data = path.read_bytes()
    from hashlib import sha256

    place = Base(uri=path.as_uri(), sha256=sha256(data).hexdigest(), size=len(data))
    with pytest.raises(ReleaseDamaged):
        storage.load_statistics(release(place))


def test_a_checkpoint_is_the_last_one_saved_or_none(storage: ReleaseStorage, tmp_path: Path) -> None:
    assert storage.load_checkpoint("c") is None
    for n in range(3):
        storage.save_checkpoint("c", {"a": np.full(4, n)}, {"offsets": {"0": n}})
    arrays, meta = storage.load_checkpoint("c") or ({}, {})
    assert arrays["a"].tolist() == [2, 2, 2, 2]
    assert meta == {"offsets": {"0": 2}}
    assert [p.name for p in (tmp_path / "ns" / "checkpoints").iterdir()] == ["c.safetensors"]
    (tmp_path / "ns" / "checkpoints" / "c.safetensors").write_bytes(b"half")
    with pytest.raises(ReleaseDamaged):
        storage.load_checkpoint("c")


def test_old_files_go_and_those_in_use_stay(storage: ReleaseStorage) -> None:
    old = [storage.save_statistics(Tallies.blank(n), n, NOW + n, whole=True) for n in range(4)]
    new = storage.save_statistics(Tallies.blank(9), 9, NOW + KEPT_MS, whole=True)
    assert storage.prune(NOW + KEPT_MS + 100, keep={old[1].uri}) == 3
    storage.load_statistics(release(old[1]))
    storage.load_statistics(release(new))
    with pytest.raises(ReleaseGone):
        storage.load_statistics(release(old[0]))
