"""Threads of numeric libraries: pinned before they are loaded, since later is too late for some.

In: the settings. Out: environment variables that OpenMP and the BLAS libraries read when they are loaded. Left alone,
numpy's BLAS starts a thread a core for each small product and spins; on two cores that also run a broker, the products
of one slate took fifty times as long. FAISS's OpenMP keeps its number by thread, so `faiss.omp_set_num_threads` says
nothing to the threads that search.
"""

from __future__ import annotations

import os

from streams.settings import Settings

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def pin_threads(settings: Settings) -> None:
    """Call it before numpy, torch or FAISS are imported. What the environment says already stands."""
    for name in _VARIABLES:
        os.environ.setdefault(name, str(settings.torch_threads))
