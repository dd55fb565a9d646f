"""Compiled: loops over arrays as machine code (numba), where numpy would take dozens of calls for a few queries.

A kernel is a plain function of arrays and numbers that fills arrays it is given. It holds no Python lock while it runs,
works on one query after the other (so nothing depends on who else is in the block), and adds floats in a fixed order.
Its types are written down: what it is compiled for is known when its module is loaded, and nothing is compiled while
events wait. The machine code lies in numba's cache beside the module, or in `NUMBA_CACHE_DIR`; the first import ever,
or on another kind of processor, takes about half a minute for all of them.

A cached kernel is made anew when its own file changes. So kernels call only kernels of their own file, those here and
those of `recsys.fixed`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int32]
Function = TypeVar("Function", bound=Callable[..., Any])
WHOLE, REAL, FRACTION, YES = numba.types.int64, numba.types.float64, numba.types.float32, numba.types.boolean
"""Types of plain arguments."""
_STEP_BITS = 10
STEPS = 1 << _STEP_BITS
"""Steps of value, to tell the best from the rest before they are sorted."""


def reads(dtype: str, ndim: int = 1) -> Any:
    """The type of an array, contiguous, that a kernel does not change."""
    return numba.types.Array(numba.from_dtype(np.dtype(dtype)), ndim, "C", readonly=True)


def fills(dtype: str, ndim: int = 1) -> Any:
    """The type of an array, contiguous, that a kernel writes to."""
    return numba.types.Array(numba.from_dtype(np.dtype(dtype)), ndim, "C")


def kernel(*takes: Any, gives: Any = numba.types.void, any_order: bool = False) -> Callable[[Function], Function]:
    """Compiles a function for arguments of these types, and no others (TypeError). With `any_order` floats may be added
    in another order than written, one that the processor decides and the input does not: sums of products are several
    times as fast."""

    def compiled(function: Function) -> Function:
        options: dict[str, Any] = {
            "nogil": True,
            "error_model": "numpy",
            "fastmath": {"reassoc", "contract"} if any_order else False,
        }
        signature = gives(*takes)
        try:
            made: Function = numba.njit(signature, cache=True, **options)(function)
        except RuntimeError:  # nowhere to write: compiled at each start
            made = numba.njit(signature, **options)(function)
        return made

    return compiled


@kernel(reads("float32"), reads("float32"), gives=numba.types.float32, any_order=True)
def dot(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> np.float32:
    """The inner product of two vectors of the same length."""
    total = np.float32(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@kernel(
    fills("float64"), fills("int32"), fills("int64"), WHOLE, REAL, numba.types.int32, WHOLE, gives=WHOLE
)  # fmt: skip
def among_best(
    values: npt.NDArray[np.float64], ids: npt.NDArray[np.int32], places: npt.NDArray[np.int64], n: int, value: float,
    its_id: np.int32, place: int,
) -> int:  # fmt: skip
    """Puts a candidate among the best `n` so far, by falling value and rising id, and gives the new n. The worst leaves
    where there is no more room."""
    if n == len(values):
        if value < values[n - 1] or (value == values[n - 1] and its_id > ids[n - 1]):
            return n
        n -= 1
    at = n
    while at > 0 and (values[at - 1] < value or (values[at - 1] == value and ids[at - 1] > its_id)):
        values[at], ids[at], places[at] = values[at - 1], ids[at - 1], places[at - 1]
        at -= 1
    values[at], ids[at], places[at] = value, its_id, place
    return n + 1


@kernel(reads("int32"), fills("int32"), gives=numba.types.UniTuple(WHOLE, 2))
def by_steps(line: Numbers, many: Numbers) -> tuple[np.int64, int]:
    """Counts the values of a line in STEPS zeros by steps of value, and gives (low, shift): a value is in step
    `(value - low) >> shift`."""
    low, high = line[0], line[0]
    for value in line:
        low, high = min(low, value), max(high, value)
    shift, wide = 0, np.int64(high) - np.int64(low)
    while wide >> shift >> _STEP_BITS:
        shift += 1
    for value in line:
        many[(np.int64(value) - low) >> shift] += 1
    return np.int64(low), shift


@kernel(reads("int32"), fills("int32"), fills("int64"))
def best(line: Numbers, values: Numbers, places: npt.NDArray[np.int64]) -> None:
    """Fills `values` and `places` with the best of a line, which has as many at least, by falling value and rising
    place. What is in the highest steps of value is put into its step's places, in order, and of the last step only as
    much as there is room for."""
    k = len(places)
    many, start = np.zeros(STEPS, np.int32), np.empty(STEPS, np.int32)
    low, shift = by_steps(line, many)
    least, found = STEPS, 0
    while found < k:
        least -= 1
        start[least] = found
        found += many[least]
        many[least] = 0  # from here on: how many are in their places
    bottom = low + (least << shift)  # the lowest value of the last step
    for place, value in enumerate(line):
        if value < bottom:
            continue
        step = (np.int64(value) - low) >> shift
        first = start[step]
        at = first + many[step]
        if at == k:  # no more room in the last step: its worst leaves
            if values[k - 1] >= value:
                continue
            at -= 1
        else:
            many[step] += 1
        while at > first and values[at - 1] < value:
            values[at], places[at] = values[at - 1], places[at - 1]
            at -= 1
        values[at], places[at] = value, place
