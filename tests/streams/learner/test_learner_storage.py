"""A learner whose storage is full, and whose clock is set forward and back: it goes on, and so do workers."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st

from recsys.tallies import Tallies
from recsys.world import World
from streams.feed import Feed
from streams.learner.election import Election
from streams.learner.process import RoleProcess
from streams.learner.reading import read_through, received_ms
from streams.learner.role import lead
from streams.observe import metrics
from streams.releases import ReleaseGone, ReleaseStorage, StorageAway, StorageFull
from streams.settings import Settings
from tests.patience import PATIENCE_S
from tests.streams.learner.line import assert_one_line

ITEMS = 40
BACKLOG = 1000


class Disk:
    """`full` says of a path whether there is no room; the first half of what is written still goes in."""

    def __init__(self) -> None:
        self.full: Callable[[str], bool] = lambda path: False

    def pipe_file(self, system: LocalFileSystem, path: str, value: bytes, **_: Any) -> None:
        with open(path, "wb") as file:
            if self.full(path):
                file.write(value[: len(value) // 2])
                raise OSError(errno.ENOSPC, "No space left on device", path)
            file.write(value)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(LocalFileSystem, "pipe_file", lambda self, *args, **more: made.pipe_file(self, *args, **more))
    return made


# the storage
# -----------------------------------------------------------------------------------------------------------------
def test_a_storage_without_room_is_told_from_one_that_is_away(tmp_path: Path, disk: Disk) -> None:
    storage = ReleaseStorage(tmp_path.as_uri(), "ns")
    storage.save_checkpoint("c", {"a": np.ones(3)}, {"n": 1})
    disk.full = lambda path: True
    with pytest.raises(StorageFull, match="Make room there"):
        storage.save_statistics(Tallies.blank(3), 1, 1, whole=True)
    with pytest.raises(StorageFull):
        storage.save_checkpoint("c", {"a": np.zeros(3)}, {"n": 2})
    disk.full = lambda path: False
    assert storage.load_checkpoint("c")[1] == {"n": 1}, "the last whole one"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["c.safetensors"]
    (tmp_path / "blocked").write_text("a file where a folder should be")
    with pytest.raises(StorageAway) as away:
        ReleaseStorage((tmp_path / "blocked").as_uri(), "ns").save_checkpoint("c", {}, {})
    assert not isinstance(away.value, StorageFull)


def test_what_was_left_half_written_goes_once_it_is_nobodys(tmp_path: Path) -> None:
    storage, now = ReleaseStorage(tmp_path.as_uri(), "ns"), time.time()
    place = storage.save_statistics(Tallies.blank(1), 1, 1, whole=True)
    storage.save_checkpoint("c", {}, {})
    for folder in ("statistics", "checkpoints"):
        (tmp_path / "ns" / folder / "x.safetensors.7-7-7.tmp").write_bytes(b"half")
    assert storage.sweep(int(now * 1000)) == 0, "somebody may be writing it"
    assert storage.sweep(int(now * 1000) + 3_600_000) == 2
    assert not list(tmp_path.rglob("*.tmp"))
    assert storage.load_checkpoint("c") is not None
    storage.discard([place])
    with pytest.raises(ReleaseGone):
        storage.read("r", place)
    nowhere = ReleaseStorage((tmp_path / "none").as_uri(), "ns")
    assert (nowhere.sweep(1), nowhere.prune(1, set())) == (0, 0)


# the log's time
# --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("kind", "stamp", "taken"), [(2, 7, 7), (1, 7, 1000), (0, -1, 1000), (1, 9 * 10**12, 1000)])
def test_a_stamp_that_a_producer_made_up_bounds_nothing(kind: int, stamp: int, taken: int) -> None:
    assert received_ms(SimpleNamespace(timestamp=lambda: (kind, stamp)), 1000) == taken  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.lists(st.integers(0, 10**6), min_size=1), st.integers(0, 10**6)), min_size=1))
def test_the_logs_time_is_never_ahead_and_a_clock_that_was_is_forgotten(batches: list[tuple[list[int], int]]) -> None:
    read = 0
    for received, now in batches:
        before, read = read, read_through(read, received, now)
        assert read <= now, "so that no staleness is negative"
        assert read == now or read >= max(before, *received)


# a learner
# -------------------------------------------------------------------------------------------------------------------
class Shop:
    """Users who go round the catalogue; the learner's role in this process, and what a worker serves from."""

    def __init__(self, topics: Any) -> None:
        changes = {
            "interval_ms": 200, "sequence_interval_s": 0.3, "adapter_interval_s": 0.6, "checkpoint_s": 0.5,
            "choices_per_s": 10**6, "screen": False,
        }  # fmt: skip
        held: Settings = topics.settings
        self.settings = held.model_copy(
            update={"encoder": "none", "learning": held.learning.model_copy(update=changes)}
        )
        self.topics, self.waves, self.sent, self.learnt_before = topics, 0, 0, choices()
        self.process = RoleProcess(self.settings, 0, "learner")
        self.feed = Feed(self.settings, World.empty(), ReleaseStorage.of(self.settings), None)
        for n in range(ITEMS):
            topics.send("items", f"i{n}", {"item_id": f"i{n}", "title": f"thing {n} of sort {n % 7}"})

    def wave(self, users: int = 40, n: int = 6) -> None:
        self.waves += 1
        for at in range(users * n):
            user, item = at % users, (at % users * 5 + 3 * (at // users)) % ITEMS
            self.topics.interaction(self.sent, f"w{self.waves}-u{user}", f"i{item}")
            self.sent += 1
        self.topics.flush()

    @contextmanager
    def learning(self) -> Iterator[None]:
        election = Election(self.settings, "learner")

        def run() -> None:
            while not election.poll(0.1) and not self.process.stopping:
                pass
            lead(self.settings, election, self.process)
            election.close()

        role = threading.Thread(target=run)
        role.start()
        self.feed.start()
        try:
            yield
        finally:
            self.process.stopping = True
            role.join(PATIENCE_S)
            self.feed.stop()
        assert not role.is_alive()

    def until(self, done: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, f"waited in vain for {what}; {self.process.problem}"
            if self.sent - (choices() - self.learnt_before) < BACKLOG:  # a busy machine learns less than this can send
                self.wave()
            time.sleep(0.3)

    def released(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {"statistics": [], "ranker": [], "sequence": [], "adapter": []}
        for role, value in self.topics.read("releases"):
            found[role].append(value)
        return found

    def staleness_s(self) -> float:
        """Of the last ranker, by the clock that is in force."""
        return time.time() - self.released()["ranker"][-1]["trained_through"]["ts"] / 1000

    def released_more(self, than: dict[str, list[dict[str, Any]]]) -> bool:
        now = self.released()
        return all(len(now[role]) > len(than[role]) for role in ("statistics", "ranker", "sequence"))


def refused(why: str = "full") -> float:
    return metrics.REGISTRY.get_sample_value("headwater_storage_refusals_total", {"why": why}) or 0.0


def choices() -> float:
    return metrics.REGISTRY.get_sample_value("headwater_learner_choices_total") or 0.0


@pytest.mark.services
def test_without_room_and_with_wrong_clocks_it_goes_on_learning_and_releases_in_one_line(
    topics: Any, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, none = Shop(topics), {"statistics": [], "ranker": [], "sequence": [], "adapter": []}
    for _ in range(4):
        shop.wave(60, 10)
    with shop.learning():
        shop.until(lambda: shop.released_more(none), "the first releases")

        # a user side for which there is no room any more: its item side is not left behind
        before = refused()
        disk.full = lambda path: "/sequence/" in path
        shop.until(lambda: refused() > before, "a user side to be refused")

        disk.full = lambda path: True
        before, learnt = refused(), choices()
        shop.until(lambda: refused() > before + 2 and choices() > learnt + 300, "learning without room")
        assert "Make room there" in (shop.process.problem or "")
        held = shop.released()
        world = shop.feed.current().world.release_id
        assert "ranker-" in world
        time.sleep(0.5)
        assert shop.released() == held, "nothing is released that has no file"
        assert not shop.feed.problems()
        disk.full = lambda path: False
        shop.until(lambda: shop.released_more(held), "releases once there is room")
        shop.until(lambda: shop.process.problem is None, "the problem to be over")

        # the machine's clock, five hours ahead and then five behind
        for hours in (5, -5):
            real, held = time.time, shop.released()
            with monkeypatch.context() as clock:
                clock.setattr(time, "time", lambda h=hours, real=real: real() + h * 3600)
                shop.until(lambda held=held: shop.released_more(held), "releases by that clock")
                shop.until(lambda: shop.staleness_s() >= 0, "one put up by that clock, and not ahead of it")
        shop.until(lambda: 0 <= shop.staleness_s() < 60, "releases by the right clock")

    found = shop.released()
    for releases in found.values():
        assert_one_line(releases)
    stamps = [one["created_ts"] for one in found["statistics"]]
    assert any(after < before - 3_600_000 for before, after in pairwise(stamps)), "the clock was set back"
    files = {path.as_uri() for path in (topics.settings.data_dir / "releases").rglob("*") if path.is_file()}
    named = {one["uri"] for releases in found.values() for one in releases}
    assert {uri for uri in files if "/checkpoints/" not in uri} == named, "no file that is no release"
    _, meta = ReleaseStorage.of(shop.settings).load_checkpoint("models") or ({}, {})
    assert meta["state"]["learner"]["ranker"]["choices"] == shop.sent
