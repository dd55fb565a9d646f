"""Records of releases: a candidate that passed the gate, written down; and what others have released.

In: candidates (`recsys.learning.guarded`), and which releases serve (`streams.served`, by the lane's own Feed). Out:
Release records with their files. An operator decides, too: `headwater releases` promotes and rolls back by records of
its own. Then the lanes go on from what serves; while that release is `pinned`, they propose nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Literal

from recsys.features import SCHEMA_VERSION as FEATURE_SCHEMA
from recsys.learning.guarded import Candidate
from schemas.releases import Base, Release, TrainedThrough
from streams.learner.reading import last_releases
from streams.releases import ReleaseStorage, ReleaseUnusable
from streams.served import SCHEMA_VERSION, Served
from streams.settings import Settings

ROLES: tuple[Literal["adapter", "sequence", "ranker"], ...] = ("adapter", "sequence", "ranker")
_PRUNE_S = 300.0


class Desk:
    """Sequence numbers and files of one term."""

    def __init__(self, settings: Settings, storage: ReleaseStorage) -> None:
        """Raises KafkaException when the brokers do not answer."""
        self._settings, self._storage = settings, storage
        self._last = last_releases(settings, ROLES)
        self._mine: set[str] = set()
        self._seen: dict[str, str] = {}
        self._serving = {role: one for role, one in self._last.items() if one is not None and one.status == "serving"}
        self.read_to: dict[str, int] = {}
        """How many events the last release of each role had read; of a checkpoint's until the first one since."""
        self._pruned = time.monotonic()

    def noticed(self, served: Served, learnt: int) -> list[str]:
        """What others released since: the lanes have to go on from there. `learnt`: choices that they have learnt
        from."""
        now = {role: release.release_id for role, release in served.loaded.items()}
        foreign = [name for role, name in now.items() if self._seen.get(role) != name and name not in self._mine]
        if not self._seen and learnt:
            # what this learner released after its checkpoint had read further than what it released before; what had
            # read less, somebody went back to
            foreign = [
                release.release_id
                for role, release in served.loaded.items()
                if release.pinned or _read_to(release) < self.read_to.get(role, 0)
            ]
        self._seen = now
        for role, release in served.loaded.items():
            held = self._last.get(role)
            if held is None or release.sequence > held.sequence:
                self._last[role] = release
            known = self._serving.get(role)
            if known is None or release.sequence >= known.sequence:  # the feed may be behind what was just announced
                self._serving[role] = release
        return foreign

    def written(
        self,
        candidate: Candidate,
        served: Served,
        through: TrainedThrough,
        metrics: Mapping[str, float],
        encoder_id: str | None,
        share: float | None = None,
    ) -> list[Release]:
        """The candidate's files, written, and their records; `encoder_id`: on whose vectors it was learnt; `share`: of
        the users that it serves first, all if None. Raises what the storage raises; then no file is left."""
        places: list[Base] = []
        try:
            return self._written(places, candidate, served, through, metrics, encoder_id, share)
        except ReleaseUnusable:
            self._storage.discard(places)
            raise

    def _written(
        self,
        places: list[Base],
        candidate: Candidate,
        served: Served,
        through: TrainedThrough,
        metrics: Mapping[str, float],
        encoder_id: str | None,
        share: float | None,
    ) -> list[Release]:
        now = int(time.time() * 1000)
        records: list[Release] = []
        base = self._item_base(served)
        for role in ROLES:
            arrays = candidate.files.get(role)
            if arrays is None or (role == "sequence" and base is None):
                continue  # the latter: the item side that it was learnt over has just ceased to serve
            last = self._last[role]
            sequence = 1 + (last.sequence if last is not None else 0)
            meta = {"feature_schema": FEATURE_SCHEMA} if role == "ranker" else {"encoder_id": encoder_id}
            place = self._storage.save_model(role, arrays, meta, sequence, now)
            places.append(place)
            if role == "adapter":
                base = place
            parent = None if last is None else last.release_id if last.status == "serving" else last.parent
            release = Release(
                release_id=f"{role}-{place.sha256[:10]}-{sequence}", role=role, sequence=sequence,
                parent=parent, created_ts=now, trained_through=through,
                metrics=dict(metrics), uri=place.uri, sha256=place.sha256, size=place.size,
                schema_version=SCHEMA_VERSION, status="serving" if share is None else "candidate",
                base=base if role == "sequence" else None, share=share,
            )  # fmt: skip
            records.append(release)
        return records

    def with_serving(self, records: Sequence[Release]) -> list[Release]:
        """These records of what does not serve, and behind them what does once more: the topic is compacted by role,
        so the last record of a role has to be the one that serves."""
        again = [self._serving[one.role] for one in records if one.role in self._serving]
        return [*records, *again]

    def announced(self, records: list[Release], served: Served) -> None:
        """The records are on the topic."""
        for record in records:
            self._last[record.role] = record
            self._mine.add(record.release_id)
            if record.status == "serving":
                self._serving[record.role] = record
                self.read_to[record.role] = _read_to(record)
        if time.monotonic() - self._pruned > _PRUNE_S:
            self._pruned = time.monotonic()
            keep = {r.uri for r in [*self._last.values(), *self._serving.values()] if r is not None}
            keep |= {b.uri for b in [self._item_base(served), *(r.base for r in records)] if b is not None}
            for role in ROLES:
                self._storage.prune(int(time.time() * 1000), keep, role)

    def overtaken(self, at: Mapping[int, int], ends: Mapping[int, int]) -> bool:
        """Whether a release had read further than `at`, as after the loss of a checkpoint: then one now would take back
        what is served. `ends`: of the log as it is; one that was made anew is shorter."""
        read = [last.trained_through.offsets for last in self._last.values() if last is not None]
        return any(
            at.get(int(p), 0) < min(offset, ends.get(int(p), 0)) for offsets in read for p, offset in offsets.items()
        )

    def look_again(self) -> None:
        """What is not known to have arrived may have arrived: the topic knows. Raises KafkaException."""
        self._last = last_releases(self._settings, ROLES)

    @staticmethod
    def _item_base(served: Served) -> Base | None:
        """Where the item side lies that serves now."""
        last = served.loaded.get("sequence")
        return last.base if last is not None else None


def _read_to(release: Release) -> int:
    return sum(release.trained_through.offsets.values())
