"""A process of its own for a baseline, so that neither side's memory, threads or lock slow the other down.

In: a function of a module (and what it needs, picklable). Out: what it returns. The process stays between calls: what
`prepare` set up, an index say, is there for every round, and idles while the other side is measured.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol


class Call(Protocol):
    """Calls a function in the other process and waits for its answer."""

    def __call__(self, function: Callable[..., Any], *args: Any) -> Any: ...


@contextmanager
def apart(prepare: Callable[..., None] | None = None, *args: Any) -> Iterator[Call]:
    """One other process while the block runs; `prepare(*args)` is called in it first."""
    # spawned, not forked: torch, FAISS and librdkafka keep threads that a fork would lose
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), prepare, args) as pool:
        yield lambda function, *given: pool.submit(function, *given).result()
