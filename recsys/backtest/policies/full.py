"""Full: the system itself, by the step that runs live, with its users and its statistics lane in memory.

Before each interaction a `request` of its user is put into the log, and its answer is the prediction. Rankings that
interactions trigger are switched off, and so is exploration: what is measured is what the system holds best. Counts
over all users become a World once a block, as live they do about once a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.actions import code_weights
from recsys.backtest.items import ItemTable
from recsys.backtest.log import Block, Blocks, Interactions
from recsys.backtest.protocol import Learning, Predicted
from recsys.counting import Counts, Limits
from recsys.learning.moments import choices_of, moments_of
from recsys.learning.ranker import RankerLearner
from recsys.learning.sequence import SequenceLearner
from recsys.policy import Policy
from recsys.priors import Shelf
from recsys.query import Query, block_of
from recsys.rank import AdditiveRanker, Ranker
from recsys.recommend import BLOCK
from recsys.retrieve import SOURCES, retrieve, search
from recsys.sequence import SequenceModel
from recsys.statistics import Statistics
from recsys.step import Incoming, Message, step
from recsys.user import HISTORY, RECENT, User
from recsys.world import World
from schemas.events import Event, Interaction, Request

Encode = Callable[[str], NDArray[np.float32]]
_BULK = 4096
_SEQUENCE_EVERY = 1000
"""Interactions between two updates of the sequence model."""
_TAUGHT = 100_000
"""Events before the cut, at most, from which the ranker learns; and at most a third of them."""
_LOOKED_AT = 4
"""Every so many blocks the candidates are looked at too: it costs as much as a third of the step."""
_KEPT = HISTORY + RECENT


class Full:
    """Headwater as it runs. `encode` is the encoder's, for what users say; None without one."""

    name = "full"
    frozen = False

    def __init__(self, items: ItemTable, policy: Policy | None = None, encode: Encode | None = None) -> None:
        self._items = items
        self._encode = encode
        self.policy = (policy or Policy()).model_copy(update={"exploration": 0.0, "ranking_actions": frozenset()})
        self.users: dict[str, User] = {}
        # a log that is over is sorted by its own time, and all of its users can come back
        self.counts = Counts(self.policy, Limits(users=2_000_000, event_ids=2, items=max(1_000_000, 2 * len(items))))
        self._shelf: Shelf | None = None
        self._world: World | None = None
        self._blocks = 0
        self.learner = RankerLearner()
        self.sequence: SequenceLearner | None = None
        self.epochs_trained = 0
        """Of the sequence model."""
        self._model: SequenceModel | None = None
        self._unlearnt = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_world": None, "_statistics": self.world.statistics}

    def __setstate__(self, state: dict[str, Any]) -> None:
        statistics = state.pop("_statistics")
        self.__dict__.update(state)
        self._world = self._bare().advanced(statistics=statistics)

    @property
    def world(self) -> World:
        if self._world is None:
            self._world = self._bare()
        return self._world

    def _bare(self) -> World:
        """Catalogue and index, nothing counted."""
        vectors = self._items.vectors
        dim = 0 if vectors is None else vectors.shape[1]
        pairs = [] if vectors is None else list(zip(self._items.ids, vectors, strict=True))
        return World.empty(dim, self._encode).advanced(self._items.items, pairs).settled()

    # the verbs -------------------------------------------------------------------------------------------------
    def train(self, blocks: Blocks) -> None:
        taught = blocks.stop - min(_TAUGHT, (blocks.stop - blocks.start) // 3)
        for block in blocks.between(blocks.start, taught).of(_BULK):
            self._take(block.events, ())
            self._count(block.events)
            self._visit(block.interactions)
        if self.sequence is not None:
            self.sequence.fit(lambda epoch, _: setattr(self, "epochs_trained", epoch + 1))
            self._model = self.sequence.snapshot()
        self._publish()
        for block in blocks.between(taught, blocks.stop):
            self._teach(block, self.users)
            self._take(block.events, ())
            self._count(block.events)
            self._publish()

    def predict(self, block: Block, k: int) -> Predicted:
        interactions = block.interactions
        looked_at = self._blocks % _LOOKED_AT == 0
        self._before = before = dict(self.users)
        answers = self._take(block.events, interactions.place.tolist(), interactions, k)
        top = np.full((len(interactions), k), -1, np.int64)
        rank = np.zeros(len(interactions), np.int64)
        for line, answer in enumerate(answers):
            rows, scores = self._shown(answer)
            true = int(interactions.row[line])
            if true in rows:
                # equal scores count against us, as in `ranked`
                at = rows.index(true)
                behind = at
                while behind + 1 < len(rows) and scores[behind + 1] == scores[at]:
                    behind += 1
                rows.insert(behind, rows.pop(at))
                rank[line] = behind + 1
            top[line, : len(rows)] = rows[:k]
        stages = self._stages(block, before) if looked_at else self._no_stages(len(interactions))
        stages["slate"] = np.where(stages["candidates"] < 0, -1, (rank > 0).astype(np.int8)).astype(np.int8)
        return Predicted(top, rank, stages)

    def learn(self, block: Block, learning: Learning) -> None:
        if not len(block.interactions):
            self._take(block.events, ())  # nothing was predicted, so nothing was folded yet
        self._blocks += 1
        if learning is Learning.ALL:
            self._teach(block, self._before)
        if learning is not Learning.NONE:
            self._count(block.events)
            self._publish()

    # parts -----------------------------------------------------------------------------------------------------
    def _take(
        self, events: Sequence[Event], asked: Sequence[int], interactions: Interactions | None = None, k: int = 10
    ) -> list[Message]:
        """Folds the events, and answers a request right before each of the places `asked`, in that order."""
        batch: list[Incoming] = []
        answers: dict[int, int] = {}  # place in the batch -> line
        line = 0
        for place, event in enumerate(events):
            if line < len(asked) and asked[line] == place:
                assert interactions is not None
                answers[len(batch)] = line
                batch.append(Incoming(self._request(event, interactions, line, k), 0, place))
                line += 1
            batch.append(Incoming(event, 0, place))
        result = step(self.world, self.users, batch, self.policy)
        for user_id, user in result.users.items():
            if user is None:
                self.users.pop(user_id, None)
            else:
                user.open = ()  # nobody waits for labels here
                self.users[user_id] = user
        found = [m for m in result.messages if m.topic == "recommendations" and m.source in answers]
        return sorted(found, key=lambda m: answers[m.source])

    def _request(self, event: Event, interactions: Interactions, line: int, k: int) -> Request:
        exclude: list[str] = []
        if interactions.user_before[line] > _KEPT:  # more than a User remembers
            seen = interactions.seen[interactions.seen_start[line] : interactions.seen_start[line + 1] - RECENT]
            exclude = [self._items.ids[row] for row in np.unique(seen[seen >= 0]).tolist()]
        return Request.model_construct(
            event_id=f"?{event.event_id}", type="request", user_id=event.user_id, ts=event.ts,
            session_id=event.session_id, k=k, exclude=exclude,
        )  # fmt: skip

    def _shown(self, answer: Message) -> tuple[list[int], list[float]]:
        items = answer.value["items"]
        row_of = self._items.row_of
        return [row_of[item["item_id"]] for item in items], [item["score"] for item in items]

    def _visit(self, interactions: Interactions) -> None:
        """The sequence lane takes in whom what was turned to."""
        if self.sequence is None and self._items.vectors is not None:
            self.sequence = SequenceLearner(self._items.keys, self.world.dense.vectors(slice(len(self._items))))
        if self.sequence is not None:
            kept = (interactions.row >= 0) & (interactions.weight > 0)
            i = interactions
            self.sequence.take(i.user[kept], i.row[kept], i.ts[kept] // 1000, i.weight[kept])

    def _teach(self, block: Block, users: Mapping[str, User]) -> None:
        """The ranker learns from what was chosen, by what was known before it; the sequence model every so often."""
        moments = moments_of(self.world, users, block.events, self.policy)
        self._visit(block.interactions)
        self._unlearnt += len(block.interactions)
        if self.sequence is not None and self._unlearnt >= _SEQUENCE_EVERY:
            self._unlearnt = 0
            self.sequence.update()
            self._model = self.sequence.snapshot()
        seed = self.counts.events
        for choices in choices_of(self.world, moments, self.policy, code_weights(self.policy), seed):
            self.learner.learn(choices)

    def _count(self, events: Sequence[Event]) -> None:
        self.counts.learn(events, [event.ts for event in events])

    def _publish(self) -> None:
        if self._shelf is None:
            self._shelf = _shelf_of(self._items)
        tallies = self.counts.tallies(self._shelf)
        world = self.world.advanced(statistics=Statistics.of(tallies, f"{self.counts.events}"))
        self._world = replace(
            world, ranker=Ranker("cpu", AdditiveRanker(self.learner.snapshot())), sequence=self._model
        )

    def _stages(self, block: Block, before: dict[str, User]) -> dict[str, NDArray[np.int8]]:
        """Whether the item chosen was among the candidates, and which retriever was the first to name it."""
        interactions, events = block.interactions, block.events
        stages = self._no_stages(len(interactions))
        weights = code_weights(self.policy)
        lines = np.flatnonzero(~interactions.repeat & interactions.known)
        # a user's later interactions of the block rest on the earlier ones; only the first of each is looked at
        users = interactions.user[lines]
        lines = lines[np.sort(np.unique(users, return_index=True)[1])]
        first = [line for line in lines.tolist() if not _was_there(interactions, line)]
        for at in range(0, len(first), BLOCK):
            some = first[at : at + BLOCK]
            queries = []
            for line in some:
                event = events[int(interactions.place[line])]
                assert isinstance(event, Interaction)
                user = before.get(event.user_id) or User.new(event.user_id)
                queries.append(Query(line, user, f"?{event.event_id}", "request", event.ts))
            asked = block_of(self.world, queries, self.policy, weights)
            found = retrieve(self.world, asked, search(self.world, asked, self.policy), self.policy)
            hits = found.rows == interactions.row[some][:, None]
            stages["candidates"][some] = hits.any(axis=1)
            source = np.take_along_axis(found.sources, hits.argmax(axis=1)[:, None], 1)[:, 0]
            for code, name in enumerate(SOURCES):
                stages[f"by {name}"][some] = hits.any(axis=1) & (source == code)
        return stages

    def _no_stages(self, m: int) -> dict[str, NDArray[np.int8]]:
        return {name: np.full(m, -1, np.int8) for name in (*(f"by {s}" for s in SOURCES), "candidates", "slate")}


def _was_there(interactions: Interactions, line: int) -> bool:
    """Whether the user has an earlier interaction within the block."""
    return bool((interactions.user[:line] == interactions.user[line]).any())


def _shelf_of(items: ItemTable) -> Shelf:
    shelf = Shelf()
    for item in items.items:
        shelf.place(item)
    return shelf
