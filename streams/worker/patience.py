"""Waiting for a service that is away: back off, say so, go on as soon as it is back, and give up when told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set, wait_random_exponential
from tenacity.nap import sleep_using_event

from streams.store.contract import StoreAway

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Abandoned(Exception):  # noqa: N818
    """The work is no longer ours to finish (partition revoked, worker stopping): leave it to the next owner."""


class Patience:
    """Repeats calls to the store for as long as it is away. Safe between threads."""

    def __init__(self) -> None:
        self._away: dict[int, float] = {}  # thread -> since when, in monotonic seconds

    @property
    def away_since(self) -> float | None:
        """Monotonic seconds since when the store is away; None while it answers."""
        return min(self._away.copy().values(), default=None)

    def ask(self, what: str, abandon: threading.Event, call: Callable[[], T]) -> T:
        """The answer of `call`, however long it takes. Raises Abandoned once `abandon` is set and the store is away."""
        try:
            return call()  # the usual case, without the machinery
        except StoreAway as error:
            log.warning("worker.store_away", stage=what, reason=str(error))
        since = self._away[threading.get_ident()] = time.monotonic()
        try:
            answer = Retrying(
                retry=retry_if_exception_type(StoreAway),
                wait=wait_random_exponential(multiplier=0.05, max=2.0),
                stop=stop_when_event_set(abandon),
                sleep=sleep_using_event(abandon),
                before_sleep=_say,
                reraise=True,
            )(call)
        except StoreAway as error:
            raise Abandoned(what) from error
        finally:
            del self._away[threading.get_ident()]
        log.info("worker.store_back", stage=what, away_s=round(time.monotonic() - since, 1))
        return answer


def _say(state: RetryCallState) -> None:
    if state.attempt_number % 10 == 0:
        log.warning("worker.store_away", attempts=state.attempt_number, for_s=round(state.seconds_since_start or 0, 1))
