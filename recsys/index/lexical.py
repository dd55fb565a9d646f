"""Lexical index: BM25 over the words of item texts, Chinese character bigrams among them.

Okapi BM25 (Robertson & Zaragoza 2009) with a fixed mean length, so that an item's own numbers never change when others
come or go; only the document frequencies do, and those are a column of the snapshot. A frozen main part by term, and a
tail by item; `rebuilt` folds the tail in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from recsys.text import terms
from schemas.items import Item

K1, B, MEAN_LENGTH = 1.2, 0.4, 24.0
QUERY_TERMS = 24
_TITLE, _FACET, _DESCRIPTION_CHARS = 2, 2, 400
_TAIL = 2000

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


def item_terms(item: Item) -> Counter[str]:
    """Terms of an item with their counts: title and facets weigh twice, the description once."""
    counts: Counter[str] = Counter()
    for term in terms(item.title):
        counts[term] += _TITLE
    for name in [*item.categories, item.brand or "", *(v for v in item.attributes.values() if isinstance(v, str))]:
        for term in terms(name):
            counts[term] += _FACET
    for term in terms((item.description or "")[:_DESCRIPTION_CHARS]):
        counts[term] += 1
    return counts


@dataclass(frozen=True, slots=True)
class LexicalIndex:
    """`numbers` and the per-row lists only grow and are shared between snapshots; `frequency` is the snapshot's."""

    numbers: dict[str, int]
    row_terms: list[Ints]
    row_weights: list[Floats]
    frequency: Ints  # live rows that hold each term
    live: int
    starts: npt.NDArray[np.int64]  # [terms + 1] of the main part
    rows: Ints
    weights: Floats
    main_rows: int  # rows below this are in the main part
    tail_rows: Ints  # [postings] of the rows from main_rows on
    tail_terms: Ints
    tail_weights: Floats

    @classmethod
    def empty(cls) -> LexicalIndex:
        none, zero = np.zeros(0, np.int32), np.zeros(0, np.float32)
        return cls({}, [], [], none, 0, np.zeros(1, np.int64), none, zero, 0, none, none, zero)

    @property
    def held(self) -> int:
        """Rows of the newest snapshot that shares these lists."""
        return len(self.row_terms)

    def apart(self, rows: int) -> LexicalIndex:
        """The same contents, `rows` rows, in lists of its own."""
        return replace(self, row_terms=self.row_terms[:rows], row_weights=self.row_weights[:rows])

    def updated(self, added: Sequence[Item], dead: Sequence[int]) -> LexicalIndex:
        """`added` become the rows after the last; `dead` are rows that count no more."""
        new_terms: list[Ints] = []
        new_weights: list[Floats] = []
        for item in added:
            counts = item_terms(item)
            ids = [self.numbers.setdefault(t, len(self.numbers)) for t in counts]
            tf = np.fromiter(counts.values(), np.float32, len(counts))
            norm = K1 * (1 - B + B * float(tf.sum()) / MEAN_LENGTH)
            new_terms.append(np.array(ids, np.int32))
            new_weights.append((tf * (K1 + 1) / (tf + norm)).astype(np.float32))
        frequency = np.zeros(len(self.numbers), np.int32)
        frequency[: len(self.frequency)] = self.frequency
        if new_terms:
            frequency += np.bincount(np.concatenate(new_terms), minlength=len(frequency)).astype(np.int32)
        for row in dead:
            frequency[self.row_terms[row]] -= 1
        first = self.held
        self.row_terms.extend(new_terms)
        self.row_weights.extend(new_weights)
        lengths = [len(t) for t in new_terms]
        return replace(
            self,
            frequency=frequency,
            live=self.live + len(added) - len(dead),
            tail_rows=np.concatenate(
                [self.tail_rows, np.repeat(np.arange(first, first + len(added), dtype=np.int32), lengths)]
            ),
            tail_terms=np.concatenate([self.tail_terms, *new_terms]),
            tail_weights=np.concatenate([self.tail_weights, *new_weights]),
        )

    @property
    def due(self) -> bool:
        """Whether the tail is long enough to pay for a rebuild."""
        return self.held - self.main_rows > max(_TAIL, self.main_rows // 4)

    def rebuilt(self, alive: npt.NDArray[np.bool_]) -> LexicalIndex:
        """The same contents in one main part without the dead rows."""
        rows = [r for r in range(len(alive)) if alive[r]]
        flat_rows = np.repeat(np.array(rows, np.int32), [len(self.row_terms[r]) for r in rows])
        flat_terms = np.concatenate([self.row_terms[r] for r in rows]) if rows else np.zeros(0, np.int32)
        flat_weights = np.concatenate([self.row_weights[r] for r in rows]) if rows else np.zeros(0, np.float32)
        by_term = np.argsort(flat_terms, kind="stable")
        counts = np.bincount(flat_terms, minlength=len(self.frequency))
        none, zero = np.zeros(0, np.int32), np.zeros(0, np.float32)
        return replace(
            self,
            starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            rows=flat_rows[by_term],
            weights=flat_weights[by_term],
            main_rows=len(alive),
            tail_rows=none,
            tail_terms=none,
            tail_weights=zero,
        )

    def adopting(self, built: LexicalIndex) -> LexicalIndex:
        """This index with the main part of `built`, an earlier one of the same line that was rebuilt meanwhile."""
        rest = range(built.main_rows, self.held)
        lengths = [len(self.row_terms[r]) for r in rest]
        return replace(
            self,
            starts=built.starts,
            rows=built.rows,
            weights=built.weights,
            main_rows=built.main_rows,
            tail_rows=np.repeat(np.arange(rest.start, rest.stop, dtype=np.int32), lengths),
            tail_terms=np.concatenate([np.zeros(0, np.int32), *(self.row_terms[r] for r in rest)]),
            tail_weights=np.concatenate([np.zeros(0, np.float32), *(self.row_weights[r] for r in rest)]),
        )

    def scores(self, query: Sequence[str], rows: int) -> Floats:
        """float32[rows]: BM25 of every row for the query's terms; dead rows may score too."""
        out = np.zeros(rows, np.float32)
        for term in sorted(set(query))[:QUERY_TERMS]:
            number = self.numbers.get(term)
            if number is None or number >= len(self.frequency):
                continue
            df = int(self.frequency[number])
            idf = np.float32(np.log1p((self.live - df + 0.5) / (df + 0.5)))
            if number + 1 < len(self.starts):
                part = slice(self.starts[number], self.starts[number + 1])
                out[self.rows[part]] += idf * self.weights[part]
            if len(self.tail_terms):
                hit = np.flatnonzero(self.tail_terms == number)
                out[self.tail_rows[hit]] += idf * self.tail_weights[hit]
        return out
