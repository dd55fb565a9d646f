"""Refusals: what the storage of releases does not take, told once, and for as long as it lasts.

In: writes of files, each with a word for what they are. Out: a log line when they begin to fail and one when they
succeed again, a count, and `problem` for `/readyz`. What failed is raised on: whoever writes decides when to try again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from streams.observe import metrics
from streams.releases import ReleaseUnusable, StorageFull

AGAIN_S = 2.0
"""Between two tries."""
log = structlog.get_logger(__name__)


class Refusals:
    """Of one lane. `problem` may be read from another thread."""

    def __init__(self) -> None:
        self._why: dict[str, str] = {}

    @property
    def problem(self) -> str | None:
        """Why something cannot be written now; None while all can."""
        return next((f"{what} cannot be written: {why}" for what, why in list(self._why.items())), None)

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Around a write of `what`, a noun in the plural."""
        try:
            yield
        except ReleaseUnusable as error:
            kind = "full" if isinstance(error, StorageFull) else "away"
            metrics.STORAGE_REFUSALS.labels(kind).inc()
            if what not in self._why:
                log.error(f"learner.storage_{kind}", what=what, why=str(error), again_in_s=AGAIN_S)
            self._why[what] = str(error)
            raise
        if self._why.pop(what, None) is not None:
            log.info("learner.storage_takes_again", what=what)
