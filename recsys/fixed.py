"""Fixed: vectors no longer than 1 as whole numbers of 16 bits, and their inner products.

In: float32 vectors. Out: int16, a component x as round(x * SCALE); kernels that multiply them. A product of whole
numbers is the same to the last bit in whatever order it is added up, so it does not depend on the processor, nor on
what else is computed beside it. Vectors take half the memory of floats, and what a search or a slate's features cost is
for the most part reading vectors; a component is off by at most 1.5e-5, as much as in the float16 of the topic that
vectors come from.

The sums are int32: what two vectors of length 1 make is SCALE squared, half of what overflows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from recsys.compiled import FRACTION, dot, fills, kernel, reads

SCALE = 32767
STEP = np.float32(1 / SCALE**2)
"""The inner product of two vectors is that of their whole numbers times this."""
LONGEST = np.float32(1.01)
"""What rounding to float16 makes of 1 stays as it is."""

Floats = npt.NDArray[np.float32]
Fixed = npt.NDArray[np.int16]
Sums = npt.NDArray[np.int32]


def fixed(vectors: Floats) -> Fixed:
    """int16[n, dim] of float32[n, dim]. A vector longer than LONGEST is shortened to 1; one with what is no number, or
    with infinity, becomes zeros."""
    return _fixed(vectors, LONGEST)


def directions(vectors: Floats) -> Fixed:
    """The same for vectors of any length, each made 1 long (all zeros stay so): where only the order of products with
    others counts."""
    return _fixed(vectors, np.float32(0))


def floats(numbers: Fixed) -> Floats:
    """float32 of int16, of any shape."""
    found: Floats = numbers * np.float32(1 / SCALE)
    return found


def _fixed(vectors: Floats, longest: np.float32) -> Fixed:
    numbers = np.empty(vectors.shape, np.int16)
    _fix(np.ascontiguousarray(vectors, np.float32), longest, numbers)
    return numbers


@kernel(reads("float32", 2), FRACTION, fills("int16", 2))
def _fix(vectors: Floats, longest: np.float32, numbers: Fixed) -> None:
    for n in range(len(vectors)):
        vector, line = vectors[n], numbers[n]
        square = dot(vector, vector)
        if not square < np.inf:
            line[:] = 0
            continue
        scale = np.float32(SCALE)
        if square > longest * longest:
            scale /= np.sqrt(square)
        for i in range(len(vector)):
            line[i] = np.int16(min(max(np.rint(vector[i] * scale), -SCALE), SCALE))


# --- products -------------------------------------------------------------------------------------------------------
# Written for LLVM itself, vectors in pieces of _PIECE numbers: from plain loops it makes multiplications of 32 bits,
# where processors have an instruction that multiplies twice as many of 16 and adds them up in pairs.

_PIECE = 16
_CACHE_LINE = 64
_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_NUMBERS = ir.VectorType(_I16, _PIECE)
_WIDE = ir.VectorType(_I32, _PIECE)
_PAIRS = ir.VectorType(_I32, _PIECE // 2)
_EVEN, _ODD = (ir.Constant(_PAIRS, list(range(first, _PIECE, 2))) for first in (0, 1))


def _products(
    context: Any, builder: Any, arrays: Sequence[tuple[Any, Any]], lefts: Sequence[Any], rights: Sequence[Any]
) -> list[Any]:
    """int32: the products of each of `lefts`, rows of the first array, with the first of `rights`, rows of the second;
    then those with the next of `rights`."""
    first, second = (context.make_array(kind)(context, builder, value) for kind, value in arrays)
    length = cgutils.unpack_tuple(builder, first.shape, 2)[1]

    def row(array: Any, at: Any) -> Any:
        return builder.gep(array.data, [builder.mul(at, length)])

    us, vs = [row(first, at) for at in lefts], [row(second, at) for at in rights]
    sums = [cgutils.alloca_once_value(builder, ir.Constant(_PAIRS, None)) for _ in range(len(us) * len(vs))]
    pieces = builder.and_(length, ir.Constant(_I64, -_PIECE))

    def piece(start: Any, at: Any) -> Any:
        place = builder.bitcast(builder.gep(start, [at]), _NUMBERS.as_pointer())
        return builder.sext(builder.load(place, align=2), _WIDE)

    with cgutils.for_range_slice(builder, ir.Constant(_I64, 0), pieces, ir.Constant(_I64, _PIECE), _I64) as (at, _):
        left = [piece(u, at) for u in us]
        for place, v in enumerate(vs):
            right = piece(v, at)
            for which, u in enumerate(left):
                held = sums[place * len(us) + which]
                product = builder.mul(u, right)
                pair = builder.add(*(builder.shuffle_vector(product, product, half) for half in (_EVEN, _ODD)))
                builder.store(builder.add(builder.load(held), pair), held)

    name = f"llvm.vector.reduce.add.v{_PIECE // 2}i32"
    total = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_I32, [_PAIRS]), name)
    found = [cgutils.alloca_once_value(builder, builder.call(total, [builder.load(held)])) for held in sums]
    with cgutils.for_range_slice(builder, pieces, length, ir.Constant(_I64, 1), _I64) as (at, _):  # what is left over
        for place, v in enumerate(vs):
            right = builder.sext(builder.load(builder.gep(v, [at])), _I32)
            for which, u in enumerate(us):
                held = found[place * len(us) + which]
                product = builder.mul(builder.sext(builder.load(builder.gep(u, [at])), _I32), right)
                builder.store(builder.add(builder.load(held), product), held)
    return [builder.load(held) for held in found]


@intrinsic  # type: ignore[untyped-decorator]
def product(_context: Any, vectors: Any, u: Any, others: Any, a: Any) -> Any:
    """In kernels: the inner product, int32, of row `u` of int16[n, dim] and row `a` of others int16[m, dim]."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = (signature.args[0], args[0]), (signature.args[2], args[2])
        return _products(context, builder, arrays, args[1:2], args[3:4])[0]

    return types.int32(vectors, types.int64, others, types.int64), made


@intrinsic  # type: ignore[untyped-decorator]
def trio(_context: Any, vectors: Any, u: Any, v: Any, w: Any, others: Any, a: Any) -> Any:
    """In kernels: the inner products, three int32, of rows u, v and w of int16[n, dim] with row a of others int16[m,
    dim]."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = (signature.args[0], args[0]), (signature.args[4], args[4])
        return cgutils.pack_array(builder, _products(context, builder, arrays, args[1:4], args[5:6]))

    places = (types.int64,) * 3
    return types.UniTuple(types.int32, 3)(vectors, *places, others, types.int64), made


@intrinsic  # type: ignore[untyped-decorator]
def products(
    _context: Any, vectors: Any, u: Any, v: Any, w: Any, others: Any, a: Any, b: Any, c: Any, d: Any
) -> Any:  # fmt: skip
    """In kernels: the inner products, twelve int32, of rows u, v and w of int16[n, dim] with row a of others int16[m,
    dim], then those with b, c and d. Each number is read once for all of them: twelve sums, and what they are made of,
    are what sixteen registers hold."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays = (signature.args[0], args[0]), (signature.args[4], args[4])
        return cgutils.pack_array(builder, _products(context, builder, arrays, args[1:4], args[5:9]))

    places = (types.int64,) * 3
    return types.UniTuple(types.int32, 12)(vectors, *places, others, *places, types.int64), made


@intrinsic  # type: ignore[untyped-decorator]
def fetch(_context: Any, vectors: Any, row: Any) -> Any:
    """In kernels: asks for `vectors[row]`, which is needed soon, to be brought into the cache."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        length = builder.extract_value(array.strides, 0)
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        start = builder.gep(builder.bitcast(array.data, byte), [builder.mul(args[1], length)])
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, stay, data = (ir.Constant(number, value) for value in (0, 3, 1))
        zero, line = (ir.Constant(_I64, value) for value in (0, _CACHE_LINE))
        with cgutils.for_range_slice(builder, zero, length, line, _I64) as (at, _):
            builder.call(ask, [builder.gep(start, [at]), read, stay, data])
        return context.get_dummy_value()

    return types.void(vectors, types.int64), made
