"""The ranker's prior weights as a release: what an operator can go back to where no release came before.

Before the first release of all workers rank by the prior weights of the feature table, and no record says so. A
rollback of the first ranker writes them down as any ranker is written, and they serve under a name of their own: so
the journal tells a replay when that was, and the learner goes on from them. They have read nothing of the log.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from recsys.features import SCHEMA_VERSION as FEATURE_SCHEMA
from recsys.rank import prior_weights
from schemas.releases import Release, TrainedThrough
from streams.lineage import Lineage, NoneBefore, Refused
from streams.releases import Arrays, ReleaseStorage, to_bytes
from streams.served import SCHEMA_VERSION

PRIOR = "prior"
"""What an operator calls them."""
ROLE: Final = "ranker"


def target_of(lineage: Lineage, storage: ReleaseStorage, role: str, to: str | None, now_ms: int) -> Release:
    """What a rollback makes serve again: `to`, or what came before; of a ranker that nothing came before, and for
    `prior`, the prior weights, which are written now. Raises Refused, ReleaseUnusable."""
    if to != PRIOR:
        try:
            return lineage.target(role, to)
        except NoneBefore as first:
            if role != ROLE or not first.known or is_prior(first.serving):
                raise
    lineage.of(role)
    if role != ROLE:
        raise Refused(f"Prior weights are those of role {ROLE}: of role {role} name a release, or none.")
    serving = lineage.held(role)
    if is_prior(serving):
        raise Refused(f"The prior weights serve already, as {serving.release_id}: there is nothing to roll back.")
    return _written(lineage, storage, now_ms)


def is_prior(release: Release) -> bool:
    """Whether its file holds the prior weights of this version, and nothing that was learnt."""
    return release.role == ROLE and release.sha256 == _sha256()


def _written(lineage: Lineage, storage: ReleaseStorage, now_ms: int) -> Release:
    sequence = 1 + max((one.sequence for one in lineage.of(ROLE)), default=0)
    place = storage.save_model(ROLE, *_contents(), sequence, now_ms)
    return Release(
        release_id=f"{ROLE}-{place.sha256[:10]}-{sequence}", role=ROLE, sequence=sequence, created_ts=now_ms,
        trained_through=TrainedThrough(ts=0, offsets={}), uri=place.uri, sha256=place.sha256, size=place.size,
        schema_version=SCHEMA_VERSION, status="serving",
    )  # fmt: skip


def _contents() -> tuple[Arrays, dict[str, Any]]:
    # `learnt` sets the file apart from that of a learner that has not moved yet
    return {"weights": prior_weights()}, {"feature_schema": FEATURE_SCHEMA, "learnt": False}


@lru_cache(maxsize=1)
def _sha256() -> str:
    return sha256(to_bytes(*_contents())).hexdigest()
