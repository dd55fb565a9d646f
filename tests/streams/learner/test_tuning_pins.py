"""The tuning lane releases no encoder while an operator holds on to what another encoder would put out of service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from streams.learner.tuning import Proposal
from streams.learner.tuning_desk import TuningDesk
from streams.releases import ReleaseStorage

pytestmark = pytest.mark.services
BASE = "the frozen one"


class Lane:
    """A lane that has found a better encoder."""

    def __init__(self) -> None:
        self.found: Proposal | None = Proposal({"a.A": np.zeros((1, 2), np.float32)}, {"base": BASE}, {"mrr": 0.5})

    def proposal(self) -> Proposal | None:
        found, self.found = self.found, None
        return found

    def dump(self) -> dict[str, Any]:
        return {}

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class Announcer:
    def __init__(self) -> None:
        self.sent: list[str] = []

    def leads(self) -> bool:
        return True

    def announce(self, records: list[Any]) -> bool:
        self.sent += [one.release_id for one in records]
        return True


def pin(topics: Any, role: str, sequence: int, **fields: Any) -> None:
    record = {
        "release_id": f"{role}-{sequence}", "role": role, "sequence": sequence, "created_ts": 1, "uri": "file:///none",
        "trained_through": {"ts": 1, "offsets": {}}, "sha256": "0" * 64, "size": 1, "schema_version": 1,
        "status": "serving", "pinned": False,
    }  # fmt: skip
    topics.send("releases", role, record | fields)
    topics.flush()


def test_no_encoder_is_released_beside_a_pinned_sequence_release(topics: Any, wait_for: Any) -> None:
    pin(topics, "sequence", 1)
    pin(topics, "sequence", 2, pinned=True)
    pin(topics, "ranker", 7, pinned=True)  # which any encoder suits
    announcer, lane = Announcer(), Lane()
    desk = TuningDesk(
        topics.settings, ReleaseStorage.of(topics.settings), announcer, lambda call: call(), lane, BASE  # type: ignore[arg-type]
    )  # fmt: skip
    try:
        with capture_logs() as lines:
            wait_for(lambda: desk.turn() or not desk.behind, "the topics to be read")
            for _ in range(5):
                desk.turn()
        assert announcer.sent == []
        told = [line for line in lines if line["event"] == "tuning.waits"]
        assert [line["until"] for line in told] == ["headwater releases promote sequence-2"]

        pin(topics, "sequence", 3)  # the operator lets go
        wait_for(lambda: desk.turn() or announcer.sent, "the encoder that was found before")
        desk.turn()
        assert len(announcer.sent) == 1
    finally:
        desk.close()
