"""Ranker lane: the additive ranker's weights, learnt from what users chose among their candidates.

In: choices as arrays (`recsys.learning.moments`). Out: weights float32[G, F] for `recsys.rank.AdditiveRanker`.

The loss is the softmax cross-entropy of the chosen item among the whole catalogue (a conditional logit, McFadden
1974): what was retrieved counts as it is, a drawn item for all that it stands for. Steps of some choices are taken with
Adagrad (Duchi, Hazan & Singer 2011), so that a weight that is rarely moved takes long steps. Features are scaled by
their spread among candidates, measured on the first choices; a weak pull draws weights towards the prior, and one step
moves none by more than `most`.

Where choices are from a slate, what stood further up was looked at more often: a bias of each place is learnt beside
the weights and added to the scores in training alone (an additive position model, as PAL of Guo and others 2019), so
that weights do not learn to repeat the order that was shown. What was turned down moves the other way, by the log of
one minus its chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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
    places: Doubles = field(default_factory=lambda: np.zeros(101))
    """The bias of each place of a slate, from 1; places[0], of what was no slate, stays 0."""
    place_squares: Doubles = field(default_factory=lambda: np.full(101, 0.1))
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
        for at in range(0, len(choices), STEP):
            self._step(choices.of(slice(at, at + STEP)))

    def _step(self, choices: Choices) -> None:
        x, there, target = choices.x, choices.there, choices.target
        if not np.isfinite(x).all():
            return
        mine = choices.context @ self.weights
        scores = np.einsum("bcf,bf->bc", x, mine) + choices.many
        if choices.position is not None:
            scores += self.places[choices.position]
        odds = _odds(scores, there)
        line = np.arange(len(target))
        self._note(-np.log(np.maximum(odds[line, target], 1e-12)))
        # uphill in the log of the chance of what was chosen; of one minus it, where that was turned down
        pull = np.ones(len(target)) if choices.weight is None else choices.weight.astype(np.float64)
        chance = np.minimum(odds[line, target], 0.9)
        pull = np.where(pull < 0, pull * chance / (1 - chance), pull)
        missed = x[line, target] - np.einsum("bcf,bc->bf", np.where(there[:, :, None], x, 0), odds)
        missed *= pull[:, None]
        uphill = choices.context.T.astype(np.float64) @ (missed * self.spread) / STEP
        uphill -= self.pull * (self.weights - prior_weights()) * self.spread
        if not np.isfinite(uphill).all():
            return
        self.squares += uphill**2
        moved = np.clip(self.rate * uphill / np.sqrt(self.squares), -self.most, self.most)
        used = self.spread > 0
        self.weights[:, used] += moved[:, used] / np.maximum(self.spread[used], 0.02)
        if choices.position is not None:
            self._place(choices.position, odds, pull, target)

    def _place(
        self, position: npt.NDArray[np.int64], odds: Doubles, pull: Doubles, target: npt.NDArray[np.int64]
    ) -> None:
        uphill: Doubles = -np.bincount(position.ravel(), (odds * pull[:, None]).ravel(), len(self.places)).astype(float)
        uphill += np.bincount(position[np.arange(len(target)), target], pull, len(self.places))
        uphill[0] = 0
        uphill /= STEP
        self.place_squares += uphill**2
        self.places += self.rate * uphill / np.sqrt(self.place_squares)
        self.places[1:] -= self.places[1]  # only differences count

    def _note(self, losses: Doubles) -> None:
        self.choices += len(losses)
        share = max(1 / 1000, 1 / max(1, self.choices / len(losses))) if self.choices < 1000 else len(losses) / 1000
        self.loss += min(1.0, share) * (float(losses.mean()) - self.loss)

    def snapshot(self) -> npt.NDArray[np.float32]:
        """float32[G, F]: the weights as they are served."""
        return self.weights.astype(np.float32)

    def adopt(self, weights: npt.NDArray[np.float32]) -> None:
        """Goes on from weights that are served."""
        self.weights = weights.astype(np.float64)

    def reset(self) -> None:
        """Forgets how far it went, and where it was going; weights stay."""
        self.squares = np.full_like(self.squares, 0.1)
        self.places, self.place_squares = np.zeros_like(self.places), np.full_like(self.place_squares, 0.1)

    def dump(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """(arrays, the rest as JSON knows it)."""
        arrays: dict[str, npt.NDArray[Any]] = {name: getattr(self, name) for name in _ARRAYS}
        for number, waiting in enumerate(self._waiting):
            held = {f"waiting.{number}.{name}": getattr(waiting, name) for name in Choices.__slots__}
            arrays |= {name: array for name, array in held.items() if array is not None}
        return arrays, {"measured": self.measured, "choices": self.choices, "loss": self.loss}

    @classmethod
    def restore(cls, arrays: dict[str, npt.NDArray[Any]], meta: dict[str, Any]) -> RankerLearner:
        """The learner that `dump` wrote down. Raises KeyError, ValueError where it is none of this feature table."""
        made = cls(measured=meta["measured"], choices=meta["choices"], loss=meta["loss"])
        for name in _ARRAYS:
            setattr(made, name, arrays[name].copy())
        if made.weights.shape != (len(CONTEXT), len(FEATURES)):
            raise ValueError(f"weights of another feature table: {made.weights.shape}")
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for name, array in arrays.items():
            if name.startswith("waiting."):
                _, number, part = name.split(".")
                parts.setdefault(number, {})[part] = array.copy()
        made._waiting = [Choices(**parts[number]) for number in sorted(parts, key=int)]
        return made


_ARRAYS = ("weights", "squares", "spread", "places", "place_squares")


def ranks_of(choices: Choices, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """float64[B]: the rank, from 1, that these weights give to what was chosen; equal scores count against it. A drawn
    item counts for all that it stands for."""
    scores = np.round(np.einsum("bcf,bf->bc", choices.x, choices.context @ weights), 5)
    scores = np.where(choices.there, scores, -np.inf)
    line = np.arange(len(choices))
    own = scores[line, choices.target]
    above = (scores >= own[:, None]) & choices.there
    above[line, choices.target] = False
    ranks: npt.NDArray[np.float64] = 1 + np.where(above, np.exp(choices.many), 0).sum(axis=1)
    return np.where(np.isfinite(own), ranks, np.inf)


def _odds(scores: Doubles, there: npt.NDArray[np.bool_]) -> Doubles:
    scores = np.where(there, scores, -np.inf)
    odds: Doubles = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)
