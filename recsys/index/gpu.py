"""Gpu: the vectors nearest to each query by inner product, all of them compared, on a GPU by FAISS.

One set of FAISS' resources serves a process, and one thread at a time: its GPU indexes are not for several, and a
worker searches on two threads while a third builds what comes next.
"""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from recsys.fixed import Fixed, floats
from recsys.index.exact import ExactIndex
from recsys.memory import goes_on

MOST = 2048
"""Neighbours that FAISS finds on a GPU, at most."""
_SLICE = 1 << 16  # vectors taken there at once, so that searches need not wait long
_SCRATCH = 256 << 20  # bytes of the GPU that FAISS keeps for searches; by itself it takes a gigabyte and a half
_ONE_AT_A_TIME = Lock()

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


def there() -> bool:
    """Whether FAISS has a GPU: it may be built for none, or for another than torch."""
    return getattr(faiss, "get_num_gpus", int)() > 0


@cache
def _resources() -> Any:
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(_SCRATCH)
    return resources


class GpuIndex:
    """`vectors` int16[n, dim], C-contiguous; kept here too. Where memory of the GPU ends in a search they are
    searched here from then on, with a warning. Raises RuntimeError if they do not fit there (`memory_ended`)."""

    def __init__(self, vectors: Fixed) -> None:
        self._here = ExactIndex(vectors)
        with _ONE_AT_A_TIME:
            self._there: Any = faiss.index_cpu_to_gpu(_resources(), 0, faiss.IndexFlatIP(vectors.shape[1]))
        for at in range(0, len(vectors), _SLICE):
            with _ONE_AT_A_TIME:
                self._there.add(floats(vectors[at : at + _SLICE]))

    def search(self, queries: Floats, k: int) -> tuple[Floats, Longs]:
        """(float32, int64)[B, k]: similarities and places in `vectors` of the `k` nearest, at most MOST, best first."""
        with _ONE_AT_A_TIME:
            index = self._there
            if index is not None:
                try:
                    sims, ids = index.search(queries, min(k, MOST))
                    return sims, ids
                except RuntimeError as error:
                    goes_on("the catalogue is searched on the processor", error)
                    self._there = None
        return self._here.search(queries, min(k, MOST))
