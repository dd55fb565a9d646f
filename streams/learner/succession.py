"""Succession: one encoder after the other, and which texts each of them still has to encode.

In: texts of items as they change, what the topic of vectors holds, the encoders that releases name. Out: vectors,
handed to `publish` in the order in which they belong on the topic. Knows nothing of Kafka.

A newer encoder is loaded beside the old one and encodes the catalogue again, newest items first, in the background.
Until that is done workers serve from the old one (`streams.encoders`); so an item that is new or changed gets its
vector under the old one at once, and right after under the new one. In this order: in the end the last record of an
item is its vector under the newest encoder, and what compaction leaves is what is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from recsys.encoder import Adapter, AdapterMisfit, TextEncoder, content_hash
from streams.encoders import Encoder, Encoders, complete
from streams.learner.backlog import Backlog

GRACE_S = 60.0
"""For so long new items get vectors under the old encoder too, once the new one's are complete: workers build an index
before they go over."""
LOOK_S = 10.0
"""Between two looks for a release that could not be loaded."""
log = structlog.get_logger(__name__)

Seen = Mapping[str, Mapping[str, tuple[str, str]]]
"""encoder id -> item_id -> (hash of the text, packed vector): the newest record of each."""


class Succession:
    """`texts` are those of the live items, newest last; `there` has the content hash of each item's last record."""

    def __init__(
        self,
        base: TextEncoder,
        encoders: Encoders,
        load: Callable[[Adapter], TextEncoder],
        publish: Callable[[TextEncoder, str, str, str], None],
    ) -> None:
        """`base`: the frozen encoder; `load` makes one of an adapter or raises AdapterMisfit; `publish(encoder,
        item_id, hash, packed vector)`."""
        self._base, self._encoders, self._load, self._send = base, encoders, load, publish
        self._main: Backlog | None = None  # the encoder that is to have all items; None until `begin`
        self._side: Backlog | None = None  # the one that workers still serve from
        self.texts: dict[str, str] = {}
        self.there: dict[str, str] = {}
        self._complete_since: float | None = None
        self._looked = 0.0

    @property
    def pending(self) -> int:
        """Items that wait for a vector."""
        return sum(backlog.pending for backlog in (self._main, self._side) if backlog is not None)

    def change(self, item_id: str, text: str | None) -> None:
        """The item's text is now this one; None: it is withdrawn."""
        if text is not None and self.texts.get(item_id) == text:
            return  # a price costs no encoding
        self.texts.pop(item_id, None)
        if text is not None:
            self.texts[item_id] = text
        if self._main is None:
            return
        self._main.drop(item_id)
        if self._side is not None:
            self._side.drop(item_id)
        if text is None:
            return
        if self._side is not None:
            self._side.want(item_id, text)
        elif self.there.get(item_id) != self._main.digest(text):
            self._main.want(item_id, text)

    def begin(self, choice: list[Encoder], seen: Seen, now: float) -> None:
        """Goes on where the topic ends: under the newest of `choice`, and beside it under the one that workers serve,
        which is the one with the most vectors in `seen`."""
        self._looked = now
        main = self._main = self._backlog(choice)
        open_items = {i: text for i, text in self.texts.items() if self.there.get(i) != main.digest(text)}
        if open_items and not complete(len(open_items), len(self.texts)):
            self._side = self._serving([e for e in choice if e.encoder_id != main.encoder_id], seen)
        of_side = seen.get(self._side.encoder_id, {}) if self._side is not None else {}
        main.remember(seen.get(main.encoder_id, {}).values())
        if self._side is not None:
            self._side.remember(of_side.values())
        for item_id, text in open_items.items():
            if self._side is not None and of_side.get(item_id, ("",))[0] != self._side.digest(text):
                self._side.want(item_id, text)
            else:
                main.want(item_id, text)

    def _serving(self, others: list[Encoder], seen: Seen) -> Backlog | None:
        count = {}
        for encoder in others:
            theirs = seen.get(encoder.encoder_id, {})
            hits = (
                theirs[i][0] == content_hash(text, encoder.encoder_id) for i, text in self.texts.items() if i in theirs
            )
            count[encoder.encoder_id] = sum(hits)
        most = max(others, key=lambda e: count[e.encoder_id], default=None)
        if most is None or not count[most.encoder_id]:
            return None
        found = self._backlog([most])
        return found if found.encoder_id == most.encoder_id else None

    def renew(self) -> None:
        """Releases have changed: `follow` looks at once."""
        self._looked = 0.0

    def follow(self, now: float) -> None:
        """Goes over to another encoder when a release says so, and lets go of the old one when it is no longer served.
        `now`: seconds of a steady clock."""
        if self._main is None:
            return
        self._close_side(now)
        if self._looked and now - self._looked < LOOK_S:
            return
        self._looked = now
        choice = self._encoders.usable(now)
        if choice[0].encoder_id == self._main.encoder_id:
            return
        target = self._backlog(choice)
        if target.encoder_id == self._main.encoder_id:
            return
        if self._side is None or complete(self.pending, len(self.texts)):
            self._side = self._main
        if self._side.encoder_id == target.encoder_id:
            self._side = None
        left = set(self._side.items) if self._side is not None else set()
        self._main, self._complete_since = target, None
        log.info("encoder.reencoding", encoder_id=target.encoder_id, items=len(self.texts))
        for item_id, text in self.texts.items():
            if item_id not in left and self.there.get(item_id) != target.digest(text):
                target.want(item_id, text)

    def _backlog(self, choice: list[Encoder]) -> Backlog:
        """A new backlog of the first encoder that works; the frozen one always does."""
        for one in choice:
            for known in (self._main, self._side):
                if known is not None and known.encoder_id == one.encoder_id:
                    return known.anew()
            if one.encoder_id == self._base.encoder_id:
                break
            try:
                return Backlog(self._load(one.adapter), self._publish)
            except AdapterMisfit as error:
                self._encoders.refuse(one, str(error), self._looked)
        return Backlog(self._base, self._publish)

    def _close_side(self, now: float) -> None:
        if self._side is None or self.pending:
            self._complete_since = None
            return
        if self._complete_since is None:
            self._complete_since = now
            log.info("encoder.reencoded", items=len(self.texts))
        if now - self._complete_since >= GRACE_S:
            self._side = None

    def work(self) -> None:
        """Encodes one block, if any waits."""
        if self._main is not None and (self._side is None or not self._side.work()):
            self._main.work()

    def _publish(self, encoder: TextEncoder, item_id: str, digest: str, packed: str) -> None:
        self.there[item_id] = digest
        self._send(encoder, item_id, digest, packed)
        if self._side is not None and self._main is not None and encoder is self._side.encoder:
            self._main.want(item_id, self.texts[item_id])
