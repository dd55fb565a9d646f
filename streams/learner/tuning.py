"""The tuning lane: the text encoder fitted to what users do. The slowest lane, and the one that changes most.

In: events and changes of items as the learner reads them. Out: now and then an adapter that is proposed as a release of
the role "encoder". Whoever drives it gives it slices of time and publishes what it proposes.

    events -> pairs -> held out, the newest -> learnt from, in rounds -> judged on the held out -> proposal

Each pair is judged before it is learnt from (prequentially): the newest ones are held out, and a candidate is proposed
only if it finds their partners better than the encoder that serves, by more than chance explains.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict, deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import structlog

from recsys.actions import weigh
from recsys.encoder import BLOCK, Adapter, AdapterMisfit, TextEncoder, adapted_id, identity, item_text, load_library
from recsys.learning.tuning import EncoderTuner, Pair, Rates, without
from recsys.policy import Policy
from schemas.events import Chat, Event, Forget, Interaction, Request
from schemas.items import Item, Withdrawn

USERS = 50_000
"""Users whose last item and words are kept in memory; those that did nothing for longest go first."""
WORDS_MS = 30 * 60_000
"""Event time within which a user's words belong with the item that was then chosen."""
CUTOFF = 10
"""Places within which a partner counts as found."""
_CUT = 500  # characters of a text; more tokens than are looked at
_WORDS = 3  # characters that say nothing yet
log = structlog.get_logger(__name__)
_SURE = 1.645  # standard errors: the 5% level, one-sided
Arrays = dict[str, npt.NDArray[Any]]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pace:
    """`enough`: new pairs for a round; `held`: newest pairs, on which candidates are judged; `drawn`: items of the
    catalogue that the partners stand among; `pause_s`: least time between two proposals, since each has the whole
    catalogue encoded again."""

    enough: int = 2000
    held: int = 256
    drawn: int = 256
    pause_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a release is made of. `meta` names the frozen encoder under "base"."""

    arrays: Mapping[str, npt.NDArray[np.float32]]
    meta: dict[str, Any]
    metrics: dict[str, float]


class Pairs:
    """Events become pairs: what a user turned to after an item, and what they chose after, or said about it."""

    def __init__(self, policy: Policy, users: int = USERS) -> None:
        self._policy, self._most = policy, users
        self.texts: dict[str, str] = {}
        self.users: OrderedDict[str, list[Any]] = OrderedDict()  # user -> [last item, words, when they were said]

    def place(self, changes: Iterable[Item | Withdrawn]) -> None:
        for change in changes:
            if isinstance(change, Withdrawn):
                self.texts.pop(change.item_id, None)
            else:
                self.texts[change.item_id] = item_text(change)[:_CUT]

    def of(self, events: Iterable[Event]) -> list[Pair]:
        """The pairs that these events complete, in order."""
        found: list[Pair] = []
        for event in events:
            if isinstance(event, Chat | Request):
                said = event.text if isinstance(event, Chat) else event.query or ""
                if len(said.strip()) >= _WORDS and not (isinstance(event, Chat) and event.role == "assistant"):
                    self._user(event.user_id)[1:] = [said.strip()[:_CUT], event.ts]
            elif isinstance(event, Interaction):
                found += self._chosen(event)
        return found

    def _chosen(self, event: Interaction) -> list[Pair]:
        text = self.texts.get(event.item_id)
        if text is None or weigh(event.action, event.value, self._policy)[1] <= 0:
            return []
        user = self._user(event.user_id)
        last, words, when = user
        found = []
        if last != event.item_id and (before := self.texts.get(last)) not in (None, text):
            found.append(Pair(event.user_id, str(before), event.item_id, text))
        if words and 0 <= event.ts - when <= WORDS_MS:
            found.append(Pair(event.user_id, words, event.item_id, text))
        if event.text and len(event.text.strip()) >= _WORDS:
            found.append(Pair(event.user_id, event.text.strip()[:_CUT], event.item_id, text))
        user[:] = [event.item_id, "", 0]
        return found

    def _user(self, user_id: str) -> list[Any]:
        user = self.users.setdefault(user_id, ["", "", 0])
        self.users.move_to_end(user_id)
        if len(self.users) > self._most:
            self.users.popitem(last=False)
        return user


class TuningLane:
    """One term of leadership. `take` records as they come, `work` when there is time, then ask for a `proposal`."""

    def __init__(
        self,
        path: str | Path,
        device: str,
        mode: Literal["off", "on", "auto"],
        policy: Policy,
        rates: Rates | None = None,
        pace: Pace | None = None,
        seed: int = 0,
    ) -> None:
        """`path`: the folder of the frozen encoder; `device`: cpu or cuda; `mode` auto: only with a GPU. A lane that is
        off takes nothing in and costs nothing. Raises EncoderNotFound."""
        self.active = mode == "on" or (mode == "auto" and device.startswith("cuda"))
        self._path, self._device, self._rates, self._seed = Path(path), device, rates or Rates.on(device), seed
        self.pace = pace or Pace()
        self._base = identity(self._path)[0] if self.active else ""
        self._pairs = Pairs(policy)
        self._held: deque[Pair] = deque()
        self._waiting: deque[Pair] = deque(maxlen=self._rates.fresh)  # until the tuner is loaded
        self._tuner: EncoderTuner | None = None
        self._library: Future[None] | None = None
        self._saved: Arrays | None = None
        self._serving: Adapter = {}
        self._judge: TextEncoder | None = None  # the encoder that serves
        self._round: Generator[None, None, None] | None = None
        self._proposed_at: float | None = None
        self._proposal: Proposal | None = None
        self.rounds = 0

    # what is learnt from
    # -------------------------------------------------------------------------------------------------------
    def take(self, events: Sequence[Event], items: Sequence[Item | Withdrawn]) -> None:
        """Takes in records in the order of the log, items first."""
        if not self.active:
            return
        self._pairs.place(items)
        for event in events:
            if isinstance(event, Forget):
                # pairs carry no time: of a user who has anything erased, all goes
                self.forget(event.user_id)
                continue
            for pair in self._pairs.of([event]):
                self._held.append(pair)
                if len(self._held) > self.pace.held:
                    self._waiting.append(self._held.popleft())

    def forget(self, user_id: str) -> None:
        """Nothing that this user did is learnt from any more, or kept in the next checkpoint."""
        self._pairs.users.pop(user_id, None)
        self._held = deque(pair for pair in self._held if pair.user != user_id)
        self._waiting = deque((p for p in self._waiting if p.user != user_id), self._rates.fresh)
        if self._tuner is not None:
            self._tuner.forget(user_id)
        elif self._saved is not None:
            self._saved = without(self._saved, user_id)

    def serve(self, adapter: Adapter) -> None:
        """What candidates have to be better than: the adapter that is released, {} for the frozen encoder."""
        self._serving, self._judge = adapter, None

    # working
    # ------------------------------------------------------------------------------------------------------
    def work(self, deadline: float) -> None:
        """Works until `deadline` (of time.monotonic), or until there is nothing to do. A slice that was begun is ended:
        a batch, a block of texts, or the loading of a model, each well under a second on one core."""
        while self.active and time.monotonic() < deadline:
            if self._round is None:
                if self._proposal is not None or not self._due():
                    return
                self._round = self._one_round()
            if next(self._round, self) is self:
                self._round = None

    def _due(self) -> bool:
        paused = self._proposed_at is not None and time.monotonic() - self._proposed_at < self.pace.pause_s
        fresh = len(self._waiting) + (self._tuner.fresh if self._tuner is not None else 0)
        if paused or fresh < self.pace.enough or len(self._held) < self.pace.held:
            return False
        return self._loaded()

    def _loaded(self) -> bool:
        """Whether the libraries are there. They take seconds to import, so that happens on a thread; models are loaded
        between slices, since transformers changes torch for all threads meanwhile."""
        if self._library is None:
            pool = ThreadPoolExecutor(1, "load-tuner")
            self._library = pool.submit(_import)
            pool.shutdown(wait=False)
        if self._library.done():
            self._library.result()
            return True
        return False

    def _one_round(self) -> Generator[None, None, None]:
        """All pairs that are new as it begins once, with old ones beside them; then the verdict. What comes meanwhile
        is the next one's: where pairs come faster than they are learnt, a round would not end. Yields between slices.
        """
        tuner = self._tuner or self._load()
        yield
        tuner.take(self._waiting)
        self._waiting.clear()
        left = tuner.fresh
        while left > 0:
            before = tuner.fresh
            if not tuner.step():
                break
            left -= max(1, before - tuner.fresh)  # an erasure may have taken some, too
            yield
        self.rounds += 1
        adapter = tuner.snapshot()
        candidate = TextEncoder(self._path, self._device, adapter)
        yield
        if self._judge is None or self._judge.encoder_id != adapted_id(self._base, self._serving):
            self._judge = TextEncoder(self._path, self._device, self._serving)
            yield
        held = list(self._held)
        random = np.random.default_rng([self._seed, self.rounds])
        others = list(self._pairs.texts.values())
        drawn = [others[at] for at in random.integers(len(others), size=self.pace.drawn)] if others else []
        ours = yield from _places(candidate, held, drawn)
        theirs = yield from _places(self._judge, held, drawn)
        metrics = _figures("", ours) | _figures("serving_", theirs)
        metrics |= {"held_pairs": len(held), "steps": tuner.steps, "loss": tuner.loss}
        better = beats(ours, theirs)
        log.info("tuning.judged", better=better, **metrics)
        if better:
            meta = {"base": self._base, "rank": self._rates.rank, "alpha": self._rates.alpha, "steps": tuner.steps}
            self._proposal = Proposal(adapter, meta, metrics)

    def _load(self) -> EncoderTuner:
        def told(line: str) -> None:
            log.warning("tuning.memory", why=line)

        try:
            tuner = EncoderTuner(self._path, self._device, self._rates, self._seed, self._serving or None, told)
        except AdapterMisfit as error:
            log.warning("tuning.begins_anew", why=str(error))
            tuner = EncoderTuner(self._path, self._device, self._rates, self._seed, None, told)
        if self._saved is not None:
            try:
                tuner.restore(self._saved)
            except ValueError as error:
                log.warning("tuning.begins_anew", why=str(error))
            self._saved = None
        self._tuner = tuner
        return tuner

    def proposal(self) -> Proposal | None:
        """A candidate that proved better than what serves, once. Published, it is named to `serve`."""
        found, self._proposal = self._proposal, None
        if found is not None:
            self._proposed_at = time.monotonic()
        return found

    # checkpoints
    # ---------------------------------------------------------------------------------------------------------
    def dump(self) -> Arrays:
        """All that a later term needs to go on. Pairs that are in the middle of a round count as learnt from."""
        if not self.active:
            return {}
        state = {
            "held": [astuple(pair) for pair in self._held],
            "waiting": [astuple(pair) for pair in self._waiting],
            "users": list(self._pairs.users.items()),
        }
        tuner = self._tuner.dump() if self._tuner is not None else self._saved or {}
        return {**tuner, "lane": np.frombuffer(json.dumps(state).encode(), np.uint8)}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Goes on from `dump`. What cannot be made out is left, with a warning."""
        if not self.active or "lane" not in arrays:
            return
        try:
            state = json.loads(arrays["lane"].tobytes())
            held, waiting = ([Pair(*one) for one in state[name]] for name in ("held", "waiting"))
            users = OrderedDict((user, [last, words, when]) for user, (last, words, when) in state["users"])
        except (KeyError, TypeError, ValueError) as error:
            log.warning("tuning.begins_anew", why=repr(error))
            return
        self._held, self._waiting = deque(held), deque(waiting, self._rates.fresh)
        self._pairs.users = users
        self._saved = {name: array for name, array in arrays.items() if name != "lane"} or None


def _import() -> None:
    load_library()
    import peft  # noqa: F401


def beats(ours: Doubles, theirs: Doubles) -> bool:
    """Whether places float64[n] of the same pairs are better than chance explains: no fewer partners within CUTOFF, and
    a mean reciprocal rank that is greater at the 5% level (paired, one-sided). Without that, every second candidate
    that learnt nothing would have the whole catalogue encoded again."""
    if len(ours) < 2 or (ours <= CUTOFF).sum() < (theirs <= CUTOFF).sum():
        return False
    gain = 1 / ours - 1 / theirs
    return bool(gain.mean() > _SURE * gain.std(ddof=1) / np.sqrt(len(gain)))


def _figures(name: str, places: Doubles) -> dict[str, float]:
    if not len(places):
        return {}
    return {
        f"{name}recall_at_{CUTOFF}": float((places <= CUTOFF).mean()),
        f"{name}mrr": float((1 / places).mean()),
    }


def _places(encoder: TextEncoder, held: Sequence[Pair], drawn: Sequence[str]) -> Generator[None, None, Doubles]:
    """float64[held]: the place of each partner, from 1, among all partners and what was drawn; equal scores count
    against it. A text that was asked with is no candidate. Yields after each block of texts."""
    texts, asked = sorted({*(pair.text for pair in held), *drawn}), sorted({pair.said for pair in held})
    of_texts = yield from _encoded(encoder, texts)
    of_asked = yield from _encoded(encoder, asked)
    row, line = ({text: at for at, text in enumerate(some)} for some in (texts, asked))
    places = []
    for pair in held:
        scores = of_texts @ of_asked[line[pair.said]]
        own = scores[row[pair.text]]
        if pair.said in row:
            scores[row[pair.said]] = -np.inf
        places.append(max(1, int((scores >= own).sum())))
    return np.array(places, np.float64)


def _encoded(encoder: TextEncoder, texts: Sequence[str]) -> Generator[None, None, npt.NDArray[np.float32]]:
    """What `encoder.encode` gives, yielding after each forward pass."""
    out = np.zeros((len(texts), encoder.dim), np.float32)
    tokens = encoder.tokens(texts)
    buckets: dict[int, list[int]] = {}
    for at, one in enumerate(tokens):
        buckets.setdefault(encoder.bucket(one), []).append(at)
    for rows in buckets.values():
        for at in range(0, len(rows), BLOCK):
            some = rows[at : at + BLOCK]
            out[some] = encoder.encode_block([tokens[row] for row in some])
            yield
    return out
