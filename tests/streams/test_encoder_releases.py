"""Which encoders the releases name, newest first; and that one which is of no use is told and left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from recsys.encoder import adapted_id
from schemas.releases import Release, TrainedThrough
from streams.encoders import RETRY_S, Encoders
from streams.releases import ReleaseDamaged, ReleaseGone

BASE = "frozen"
ADAPTERS = {n: {"q.A": np.full((1, 2), n, np.float32), "q.B": np.ones((2, 1), np.float32)} for n in range(29)}
ADAPTERS[29] = {}


def release(sequence: int, name: int | None = None, **changes: Any) -> Release:
    fields: dict[str, Any] = {
        "release_id": f"encoder-{sequence if name is None else name}", "role": "encoder", "sequence": sequence,
        "created_ts": 0, "trained_through": TrainedThrough(ts=0, offsets={}), "uri": f"memory://{sequence}",
        "sha256": "0" * 64, "size": 1, "schema_version": 1, "status": "serving",
    }  # fmt: skip
    return Release(**(fields | changes))


def load(one: Release) -> Any:
    return ADAPTERS[int(one.release_id.split("-")[1])], {"base": BASE}


def ids(encoders: Encoders, now: float = 0.0) -> list[str]:
    return [one.encoder_id for one in encoders.usable(now)]


def of(n: int) -> str:
    return adapted_id(BASE, ADAPTERS[n])


@pytest.fixture
def encoders() -> Callable[..., Encoders]:
    return lambda read=load: Encoders(BASE, read)


def test_the_newest_serving_release_comes_first_and_the_frozen_encoder_last(encoders: Any) -> None:
    one = encoders()
    assert ids(one) == [BASE]
    assert one.take(release(1))
    assert one.take(release(3))
    assert one.take(release(2))  # read late
    assert not one.take(release(2))
    assert not one.take(release(9, role="ranker"))
    one.take(release(4, status="candidate"))
    assert ids(one) == [of(3), of(2), of(1), BASE]
    assert one.usable(0.0)[0].release == release(3)


def test_a_rollback_by_either_way_brings_the_former_encoder_back(encoders: Any) -> None:
    one = encoders()
    one.take(release(1))
    one.take(release(2))
    one.take(release(2, status="rolled_back"))
    assert ids(one) == [of(1), BASE]
    one.take(release(3))
    one.take(release(4, name=1))  # the former files once more
    assert ids(one)[0] == of(1)
    one.take(release(5, name=29))  # no adapter: the frozen encoder
    assert ids(one)[0] == BASE


def test_a_damaged_or_missing_release_is_told_and_the_former_one_stays(encoders: Any) -> None:
    def fails(one: Release) -> Any:
        if one.sequence == 2:
            raise ReleaseDamaged("Release encoder-2 is damaged")
        if one.sequence == 3:
            raise ReleaseGone("Release encoder-3 is gone")
        return load(one)

    one = encoders(fails)
    for sequence in (1, 2, 3):
        one.take(release(sequence))
    with capture_logs() as said:
        assert ids(one) == [of(1), BASE]
        assert ids(one) == [of(1), BASE]
    assert [line["release_id"] for line in said] == ["encoder-3", "encoder-2"], "each once"
    assert "gone" in said[0]["why"]
    one._load = load
    assert ids(one, RETRY_S + 1)[0] == of(3), "it is tried again"


def test_a_release_for_another_model_or_of_a_newer_layout_or_that_is_not_finite_is_refused(encoders: Any) -> None:
    for read, changes, why in (
        (lambda r: (ADAPTERS[1], {"base": "another"}), {}, "HEADWATER_ENCODER"),
        (load, {"schema_version": 99}, "update Headwater"),
        (lambda r: ({"q.A": np.full((1, 2), np.nan)}, {"base": BASE}), {}, "not finite"),
    ):
        one = encoders(read)
        one.take(release(1, **changes))
        with capture_logs() as said:
            assert ids(one) == [BASE]
        assert why in said[0]["why"]


def test_an_encoder_that_does_not_fit_its_model_is_left_out_for_a_while(encoders: Any) -> None:
    one = encoders()
    one.take(release(1))
    one.refuse(one.usable(0.0)[0], "no such module", 0.0)
    assert ids(one, 1.0) == [BASE]
    assert ids(one, RETRY_S) == [of(1), BASE]
