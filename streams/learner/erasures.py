"""Erasures that the model lanes have followed, until that is told.

In: `forget` events with what they took. Out: receipts, due once a checkpoint is without the user. They stand in that
checkpoint themselves until Kafka has them, so a learner that dies in between leaves them to the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recsys.recommend import derived_id
from schemas.events import Forget
from schemas.receipts import Receipt


@dataclass(slots=True)
class Erasures:
    """`read_to`: how far events were read, by partition, when the last erasure came."""

    receipts: list[Receipt] = field(default_factory=list)
    read_to: dict[int, int] = field(default_factory=dict)

    def take(self, event: Forget, visits: int, read_to: Mapping[int, int]) -> None:
        """An erasure that took so many visits."""
        self.read_to = dict(read_to)
        self.receipts.append(
            Receipt(
                receipt_id=derived_id("receipt-learner", event.user_id, event.event_id), user_id=event.user_id,
                event_id=event.event_id, kind="forget", ts=event.ts, removed={"training_visits": visits},
                outcome="forgotten by the learner: gone from what it trains on and from its checkpoint",
            )
        )  # fmt: skip

    def dump(self) -> dict[str, Any]:
        """For JSON."""
        told = [one.model_dump(mode="json") for one in self.receipts]
        return {"receipts": told, "read_to": {str(p): at for p, at in self.read_to.items()}}

    @classmethod
    def restore(cls, dumped: Mapping[str, Any]) -> Erasures:
        """What `dump` gave. Raises KeyError, ValueError."""
        receipts = [Receipt.model_validate(one) for one in dumped["receipts"]]
        return cls(receipts, {int(p): int(at) for p, at in dumped["read_to"].items()})
