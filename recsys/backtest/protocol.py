"""Protocol: every interaction after the cut is first predicted, then fed ("successive", or prequential).

    all events, sorted by ts (stable)
    |------------ train ------------|cut|-- predict block, learn block, predict block, learn block ... --|

In: a log, policies, and how much they may learn after the cut. Out: for each block what each policy would have shown.
A block is `refresh` events long. What the user did earlier counts at once, also inside the block; what is counted over
all users, and models, are as of the block's start, as live, where they arrive about a second late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.backtest.log import Block, Blocks, Log

Timer = Callable[[str, str], None]
"""Told (policy, what it has just done: "train", "predict" or "learn"); it may measure, and cannot change anything."""


class Learning(Enum):
    """What goes on being learnt after the cut."""

    ALL = "all"
    STATISTICS = "statistics"
    NONE = "none"


@dataclass(slots=True)
class Predicted:
    """What the users of m interactions would have been shown.

    top     int64[m, k] item rows, best first, -1 padded behind. Among equal scores the item that was then chosen
            stands last
    rank    int64[m]: place of that item in the whole catalogue or in the slate, from 1; 0: not ranked, or unknown
    stages  by name int8[m]: whether that item was still in the running after a stage; -1: not looked at
    aside   whatever else the report should show
    """

    top: NDArray[np.int64]
    rank: NDArray[np.int64]
    stages: dict[str, NDArray[np.int8]] = field(default_factory=dict)
    aside: dict[str, Any] = field(default_factory=dict)


class BacktestPolicy(Protocol):
    """A recommender under test. It can be pickled between two blocks, so that an interrupted run goes on.

    `frozen`: nothing in it changes after `train`.
    """

    name: str
    frozen: bool

    def train(self, blocks: Blocks) -> None:
        """Takes in all that lies before the cut; may go through `blocks` several times, in any block size."""

    def predict(self, block: Block, k: int) -> Predicted:
        """What each interaction's user would have been shown just before it."""

    def learn(self, block: Block, learning: Learning) -> None:
        """Takes in a block that was predicted. What a user did counts at any `learning`."""


def cut_at(events: int, split: float) -> int:
    """The place of the first event that is predicted. Raises ValueError where nothing is before or after it."""
    if not 0 < split < 1:
        raise ValueError(f"--split {split}: expected a share between 0 and 1, such as 0.9")
    cut = int(np.floor(split * events))
    if cut == 0 or cut >= events:
        raise ValueError(
            f"--split {split} of {events} events leaves {'nothing to train on' if cut == 0 else 'nothing to predict'}: "
            "give more events or another share"
        )
    return cut


def successive(
    log: Log,
    policies: Sequence[BacktestPolicy],
    start: int,
    k: int,
    refresh: int = 64,
    learning: Learning = Learning.ALL,
    timer: Timer = lambda policy, done: None,
) -> Iterator[tuple[Block, Mapping[str, Predicted]]]:
    """Each block from place `start` on, with what each trained policy predicted; the policies have learnt from a block
    once the next one is asked for."""
    for block in log.blocks(start, len(log), refresh):
        found = {}
        for policy in policies:
            if len(block.interactions):
                found[policy.name] = policy.predict(block, k)
                timer(policy.name, "predict")
        for policy in policies:
            policy.learn(block, learning)
            timer(policy.name, "learn")
        yield block, found
