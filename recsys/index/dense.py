"""Dense index: the rows nearest to a vector by inner product.

Immutable like all of the World: a frozen index over the rows that had vectors when it was built, and a short
tail of newer rows that is searched exactly. When the tail grows, whoever builds Worlds calls `rebuilt` (off the hot
path) and swaps. Up to `EXACT` vectors all of it is one exact part (`recsys.index.exact`), made anew with every change;
above, the main part is an inverted file (`recsys.index.cells`), or with a GPU all of them there by FAISS
(`recsys.index.gpu`), and what a search finds depends on when that was built, too (`dated`).

Results must not depend on how queries were batched, nor on how many are asked for: the first 60 of 200 nearest may be
others than the 60 nearest, where some are equally near. Products of whole numbers see to the first (on a GPU FAISS goes
its own way). The similarities returned order candidates only; features take their own from the vectors.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.fixed import Fixed, directions, fixed, floats
from recsys.index import gpu
from recsys.index.cells import CellIndex
from recsys.index.exact import ExactIndex, similarities
from recsys.memory import goes_on

EXACT = 20_000
SHARED = 4
"""Queries from which on a second thread pays where each is a search of its own."""
_TAIL = 1024

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class DenseIndex:
    """`numbers` is a buffer int16[capacity, dim] of vectors (`recsys.fixed`), shared and appended to; `has` says which
    rows this one may read."""

    dim: int
    numbers: Fixed
    has: npt.NDArray[np.bool_]
    main: Any  # an ExactIndex, a CellIndex, a GpuIndex, or None
    main_rows: Ints  # row of each id in `main`
    tail_rows: Ints
    device: str = "cpu"

    @classmethod
    def empty(cls, dim: int, device: str = "cpu") -> DenseIndex:
        none = np.zeros(0, np.int32)
        return cls(dim, np.zeros((0, dim), np.int16), np.zeros(0, bool), None, none, none, device)

    def grown(self, rows: int) -> DenseIndex:
        """Room for `rows` rows; the buffer doubles, so that adding an item copies nothing as a rule."""
        if rows <= len(self.has):
            return self
        numbers = self.numbers
        if rows > len(numbers):
            numbers = np.zeros((max(rows, 2 * len(numbers), 1024), self.dim), np.int16)
            numbers[: len(self.has)] = self.numbers[: len(self.has)]
        has = np.zeros(rows, bool)
        has[: len(self.has)] = self.has
        return replace(self, numbers=numbers, has=has)

    def apart(self) -> DenseIndex:
        """The same contents in a buffer of its own."""
        return replace(self, numbers=self.numbers.copy())

    def with_vectors(self, rows: Ints, vectors: Floats) -> DenseIndex:
        """Adds vectors float32[len(rows), dim] of rows that had none, each at most 1 long (`fixed`). Older indexes do
        not see them: their `has` is false there."""
        if not len(rows):
            return self
        self.numbers[rows] = fixed(vectors)
        has = self.has.copy()
        has[rows] = True
        return replace(self, has=has, tail_rows=np.concatenate([self.tail_rows, rows.astype(np.int32)]))

    def vectors(self, rows: Any = slice(None)) -> Floats:
        """float32[n, dim] of these rows, whatever numpy takes for some; zeros for those that have none."""
        found: Floats = floats(self.numbers[: len(self.has)][rows]) * self.has[rows][..., None]
        return found

    @property
    def dated(self) -> bool:
        """Whether the main part outlasts changes of the catalogue."""
        return len(self.main_rows) > EXACT

    @property
    def recall(self) -> float:
        """The share of the nearest hundred that a search finds, as measured when the main part was made."""
        return self.main.recall if isinstance(self.main, CellIndex) else 1.0

    @property
    def due(self) -> bool:
        """Whether the tail is long enough to pay for a rebuild."""
        return len(self.tail_rows) > max(_TAIL, len(self.main_rows) // 4)

    def ordered(self, alive: npt.NDArray[np.bool_], order: Ints) -> DenseIndex:
        """The same contents as the set of live rows alone decides them, not the order in which they came: of equal
        vectors a search gives the first. `order`: the live rows, in the order that counts."""
        if not self.dated or np.count_nonzero(self.has & alive[: len(self.has)]) <= EXACT:
            return self.rebuilt(alive, order)
        return replace(self, tail_rows=order[np.isin(order, self.tail_rows)]) if len(self.tail_rows) else self

    def rebuilt(self, alive: npt.NDArray[np.bool_], order: Ints | None = None) -> DenseIndex:
        """The same contents in one main part without the dead rows. `order` as for `ordered`; None: as they came."""
        rows = np.flatnonzero(self.has & alive[: len(self.has)]).astype(np.int32)
        if order is not None:
            rows = order[self.has[order]].astype(np.int32)
        if not len(rows):
            return replace(self, main=None, main_rows=rows, tail_rows=rows)
        return replace(self, main=_build(self.numbers, rows, self.device), main_rows=rows, tail_rows=rows[:0])

    def adopting(self, built: DenseIndex, alive: npt.NDArray[np.bool_], order: Ints | None = None) -> DenseIndex:
        """This index with the main part of `built`, an earlier one of the same line that was rebuilt meanwhile."""
        tail = np.setdiff1d(np.flatnonzero(self.has & alive[: len(self.has)]), built.main_rows).astype(np.int32)
        if order is not None:
            tail = order[np.isin(order, tail)].astype(np.int32)
        return replace(self, main=built.main, main_rows=built.main_rows, tail_rows=tail)

    def search(self, queries: Floats, k: int, pool: Executor | None = None) -> Ints:
        """int32[B, k']: rows for queries float32[B, dim] of any length, best first, -1 padded. Dead rows may be among
        them. With a `pool`, one thread of it takes half of the queries of an inverted file, without Python's lock."""
        queries = floats(directions(queries))  # similarities of both parts are told by one measure
        parts_rows, parts_sims = [], []
        if self.main is not None:
            n = min(k, len(self.main_rows))
            sims, ids = _search(self.main, queries, n, pool)
            parts_rows.append(np.where(ids >= 0, self.main_rows[ids], np.int32(-1)))
            parts_sims.append(np.where(ids >= 0, sims, -np.inf))
        if len(self.tail_rows):
            sims = similarities(self.numbers[self.tail_rows], queries)
            parts_rows.append(np.broadcast_to(self.tail_rows, sims.shape))
            parts_sims.append(sims)
        if not parts_rows:
            return np.full((len(queries), 0), -1, np.int32)
        if not len(self.tail_rows):
            return parts_rows[0]
        rows, sims = np.concatenate(parts_rows, 1), np.concatenate(parts_sims, 1)
        best = np.argsort(-sims, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(rows, best, 1)


def _build(numbers: Fixed, rows: Ints, device: str) -> Any:
    if len(rows) <= EXACT:
        return ExactIndex(numbers[rows])
    if device == "cuda" and gpu.there():
        try:
            return gpu.GpuIndex(numbers[rows])
        except RuntimeError as error:
            goes_on(f"{len(rows):,} vectors are searched on the processor", error)
    return CellIndex.of(numbers, rows.astype(np.int64))


def _search(index: Any, queries: Floats, k: int, pool: Executor | None) -> tuple[Floats, npt.NDArray[np.int64]]:
    queries = np.ascontiguousarray(queries)
    if pool is None or len(queries) < SHARED or isinstance(index, ExactIndex | gpu.GpuIndex):
        sims, ids = index.search(queries, k)
        return sims, ids
    half = len(queries) // 2
    other = pool.submit(index.search, queries[:half], k)
    sims, ids = index.search(queries[half:], k)
    first = other.result()
    return np.concatenate([first[0], sims]), np.concatenate([first[1], ids])
