"""Memory: when it has ended, whoever says so and in whatever words."""

from __future__ import annotations

import torch

_SAID = ("can't allocate memory", "out of memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")


class MemoryEnded(MemoryError):  # noqa: N818
    """There is not enough memory to go on, even with the smallest batch on the CPU."""


def memory_ended(error: BaseException) -> bool:
    """Whether it says that memory has ended: numpy's and Python's MemoryError, torch's of a GPU, and the plain
    RuntimeErrors by which torch's allocator on a CPU, and CUDA's libraries, say so."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID)
