"""Backlog: what is still to be encoded under one encoder, and in which order.

In: items with their texts, as the encoder role reads them. Out: vectors, handed to `publish`. Knows nothing of Kafka.

A text is encoded once, however many items share it and however often their prices change. The newest texts go first, in
blocks of some tens of milliseconds, so that a new item does not wait behind a bulk load.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from recsys.encoder import BLOCK, TextEncoder, content_hash, pack
from streams.observe import metrics

REMEMBERED = 100_000
"""Vectors kept by their text's hash, for items that share a text."""
_CHUNK = 64  # texts made into tokens at a time
_POOL = 8 * BLOCK  # texts ready to be encoded, to fill blocks of one length from


class Backlog:
    """`publish(encoder, item_id, digest, packed)` hears of each vector as it is ready, once an item and text."""

    def __init__(self, encoder: TextEncoder, publish: Callable[[TextEncoder, str, str, str], None]) -> None:
        self.encoder = encoder
        self._publish = publish
        self._open: dict[str, str] = {}  # item_id -> hash of its text, while it has no vector
        self._known: OrderedDict[str, str] = OrderedDict()  # hash -> packed vector
        self._waiting: dict[str, dict[str, None]] = {}  # hash of a text to be encoded -> its items, in order
        self._texts: list[tuple[str, str]] = []  # (hash, text), newest last
        self._ready: dict[int, list[tuple[int, str, list[int]]]] = {}  # bucket -> (number, hash, tokens)
        self._number = 0
        self._fresh = False  # whether a text has come since the last block

    @property
    def pending(self) -> int:
        """Items that wait."""
        return len(self._open)

    def anew(self) -> Backlog:
        """An empty backlog of the same encoder, with the vectors that are known."""
        fresh = Backlog(self.encoder, self._publish)
        fresh._known = self._known
        return fresh

    @property
    def items(self) -> list[str]:
        """Those that wait, the newest last."""
        return list(self._open)

    @property
    def encoder_id(self) -> str:
        return self.encoder.encoder_id

    def digest(self, text: str) -> str:
        """`content_hash` under this encoder."""
        return content_hash(text, self.encoder_id)

    def remember(self, vectors: Iterable[tuple[str, str]]) -> None:
        """Vectors that need not be made again, by the hash of their texts."""
        for digest, packed in vectors:
            self._known[digest] = packed
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def want(self, item_id: str, text: str) -> None:
        """This is now the item's text. Published at once where its vector is known."""
        digest = self.digest(text)
        self._open.pop(item_id, None)
        self._open[item_id] = digest
        if digest in self._known:
            self._known.move_to_end(digest)
            self._finish(item_id, digest)
        elif digest in self._waiting:
            self._waiting[digest][item_id] = None
        else:
            self._waiting[digest] = {item_id: None}
            self._texts.append((digest, text))
            self._fresh = True

    def drop(self, item_id: str) -> None:
        """The item needs no vector any more."""
        self._open.pop(item_id, None)

    def work(self) -> bool:
        """Encodes one block, if any; whether there was one."""
        if not self._open:
            return False
        self._prepare()
        block = self._next_block()
        if block:
            self._encode(block)
        return bool(block)

    def _prepare(self) -> None:
        """Makes the newest texts into tokens: the new ones at once, more as long as the pool has room."""
        room = _POOL - sum(map(len, self._ready.values()))
        fresh, self._fresh = self._fresh, False
        while self._texts and (fresh or room > 0):
            chunk = self._texts[-_CHUNK:]
            del self._texts[-_CHUNK:]
            chunk = [(digest, text) for digest, text in chunk if self._still_wanted(digest)]
            for (digest, _), tokens in zip(chunk, self.encoder.tokens([text for _, text in chunk]), strict=True):
                self._number += 1
                self._ready.setdefault(self.encoder.bucket(tokens), []).append((self._number, digest, tokens))
            fresh, room = False, room - len(chunk)

    def _still_wanted(self, digest: str) -> bool:
        """Whether an item waits for this text; forgets the text if not."""
        items = {i: None for i in self._waiting.get(digest, ()) if self._open.get(i) == digest}
        if items and digest in self._known:
            for item_id in items:
                self._finish(item_id, digest)
            items = {}
        if items:
            self._waiting[digest] = items
        else:
            self._waiting.pop(digest, None)
        return bool(items)

    def _next_block(self) -> list[tuple[str, list[int]]]:
        """Up to BLOCK texts of one length: that of the newest text, newest first."""
        block: list[tuple[str, list[int]]] = []
        stacks = [stack for stack in self._ready.values() if stack]
        if stacks:
            stack = max(stacks, key=lambda s: s[-1][0])
            while stack and len(block) < BLOCK:
                _, digest, tokens = stack.pop()
                if self._still_wanted(digest):
                    block.append((digest, tokens))
        return block

    def _encode(self, block: list[tuple[str, list[int]]]) -> None:
        started = time.perf_counter()
        vectors = self.encoder.encode_block([tokens for _, tokens in block])
        metrics.ENCODER_SECONDS.observe(time.perf_counter() - started)
        metrics.ENCODER_ENCODED.inc(len(block))
        for (digest, _), vector in zip(block, vectors, strict=True):
            self.remember([(digest, pack(vector))])
            for item_id in self._waiting.pop(digest):
                if self._open.get(item_id) == digest:
                    self._finish(item_id, digest)

    def _finish(self, item_id: str, digest: str) -> None:
        del self._open[item_id]
        self._publish(self.encoder, item_id, digest, self._known[digest])
