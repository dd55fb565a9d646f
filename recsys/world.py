"""World: what all users share, as one immutable snapshot. Swapped by pointer, never changed in place.

In: a batch of item changes, vectors and a Statistics snapshot (`advanced`). Out: the next World. Everything that is
derived from the parts (popularity by row, trending lists, price levels, condition masks) is worked out at first use
and kept with the snapshot. `streams.feed` builds Worlds from topics, a replay from files; the step only reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from recsys.catalogue import Catalogue
from recsys.conditions import ConditionMasks
from recsys.decay import DAY_MS
from recsys.dialogue.vocabulary import Vocabulary
from recsys.experiments.canary import Canary
from recsys.facets import Facets
from recsys.index.dense import DenseIndex
from recsys.index.lexical import LexicalIndex, item_terms
from recsys.index.sketch import SKETCH, joined, sketch
from recsys.rank import Ranker
from recsys.sequence import LEAST, SequenceModel
from recsys.shared import PLACES, shared_features
from recsys.statistics import NEVER, WINDOWS_DAYS, Statistics
from recsys.text import terms
from schemas.items import Item, Withdrawn

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
TRENDING = 300
POOL = 8192
"""Rows among which the sequence model looks for what is next."""
_TOGETHER = 8192  # items that a model works out at once
_WEEK = WINDOWS_DAYS.index(7)
_QUARTER = WINDOWS_DAYS.index(90)
_MIX = 0x9E3779B97F4A7C15


@dataclass(frozen=True, repr=False)
class World:
    """One snapshot. `encode_query` turns a text into the encoder's unit vector float32[vector_dim]; without an encoder
    it is None and `vector_dim` is 0. Indexed is the encoder's vector joined with a sketch of the words."""

    catalogue: Catalogue
    dense: DenseIndex
    lexical: LexicalIndex
    statistics: Statistics
    ranker: Ranker
    vector_dim: int = 0
    encode_query: Callable[[str], Floats] | None = None
    release_id: str = "none"
    facets: Facets = field(default_factory=Facets)
    masks: ConditionMasks = field(default_factory=ConditionMasks)
    sequence: SequenceModel | None = None
    canary: Canary | None = None

    @classmethod
    def empty(
        cls,
        dim: int = 0,
        encode_query: Callable[[str], Floats] | None = None,
        ranker: Ranker | None = None,
        device: str = "cpu",
    ) -> World:
        """A World without items: what a worker holds before its topics were read. `dim` 0: no vectors at all."""
        return cls(
            Catalogue.empty(), DenseIndex.empty(dim + SKETCH, device), LexicalIndex.empty(), Statistics.empty(),
            ranker or Ranker(device), dim, encode_query,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"World({len(self.catalogue)} items, {self.names})"

    def advanced(
        self,
        items: Sequence[Item | Withdrawn] = (),
        vectors: Sequence[tuple[str, Floats]] = (),
        statistics: Statistics | None = None,
    ) -> World:
        """The next World. `vectors` belong to the items as `items` leave them; one of an unknown item is left out."""
        catalogue, dense, lexical, facets = self.catalogue, self.dense, self.lexical, self.facets
        if lexical.held != catalogue.rows:  # another World has gone on from this one, in the buffers that they share
            dense, lexical = dense.apart(), lexical.apart(catalogue.rows)
        if items:
            catalogue, added, dead = catalogue.updated(items)
            if added or dead:
                came = [catalogue.items[r] for r in added]
                lexical = lexical.updated(came, dead)
                facets = facets.updated(came, [catalogue.items[r] for r in dead])
        dense = dense.grown(catalogue.rows)
        fresh: dict[int, Floats | None] = {}
        if self.vector_dim:
            fresh = {row: v for item_id, v in vectors if (row := catalogue.row_of.get(item_id)) is not None}
            fresh = {row: v for row, v in fresh.items() if not dense.has[row]}
        elif items:
            fresh = dict.fromkeys(added)
        if fresh:
            whole = [joined(v, sketch(item_terms(catalogue.items[row]))) for row, v in fresh.items()]
            dense = dense.with_vectors(np.fromiter(fresh, np.int32, len(fresh)), np.stack(whole))
        if fresh or catalogue.id_rows is not self.catalogue.id_rows:
            dense = dense.ordered(catalogue.alive, catalogue.id_rows)
        world = replace(
            self,
            catalogue=catalogue,
            dense=dense,
            lexical=lexical,
            facets=facets,
            statistics=statistics or self.statistics,
        )
        for name, model in (("sequence_items", self.sequence), ("_canary_items", self._sequence_of_canary)):
            if model is not None and name in self.__dict__:
                world.__dict__[name] = world._items_after(model, self.__dict__[name], list(fresh))
        if statistics is None and "_counted" in self.__dict__:
            # rows are only ever added: what was looked up for the others holds
            new = world.statistics.take(world.catalogue.keys[self.catalogue.rows :])
            world.__dict__["_counted"] = np.concatenate([self._counted, new]) if len(new) else self._counted
        return world

    def with_models(
        self, ranker: Ranker, sequence: SequenceModel | None, release_id: str, canary: Canary | None = None
    ) -> World:
        """The same World with other models."""
        world = replace(self, ranker=ranker, sequence=sequence, release_id=release_id, canary=canary)
        kept = ["_counted", "weights", "popularity", "age_days", "shared_features", "price_level", "popular"]
        kept += [
            "trending",
            "newest",
            "by_popularity",
            "whole_items",
            "offered",
            "shop",
            "first_expiry",
            "catalogue_version",
        ]
        if sequence is not None and self.sequence is not None and sequence.into is self.sequence.into:
            kept += ["sequence_items", "sequence_pool"]  # at most the user side is another
        old, new = self._sequence_of_canary, world._sequence_of_canary
        if old is not None and new is not None and old.into is new.into:
            kept.append("_canary_items")
        world.__dict__.update({name: self.__dict__[name] for name in kept if name in self.__dict__})
        return world

    @cached_property
    def apart(self) -> tuple[World, World]:
        """(as it is for the others, as it is for the canary's users), where there is a canary."""
        canary = self.canary
        assert canary is not None
        others = self.with_models(self.ranker, self.sequence, canary.beside)
        its_own = self.with_models(canary.ranker, canary.sequence, canary.release_id)
        if self._sequence_of_canary is not None:
            its_own.__dict__["sequence_items"] = self._canary_items
        return others, its_own

    @property
    def _sequence_of_canary(self) -> SequenceModel | None:
        """The canary's sequence model, if its item side is another than that of what serves."""
        model = None if self.canary is None else self.canary.sequence
        return None if model is None or (self.sequence is not None and model.into is self.sequence.into) else model

    @property
    def due(self) -> bool:
        """Whether `settled` would pay."""
        return self.dense.due or self.lexical.due

    def settled(self) -> World:
        """The same World with its indexes rebuilt into their main parts. Seconds of work at 100,000 items."""
        alive = self.catalogue.alive
        return self._indexed(self.dense.rebuilt(alive, self.catalogue.id_rows), self.lexical.rebuilt(alive))

    def adopting(self, settled: World) -> World:
        """This World with the main parts of `settled`, an earlier one of the same line that was rebuilt meanwhile."""
        dense = self.dense
        if len(dense.tail_rows) and settled.dense.dated >= dense.dated:  # else its own main part is newer
            dense = self.with_main(settled.dense).dense
        return self._indexed(dense, self.lexical.adopting(settled.lexical))

    def with_main(self, main: DenseIndex) -> World:
        """This World with the main part of an earlier one of the same line."""
        return self._indexed(self.dense.adopting(main, self.catalogue.alive, self.catalogue.id_rows), self.lexical)

    def _indexed(self, dense: DenseIndex, lexical: LexicalIndex) -> World:
        """The same contents behind other indexes. What was worked out of the contents holds."""
        world = replace(self, dense=dense, lexical=lexical)
        known = dict(self.__dict__)  # at once: another thread may be working something out
        world.__dict__.update({name: known[name] for name in known.keys() - world.__dict__.keys() - {"apart"}})
        return world

    @property
    def wasteful(self) -> bool:
        """Whether dead rows outnumber the live ones, so that `compacted` would pay."""
        return self.catalogue.rows > 2 * len(self.catalogue) + 10_000

    def compacted(self) -> World:
        """The same contents without dead rows, in new buffers."""
        rows = self.catalogue.id_rows
        fresh = replace(
            self, catalogue=Catalogue.empty(), dense=DenseIndex.empty(self.dense.dim, self.dense.device),
            lexical=LexicalIndex.empty(), facets=Facets(), masks=ConditionMasks(),
        )  # fmt: skip
        items = [self.catalogue.items[r] for r in rows]
        fresh = fresh.advanced(items)
        moved = rows[self.dense.has[rows] & ~fresh.dense.has]
        places = np.flatnonzero(self.dense.has[rows] & ~fresh.dense.has).astype(np.int32)
        return replace(fresh, dense=fresh.dense.with_vectors(places, self.dense.vectors(moved))).settled()

    # names -----------------------------------------------------------------------------------------------------
    def encode(self, text: str) -> Floats:
        """float32[dense.dim]: a text's vector, to compare with those of items."""
        meaning = None if self.encode_query is None else self.encode_query(text)
        return joined(meaning, sketch(Counter(terms(text))))

    @cached_property
    def names(self) -> dict[str, str]:
        return {
            "release_id": self.release_id,
            "statistics_id": self.statistics.statistics_id,
            "catalogue_version": f"{self.catalogue_version:016x}",
        }

    @cached_property
    def catalogue_version(self) -> int:
        """The sum of the items' hashes modulo 2^64; an item whose vector is there counts with another multiple."""
        return self.catalogue_version_with(())

    def catalogue_version_with(self, rows: Sequence[int]) -> int:
        """What `catalogue_version` would be if these rows, which have no vector, had one."""
        whole = self.catalogue.alive & self.dense.has[: self.catalogue.rows]
        whole[list(rows)] = True
        vectors = self.catalogue.hashes[whole] * np.uint64(_MIX)
        return (self.catalogue.content + int(vectors.sum(dtype=np.uint64))) & (2**64 - 1)

    @cached_property
    def whole_items(self) -> int:
        """Items that count: with their vector, where there is an encoder."""
        return int((self.catalogue.alive & self.dense.has[: self.catalogue.rows]).sum())

    # derived columns -------------------------------------------------------------------------------------------
    @cached_property
    def offered(self) -> npt.NDArray[np.bool_]:
        """bool[rows]: alive and available (expiry depends on the event's time)."""
        return self.catalogue.alive & self.catalogue.available

    @cached_property
    def shop(self) -> npt.NDArray[np.bool_]:
        """bool[rows]: offered, and not a help article."""
        return self.offered & ~self.catalogue.help

    @cached_property
    def first_expiry(self) -> int:
        """ms: until then nothing that is offered expires."""
        return int(self.catalogue.expires.min(where=self.offered, initial=NEVER))

    @cached_property
    def popular(self) -> Ints:
        """The TRENDING rows of the month, items that nobody touched behind the others."""
        return self.best(self.popularity[:, 2] + self.popularity[:, 3], self.shop, TRENDING)

    @cached_property
    def popularity(self) -> Floats:
        """float32[rows, windows]: log1p of the decayed weight, over that of the window's most popular item; 0 to 1."""
        counts = np.log1p(self.weights)
        top = counts.max(axis=0, initial=0)
        shares: Floats = (counts / np.where(top > 0, top, 1)).astype(np.float32)
        return shares

    @cached_property
    def weights(self) -> Floats:
        """float32[rows, windows]: the decayed weight of what was done with an item."""
        out = np.zeros((len(self._counted), len(WINDOWS_DAYS)), np.float32)
        known = self._counted >= 0
        out[known] = np.maximum(self.statistics.popularity[self._counted[known]], 0)
        return out

    @cached_property
    def age_days(self) -> Floats:
        """float32[rows]: days from the first interaction with an item to the statistics' time; nan if nobody has
        touched it."""
        out = np.full(len(self._counted), np.nan, np.float32)
        known = np.flatnonzero(self._counted >= 0)
        first = self.statistics.first_ts[self._counted[known]]
        touched = first != NEVER
        out[known[touched]] = np.maximum(self.statistics.as_of - first[touched], 0) / DAY_MS
        return out

    @cached_property
    def _counted(self) -> npt.NDArray[np.int64]:
        """int64[rows]: where an item stands in the statistics, -1 if it does not."""
        return self.statistics.take(self.catalogue.keys)

    def best(self, score: Floats, among: npt.NDArray[np.bool_], n: int) -> Ints:
        """Rows by falling score (rounded), ties by item_id."""
        rows = np.flatnonzero(among).astype(np.int32)
        value = np.round(score[rows].astype(np.float64) * 1e6).astype(np.int64)
        rank = -(value << 32) + self.catalogue.order[rows]
        if n < len(rows):
            part = np.argpartition(rank, n)[:n]
            rows, rank = rows[part], rank[part]
        return rows[np.argsort(rank, kind="stable")]

    @cached_property
    def shared_features(self) -> Floats:
        """float32[rows, n]: the features of an item that are the same for everybody, in the order of
        `recsys.shared.SHARED`."""
        return shared_features(self.popularity, self.weights, self.age_days)

    @cached_property
    def sequence_items(self) -> tuple[Floats, Floats, Floats]:
        """The sequence model's side of every row: (as input [rows, D], as output [rows, D], bias [rows])."""
        assert self.sequence is not None
        return self._items_of(self.sequence)

    @cached_property
    def _canary_items(self) -> tuple[Floats, Floats, Floats]:
        assert self._sequence_of_canary is not None
        return self._items_of(self._sequence_of_canary)

    def _items_of(self, model: SequenceModel) -> tuple[Floats, Floats, Floats]:
        # some at a time: all vectors at once as floats take twice as much memory as the index
        places = [slice(at, at + _TOGETHER) for at in range(0, max(1, self.catalogue.rows), _TOGETHER)]
        parts = [model.items(self.catalogue.keys[at], self.dense.vectors(at), self.dense.has[at]) for at in places]
        into, out, bias = map(np.concatenate, zip(*parts, strict=True))
        return into, out, bias

    def _items_after(
        self, model: SequenceModel, old: tuple[Floats, Floats, Floats], changed: Sequence[int]
    ) -> tuple[Floats, Floats, Floats]:
        """A model's side of every row, worked out anew for rows that came since `old` or have their vector since."""
        rows = self.catalogue.rows
        at = np.union1d(np.arange(len(old[2]), rows), np.array(changed, np.int64)).astype(np.int64)
        if not len(at):
            return old
        parts = model.items(self.catalogue.keys[at], self.dense.vectors(at), self.dense.has[at])
        made = []
        for table, part in zip(old, parts, strict=True):
            grown = np.concatenate([table, np.zeros((rows - len(table), *table.shape[1:]), table.dtype)])
            grown[at] = part
            made.append(grown)
        return made[0], made[1], made[2]

    @cached_property
    def sequence_pool(self) -> tuple[Ints, Floats, Floats]:
        """(rows int32[n], their vectors as output [n, D], what is added to the inner product [n]: bias and the log of
        popularity), of the POOL shop rows for which the last is highest: a user's vector rarely makes up for more, and
        what is gathered here stays in the processor's cache."""
        _, out, bias = self.sequence_items
        base = bias + np.log(self.weights[:, _QUARTER] + np.float32(LEAST))
        rows = self.best(base, self.shop, POOL)
        return rows, np.ascontiguousarray(out[rows]), base[rows]

    @cached_property
    def _in_general(self) -> dict[bytes, Ints]:
        return {}

    def best_in_general(self, context: bytes) -> Ints:
        """int32[<= TRENDING]: the best shop rows by the features that are the same for everybody, as the ranker weighs
        them at a moment (`recsys.query.Block.context`, its float32 as bytes)."""
        found = self._in_general.get(context)
        if found is None:
            weights = self.ranker.weights_at(np.frombuffer(context, np.float32))[PLACES]
            score = np.einsum("nf,f->n", self.shared_features, weights)
            found = self._in_general[context] = self.best(score, self.shop, TRENDING)
        return found

    @cached_property
    def by_popularity(self) -> Ints:
        """All offered rows, most popular of the month first: what is left when nothing else is known."""
        return self.best(self.popularity[:, 2] + self.popularity[:, 3], self.offered, self.catalogue.rows)

    @cached_property
    def trending(self) -> Ints:
        """The TRENDING rows of the week; items that nobody touched are not among them."""
        week = self.popularity[:, _WEEK]
        return self.best(week + self.popularity[:, 0], self.shop & (week > 0), TRENDING)

    @cached_property
    def newest(self) -> Ints:
        published = self.catalogue.published
        return self.best(
            (published // 60_000).astype(np.float32) * np.float32(1e-6), self.shop & (published >= 0), TRENDING
        )

    @cached_property
    def _by_category(self) -> dict[int, Ints]:
        return {}

    def best_in_category(self, category: int, n: int) -> Ints:
        """int32[<= n]: the most popular shop rows of a category."""
        found = self._by_category.get(category)
        if found is None:
            among = self.shop & (self.catalogue.categories == category).any(axis=1)
            found = self._by_category[category] = self.best(self.popularity[:, 2], among, n)
        return found

    @cached_property
    def price_level(self) -> Floats:
        """float32[rows]: how dear an item is within its first category and currency, in standard deviations of the
        log price, -2 to 2; nan without a price. Summed in order of item_id, so that load order leaves no trace."""
        c = self.catalogue
        level = np.full(c.rows, np.nan, np.float32)
        rows = c.id_rows[~np.isnan(c.price[c.id_rows])] if c.rows else c.id_rows
        if not len(rows):
            return level
        group = (c.categories[rows, 0].astype(np.int64) + 1) * 64 + (c.currency[rows] + 1) % 64
        _, group = np.unique(group, return_inverse=True)
        log = np.log1p(c.price[rows].astype(np.float64))
        n = np.bincount(group)
        mean = np.bincount(group, log) / n
        spread = np.sqrt(np.bincount(group, (log - mean[group]) ** 2) / n)
        z = (log - mean[group]) / np.maximum(spread[group], 0.05)
        level[rows] = np.round(np.clip(z, -2, 2), 3)
        return level

    @property
    def vocabulary(self) -> Vocabulary:
        """What a message can name: the catalogue's categories, brands and attribute values."""
        return self.facets.vocabulary
