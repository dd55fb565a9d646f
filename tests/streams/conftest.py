"""What tests of streams share: a small learner of models that releases them as files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recsys.encoder import Adapter
from recsys.features import SCHEMA_VERSION as FEATURE_SCHEMA
from recsys.learning.sequence import Rates, SequenceLearner
from recsys.rank import prior_weights
from recsys.world import World
from schemas.releases import Base, Release, TrainedThrough
from streams.releases import Arrays, ReleaseStorage
from streams.served import SCHEMA_VERSION

START = 1_760_000_000_000


class Lanes:
    """Models for the items of a World, trained a little: each call releases what it has come to, as files, and hands
    the record to `announce`."""

    def __init__(
        self, storage: ReleaseStorage, world: World, announce: Callable[[Release], None] = lambda _: None
    ) -> None:
        self._storage, self._announce = storage, announce
        self._random = np.random.default_rng(8)
        self._sequence = dict.fromkeys(("ranker", "sequence", "adapter", "encoder"), 0)
        self.go_on(world)

    def go_on(self, world: World, encoder_id: str | None = None) -> None:
        """From now on sequence models are learnt on the vectors of this World, anew. `encoder_id`: whose they are, as
        the files say; None: they do not say."""
        self._items, self._encoder_id = world.catalogue.rows, encoder_id
        vectors = world.dense.vectors(slice(self._items))
        self._learner = SequenceLearner(world.catalogue.keys, vectors, Rates(epochs=2, fit=2e-2, update=2e-2))
        self._base: Base | None = None

    def ranker(self) -> Release:
        prior = prior_weights()
        weights = prior + self._random.normal(0, 0.3, prior.shape).astype(np.float32)
        return self._release("ranker", {"weights": weights}, {"feature_schema": FEATURE_SCHEMA})

    def encoder(self, adapter: Adapter, base: str) -> Release:
        """`base`: id of the frozen encoder."""
        return self._release("encoder", dict(adapter), {"base": base})

    def sequence(self, items: bool = False, named: bool = True, later_ms: int = 0) -> Release:
        """`items`: the item side is released anew, too; `named`: the file says which it was learnt with; `later_ms`:
        how long after these items."""
        users = np.repeat(np.arange(12), 8)
        seen = START // 1000 + np.arange(len(users))
        rows = self._random.integers(self._items, size=len(users))
        self._learner.take(users, rows, seen, np.ones(len(users), np.float32))
        if not self._learner.fitted:
            self._learner.fit()
        elif items:
            self._learner.update()
        else:
            self._learner.update_users()
        model = self._learner.snapshot()
        if items or self._base is None:
            side = self._release("adapter", _half(model.item_side()), {}, announced=False)
            self._base = Base(uri=side.uri, sha256=side.sha256, size=side.size)
        meta = {"base": self._base.sha256} if named else {}
        if self._encoder_id is not None:
            meta["encoder_id"] = self._encoder_id
        return self._release("sequence", _half(model.user_side()), meta, self._base, later_ms)

    def _release(
        self,
        role: Any,
        arrays: Arrays,
        meta: dict[str, Any],
        base: Base | None = None,
        later_ms: int = 0,
        *,
        announced: bool = True,
    ) -> Release:
        self._sequence[role] += 1
        number = self._sequence[role]
        created = START + self._sequence["adapter"] * 1000 + later_ms
        place = self._storage.save_model(role, arrays, meta, number, created)
        release = Release(
            release_id=f"{role}-{place.sha256[:10]}-{number}", role=role, sequence=number, created_ts=created,
            trained_through=TrainedThrough(ts=START, offsets={}), uri=place.uri, sha256=place.sha256, size=place.size,
            schema_version=SCHEMA_VERSION, status="serving", base=base,
        )  # fmt: skip
        if announced:
            self._announce(release)
        return release


def _half(arrays: Arrays) -> Arrays:
    return {name: a.astype(np.float16) if a.dtype.kind == "f" else a for name, a in arrays.items()}


@pytest.fixture(scope="session")
def lanes_of() -> type[Lanes]:
    """`lanes_of(storage, world)`: a small learner of models."""
    return Lanes


@pytest.fixture(scope="session")
def at_once() -> dict[str, str]:
    """Environment of a learner that releases within a second whatever it has learnt, and from all that it reads."""
    return {
        "HEADWATER_LEARNING__INTERVAL_MS": "200",
        "HEADWATER_LEARNING__CHOICES_PER_S": "1000000",
        "HEADWATER_LEARNING__SCREEN": "false",
    }
