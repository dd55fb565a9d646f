"""Codes: vectors in two bits a number, and what their inner products with a query are about (RaBitQ; Gao and Long 2024,
with two bits instead of one).

A vector is told by how far it lies from the centroid of its cell. This difference is turned at random, so that it is
spread over all numbers alike, and of each number is kept in which of four steps it lies. A query is turned the same way
and taken in whole numbers of four bits. Their product is then a matter of counting the bits that both have, a hundred
bytes a vector where the vector itself has a thousand; what the steps have lost on average is put back by a factor a
vector. The best of what was guessed are compared once more, as they are.

In: fixed-point vectors (`recsys.fixed`) and their centroids. Whatever is rounded is rounded query by query.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from recsys.compiled import STEPS, WHOLE, best, by_steps, fills, kernel, reads
from recsys.fixed import SCALE, Fixed, Sums, fetch, trio

LANES = 8
"""Vectors whose bits stand side by side."""
_WORD = 64
_TURNED = 4096  # vectors turned at once
_BITS, _ASKED_BITS = 2, 4  # of a vector's number, of a query's
_MOST = 2 ** (_ASKED_BITS - 1) - 1  # a query's number in these bits, and as far below 0
_AHEAD = 12  # vectors fetched before they are compared

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Codes:
    """Of cells' vectors, each cell padded to a multiple of LANES: `bits` uint64[groups, words, 2, LANES] and `factors`
    float32[groups * LANES], which make guesses of what is counted."""

    bits: Words
    factors: Floats

    @classmethod
    def of(cls, vectors: Fixed, order: Longs, centroids: Fixed, starts: Longs) -> Codes:
        """Of `vectors` int16[n, dim]: `order` says which are in cell c, from `starts[c]` to `starts[c + 1]`."""
        sizes = np.diff(starts)
        groups = -(-sizes // LANES)
        first = np.cumsum(groups) - groups
        cell = np.repeat(np.arange(len(sizes)), sizes)
        place = first[cell] * LANES + np.arange(len(order)) - starts[cell]
        words = -(-vectors.shape[1] // _WORD)
        bits = np.zeros((int(groups.sum()) * LANES, words, _BITS), np.uint64)
        factors, middles = np.zeros(len(bits), np.float32), turned(centroids)
        for at in range(0, len(order), _TURNED):
            part = slice(at, at + _TURNED)
            levels, factors[place[part]] = _steps(turned(vectors[order[part]]) - middles[cell[part]])
            for bit in range(_BITS):
                bits[place[part], :, bit] = _words(levels >> np.uint8(bit) & np.uint8(1))
        side_by_side = bits.reshape(-1, LANES, words, _BITS).transpose(0, 2, 3, 1)
        return cls(np.ascontiguousarray(side_by_side), factors)


def turned(vectors: Fixed) -> Floats:
    """float32[n, words * 64]: the vectors after the random turn, which leaves inner products as they are."""
    order, signs = _turn(vectors.shape[1])
    lines = np.empty((len(vectors), len(order)), np.float32)
    _hadamard(np.ascontiguousarray(vectors), order, signs, lines)
    return lines


@cache
def _turn(dim: int) -> tuple[Longs, Floats]:
    """(int64, float32)[words * 64]: an order of the dimensions, and of zeros that fill them up, and signs."""
    whole, random = -(-dim // _WORD) * _WORD, np.random.default_rng(1)
    return random.permutation(whole), random.choice(np.array([-1, 1], np.float32), whole)


@kernel(reads("int16", 2), reads("int64"), reads("float32"), fills("float32", 2))
def _hadamard(vectors: Fixed, order: Longs, signs: Floats, lines: Floats) -> None:
    """Fills `lines`: numbers in that order with these signs, times Hadamard matrices, the largest that still fits after
    the last."""
    whole, dim = lines.shape[1], vectors.shape[1]
    for n in range(len(vectors)):
        line = lines[n]
        for i in range(whole):
            line[i] = signs[i] * vectors[n, order[i]] if order[i] < dim else 0
        start = 0
        while start < whole:
            size = 1
            while 2 * size <= whole - start:
                size *= 2
            half = 1
            while half < size:
                for block in range(start, start + size, 2 * half):
                    for i in range(block, block + half):
                        one, two = line[i], line[i + half]
                        line[i], line[i + half] = one + two, one - two
                half *= 2
            scale = np.float32(1 / (SCALE * np.sqrt(size)))
            for i in range(start, start + size):
                line[i] *= scale
            start += size


def _steps(apart: Floats) -> tuple[npt.NDArray[np.uint8], Floats]:
    """(uint8[n, m] in 0 to 3, float32[n]): in which step of a standard deviation each number lies; what twice a sum of
    products with the steps' middles is to be multiplied with, for the inner product with the vector itself."""
    square = np.square(apart).sum(axis=1)
    step = np.sqrt(square / apart.shape[1])[:, None]
    level = np.clip(np.floor(apart / np.where(step > 0, step, 1)) + 2, 0, 3)
    kept = ((level - np.float32(1.5)) * apart).sum(axis=1)
    return level.astype(np.uint8), np.where(kept > 0, square / np.where(kept > 0, kept, 1) / 2, 0).astype(np.float32)


def asked(queries: Fixed) -> tuple[Words, Longs, Floats]:
    """What the kernel wants of queries: (uint64[B, words, 4] bits in two's complement, int64[B] sums of the whole
    numbers, float32[B] what one of them stands for)."""
    numbers = turned(queries)
    planes = np.zeros((len(numbers), numbers.shape[1] // _WORD, _ASKED_BITS), np.uint64)
    totals, steps = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.float32)
    _ask(numbers, planes, totals, steps)
    return planes, totals, steps


@kernel(reads("float32", 2), fills("uint64", 3), fills("int64"), fills("float32"))
def _ask(numbers: Floats, planes: Words, totals: Longs, steps: Floats) -> None:
    """Fills `totals` and `steps`, and zeros `planes` with the bits."""
    for b in range(len(numbers)):
        most = np.float32(0)
        for number in numbers[b]:
            most = max(most, abs(number))
        steps[b], totals[b] = most / np.float32(_MOST), 0
        per = np.float32(_MOST) / most if most > 0 else np.float32(0)
        for i in range(numbers.shape[1]):
            whole = np.int64(np.rint(numbers[b, i] * per))
            totals[b] += whole
            for p in range(_ASKED_BITS):
                planes[b, i // _WORD, p] |= np.uint64(whole >> p & 1) << np.uint64(i % _WORD)


def _words(bits: npt.NDArray[np.uint8]) -> Words:
    """uint64[n, m / 64] of zeros and ones uint8[n, m]."""
    return np.packbits(bits, axis=1, bitorder="little").view("<u8").astype(np.uint64)


_I64 = ir.IntType(64)
_LINE = ir.VectorType(_I64, LANES)


@intrinsic  # type: ignore[untyped-decorator]
def _counted(_context: Any, bits: Any, group: Any, planes: Any, b: Any) -> Any:
    """In kernels: LANES times int64, the sum of level * number over all numbers of query `b` and of each vector."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        codes, query = (context.make_array(signature.args[at])(context, builder, args[at]) for at in (0, 2))
        words = cgutils.unpack_tuple(builder, codes.shape, 4)[1]
        count = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_LINE, [_LINE]), f"llvm.ctpop.v{LANES}i64"
        )
        mine = builder.gep(codes.data, [builder.mul(args[1], builder.mul(words, ir.Constant(_I64, _BITS * LANES)))])
        theirs = builder.gep(query.data, [builder.mul(args[3], builder.mul(words, ir.Constant(_I64, _ASKED_BITS)))])
        total = cgutils.alloca_once_value(builder, ir.Constant(_LINE, None))

        def shifted(value: Any, by: int) -> Any:
            return builder.shl(value, ir.Constant(_LINE, [by] * LANES)) if by else value

        with cgutils.for_range_slice(builder, ir.Constant(_I64, 0), words, ir.Constant(_I64, 1), _I64) as (word, _):
            start = builder.gep(mine, [builder.mul(word, ir.Constant(_I64, _BITS * LANES))])
            lines = [
                builder.load(
                    builder.bitcast(builder.gep(start, [ir.Constant(_I64, j * LANES)]), _LINE.as_pointer()), align=8
                )
                for j in range(_BITS)
            ]
            ask = builder.gep(theirs, [builder.mul(word, ir.Constant(_I64, _ASKED_BITS))])
            sums = [None] * _BITS
            for p in range(_ASKED_BITS):
                one = builder.load(builder.gep(ask, [ir.Constant(_I64, p)]))
                alone = builder.insert_element(ir.Constant(_LINE, ir.Undefined), one, ir.Constant(ir.IntType(32), 0))
                same = builder.shuffle_vector(
                    alone, ir.Constant(_LINE, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
                )
                for j in range(_BITS):
                    found = shifted(builder.call(count, [builder.and_(lines[j], same)]), p)
                    held = sums[j]
                    add = builder.sub if p == _ASKED_BITS - 1 else builder.add  # two's complement
                    sums[j] = found if held is None else add(held, found)
            whole = builder.load(total)
            for j in range(_BITS):
                whole = builder.add(whole, shifted(sums[j], j))
            builder.store(whole, total)
        result = builder.load(total)
        lanes = [builder.extract_element(result, ir.Constant(ir.IntType(32), lane)) for lane in range(LANES)]
        return cgutils.pack_array(builder, lanes)

    return types.UniTuple(types.int64, LANES)(bits, types.int64, planes, types.int64), made


@kernel(reads("int32"), fills("int64"), WHOLE, gives=WHOLE)
def _foremost(line: Sums, places: Longs, most: int) -> int:
    """Moves the places of the highest of a line to the front of `places`, in their order; gives how many they are: at
    least `most`, and what lies in the same step of value as the last of them."""
    many = np.zeros(STEPS, np.int32)
    low, shift = by_steps(line, many)
    least, found = STEPS, 0
    while found < most:
        least -= 1
        found += many[least]
    bottom, at = low + (least << shift), 0
    for i in range(len(line)):
        places[at] = places[i]
        at += line[i] >= bottom
    return at


@kernel(reads("int16", 2), reads("int64"), fills("int64"), reads("int16", 2), WHOLE, fills("int32"))
def _compare(vectors: Fixed, rows: Longs, places: Longs, queries: Fixed, b: int, exact: Sums) -> None:
    """Fills `exact` with the products of query `b` and of the vectors at `places`."""
    n = len(places)
    for i in range(min(_AHEAD, n)):
        fetch(vectors, rows[places[i]])
    for i in range(0, n, 3):
        for j in range(i + _AHEAD, min(i + _AHEAD + 3, n)):
            fetch(vectors, rows[places[j]])
        j, k = min(i + 1, n - 1), min(i + 2, n - 1)
        exact[i], exact[j], exact[k] = trio(vectors, rows[places[i]], rows[places[j]], rows[places[k]], queries, b)


@kernel(
    reads("uint64", 4), reads("float32"), reads("int64"), reads("int64"), reads("int64", 2), reads("int32", 2),
    reads("uint64", 3), reads("int64"), reads("float32"), reads("int16", 2), reads("int64"), reads("int16", 2),
    WHOLE, fills("int32", 2), fills("int64", 2), fills("int64"),
)  # fmt: skip
def look(
    bits: Words, factors: Floats, starts: Longs, first: Longs, cells: Longs, near: Sums, planes: Words, totals: Longs,
    steps: Floats, vectors: Fixed, rows: Longs, queries: Fixed, again: int, sums: Sums, ids: Longs, found: Longs,
) -> None:  # fmt: skip
    """Fills the lines of `sums` and `ids` [B, k] with the best of what is in the cells [B, probes] of each query, of
    which `near` are the products of its centroids, and `found` [B] with how many that are. `first` [cells]: the first
    group of each; `rows` [n]: where in `vectors` each vector stands; `again` of them, about, are compared as they
    are."""
    for b in range(len(queries)):
        many = 0
        for cell in cells[b]:
            many += starts[cell + 1] - starts[cell]
        found[b] = min(sums.shape[1], many)
        if many == 0:
            continue
        guesses, places = np.empty(many + LANES, np.int32), np.empty(many + LANES, np.int64)
        scale, less = steps[b] * np.float32(SCALE * SCALE / 4), 3 * totals[b]  # quarters: they may be 4 apart
        at = 0
        for i in range(cells.shape[1]):
            cell = cells[b, i]
            base, end, group = near[b, i] >> 2, starts[cell + 1], first[cell]
            for p in range(starts[cell], end, LANES):
                for lane, level in enumerate(_counted(bits, group, planes, b)):
                    guess = np.float32(2 * level - less) * factors[group * LANES + lane] * scale
                    guesses[at + lane], places[at + lane] = base + np.int32(guess), p + lane
                group += 1
                at += min(LANES, end - p)
        some = places[: _foremost(guesses[:many], places[:many], min(max(again, found[b]), many))]
        exact = np.empty(len(some), np.int32)
        _compare(vectors, rows, some, queries, b, exact)
        best(exact, sums[b, : found[b]], ids[b, : found[b]])
        for i in range(found[b]):
            ids[b, i] = some[ids[b, i]]
