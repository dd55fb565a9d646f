"""Memory: when it has ended, whoever says so and in whatever words, and how that is told.

What goes on somewhere else, or smaller, warns with `MemoryEndedWarning` (Python's own `warnings`; the roles log them).
"""

from __future__ import annotations

import warnings

import torch

_SAID = ("can't allocate memory", "out of memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")


class MemoryEnded(MemoryError):  # noqa: N818
    """There is not enough memory to go on, even with the smallest batch on the CPU."""


class MemoryEndedWarning(RuntimeWarning):
    """Memory of a device has ended, and something goes on without it."""


def memory_ended(error: BaseException) -> bool:
    """Whether it says that memory has ended: numpy's and Python's MemoryError, torch's of a GPU, and the plain
    RuntimeErrors by which torch's allocator on a CPU, FAISS, and CUDA's libraries say so."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID)


def told(error: BaseException) -> str:
    """Its first line, or what it is."""
    return str(error).partition("\n")[0] or type(error).__name__


def goes_on(how: str, error: BaseException) -> None:
    """Warns of how it goes on where memory of a GPU has ended; raises `error` if that says something else."""
    if not memory_ended(error):
        raise error
    warnings.warn(f"Memory of the GPU ended: {how} ({told(error)}).", MemoryEndedWarning, stacklevel=3)
