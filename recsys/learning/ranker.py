"""Ranker lane: the additive ranker's weights, learnt from what users chose among their candidates.

In: choices as arrays (`recsys.learning.moments`). Out: weights float32[G, F] for `recsys.rank.AdditiveRanker`.

The loss is the softmax cross-entropy of the chosen item among the whole catalogue (a conditional logit, McFadden
1974): what was retrieved counts as it is, a drawn item for all that it stands for. Steps of some choices are taken with
Adagrad (Duchi, Hazan & Singer 2011), so that a weight that is rarely moved takes long steps. Features are scaled by
their spread among candidates, measured on the first choices; a weak pull draws weights towards the prior, and one step
moves none by more than `most`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from recsys.features import CONTEXT, FEATURES
from recsys.learning.moments import Choices
from recsys.rank import prior_weights

Doubles = npt.NDArray[np.float64]
STEP = 16
"""Choices a step."""
_MEASURED = 512  # choices on which the spread is measured before the first step


@dataclass(slots=True)
class RankerLearner:
    """`weights` float64[G, F] move with each `learn`. `rate` is Adagrad's, in standard deviations of a feature."""

    rate: float = 0.15
    pull: float = 1e-5
    most: float = 0.5
    weights: Doubles = field(default_factory=lambda: prior_weights().astype(np.float64))
    squares: Doubles = field(default_factory=lambda: np.full((len(CONTEXT), len(FEATURES)), 0.1))
    spread: Doubles = field(default_factory=lambda: np.zeros(len(FEATURES)))
    measured: int = 0
    choices: int = 0
    loss: float = 0.0
    """Mean cross-entropy, in nats, of the latest choices before they were learnt from; decays over about 1,000."""
    _waiting: list[Choices] = field(default_factory=list)

    def learn(self, choices: Choices) -> None:
        """Takes in B choices, in order."""
        if not len(choices.target):
            return
        if self.measured < _MEASURED:
            self._measure(choices)
            return
        self._step_through(choices)

    def _measure(self, choices: Choices) -> None:
        """The first choices only tell how far features spread; then they are learnt from."""
        x = np.where(choices.there[:, :, None], choices.x, np.nan)
        self.spread += np.nan_to_num(np.nanvar(x, axis=1)).sum(axis=0)
        self.measured += len(choices.target)
        self._waiting.append(choices)
        if self.measured >= _MEASURED:
            spread = np.sqrt(self.spread / self.measured)
            self.spread = np.where(spread > 1e-4, np.maximum(spread, 0.02), 0)
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                self._step_through(one)

    def _step_through(self, choices: Choices) -> None:
        for at in range(0, len(choices.target), STEP):
            some = slice(at, at + STEP)
            there, many = choices.there[some], choices.many[some]
            self._step(choices.x[some], choices.context[some], there, many, choices.target[some])

    def _step(
        self,
        x: npt.NDArray[np.float32],
        context: npt.NDArray[np.float32],
        there: npt.NDArray[np.bool_],
        many: npt.NDArray[np.float32],
        target: npt.NDArray[np.int64],
    ) -> None:
        if not np.isfinite(x).all():
            return
        mine = context @ self.weights
        scores = np.where(there, np.einsum("bcf,bf->bc", x, mine) + many, -np.inf)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        line = np.arange(len(target))
        self._note(-np.log(np.maximum(odds[line, target], 1e-12)))
        missed = x[line, target] - np.einsum("bcf,bc->bf", np.where(there[:, :, None], x, 0), odds)
        uphill = context.T.astype(np.float64) @ (missed * self.spread) / STEP
        uphill -= self.pull * (self.weights - prior_weights()) * self.spread
        if not np.isfinite(uphill).all():
            return
        self.squares += uphill**2
        moved = np.clip(self.rate * uphill / np.sqrt(self.squares), -self.most, self.most)
        used = self.spread > 0
        self.weights[:, used] += moved[:, used] / np.maximum(self.spread[used], 0.02)

    def _note(self, losses: Doubles) -> None:
        self.choices += len(losses)
        share = max(1 / 1000, 1 / max(1, self.choices / len(losses))) if self.choices < 1000 else len(losses) / 1000
        self.loss += min(1.0, share) * (float(losses.mean()) - self.loss)

    def snapshot(self) -> npt.NDArray[np.float32]:
        """float32[G, F]: the weights as they are served."""
        return self.weights.astype(np.float32)
