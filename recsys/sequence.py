"""Sequence model: what a user is likely to turn to next, from the order of what they turned to.

In: the rows of a user's latest liked items, oldest first. Out: a vector of the user, whose inner product with an item's
says how much likelier that item is than its popularity alone makes it.

The item side is an adapter on the frozen vector of the item's text plus a residual of the item's own that starts at
zero: a new item is placed by its words, one with a history by its behaviour. The user side is a gated recurrent unit
(Cho and others 2014; GRU4Rec, Hidasi and others 2016). The log of an item's recent popularity is added to its score
in training and in retrieval alike, so that the model spends itself on what popularity leaves open (the same correction
as logQ of Yi and others 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

LENGTH = 32
"""Latest items that are looked at."""
LENGTHS = (4, 8, 16, 32)
"""Lengths to which sequences are padded: each by its own, so that company changes no bit."""
ROWS = 8
"""Sequences computed together, padded: the shape that fixes the last bits."""
IDLES = 8
LEAST = 0.1
"""Weight that every item is given before the log of its popularity is taken."""
USER_SIDE = frozenset({"gru", "long", "short", "idle"})
"""Parts of `SequenceNet` that make a user's vector of items' vectors."""
_DAY_S = 86_400
_SCALE = 4.0  # unit vectors of texts have small entries
Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]


class SequenceNet(torch.nn.Module):
    """Weights of the model for `items` items with text vectors of `text` numbers; D = `dim`."""

    def __init__(self, items: int, text: int, dim: int = 64, dropout: float = 0.2) -> None:
        super().__init__()
        self.dim = dim
        self.adapter = torch.nn.Linear(text, dim, bias=False)
        self.into = torch.nn.Parameter(torch.zeros(items, dim))
        self.out = torch.nn.Parameter(torch.zeros(items, dim))
        self.bias = torch.nn.Parameter(torch.zeros(items))
        self.gru = torch.nn.GRU(dim, dim, batch_first=True)
        self.long = torch.nn.Linear(dim, dim)
        self.short = torch.nn.Linear(dim, dim)
        self.idle = torch.nn.Embedding(IDLES, dim)
        torch.nn.init.zeros_(self.idle.weight)
        self.drop = torch.nn.Dropout(dropout)

    def items(self, texts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(as input, as output), each float32[items, D], for text vectors float32[items, text]."""
        placed = self.placed(texts)
        return placed + self.into, placed + self.out

    def placed(self, texts: torch.Tensor) -> torch.Tensor:
        """float32[items, D]: where text vectors float32[items, text] alone place items."""
        found: torch.Tensor = self.adapter(texts) * _SCALE
        return found

    def users(self, seen: torch.Tensor, idle: torch.Tensor) -> torch.Tensor:
        """float32[b, n, D] after each item of sequences float32[b, n, D]; `idle` int64[b, n] as of `idle_of`."""
        seen = self.drop(seen)
        states, _ = self.gru(seen)
        found: torch.Tensor = self.long(self.drop(states)) + 0.5 * self.short(seen) + self.idle(idle)
        return found


def idle_of(seconds: Longs) -> Longs:
    """int64: the time since the last item in powers of two of days, 0 to IDLES - 1."""
    days = np.maximum(seconds, 0) / _DAY_S
    return np.clip(np.floor(np.log2(days + 1)), 0, IDLES - 1).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class SequenceModel:
    """A trained model as it is served.

    keys        uint64[n], sorted: items with a residual of their own
    into, out   float32[n, D]; bias float32[n]
    adapter     float32[D, text]
    """

    keys: npt.NDArray[np.uint64]
    into: Floats
    out: Floats
    bias: Floats
    adapter: Floats
    net: SequenceNet

    @property
    def dim(self) -> int:
        return self.net.dim

    def item_side(self) -> dict[str, npt.NDArray[Any]]:
        """What a release of role `adapter` carries."""
        return {"keys": self.keys, "into": self.into, "out": self.out, "bias": self.bias, "adapter": self.adapter}

    def user_side(self) -> dict[str, npt.NDArray[Any]]:
        """What a release of role `sequence` carries: the weights that make a user's vector."""
        state: Mapping[str, Any] = self.net.state_dict()
        return {name: value.numpy() for name, value in state.items() if name.partition(".")[0] in USER_SIDE}

    @classmethod
    def of_sides(cls, items: Mapping[str, npt.NDArray[Any]], users: Mapping[str, npt.NDArray[Any]]) -> SequenceModel:
        """The model of two releases. Raises KeyError, RuntimeError where they are none, or do not fit together."""
        adapter = np.asarray(items["adapter"], np.float32)
        net = SequenceNet(0, adapter.shape[1], adapter.shape[0], 0.0)
        state = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in users.items()}
        own = {name: value for name, value in net.state_dict().items() if name.partition(".")[0] not in USER_SIDE}
        net.load_state_dict({**own, **state, "adapter.weight": torch.from_numpy(adapter.copy())})
        tables = [np.asarray(items[name], np.float32) for name in ("into", "out", "bias")]
        return cls(items["keys"], tables[0], tables[1], tables[2], adapter, net.eval())

    @classmethod
    def of(cls, net: SequenceNet, keys: npt.NDArray[np.uint64]) -> SequenceModel:
        """A snapshot of `net`, on whatever device, whose items have these keys, in the order of its rows."""
        order = np.argsort(keys)
        state: Mapping[str, Any] = net.state_dict()
        # spare room of the tables stays out
        tables = [state[name].detach()[: len(keys)].cpu().numpy()[order] for name in ("into", "out", "bias")]
        user = SequenceNet(0, net.adapter.in_features, net.dim, 0.0)
        empty = {"into": user.into.data, "out": user.out.data, "bias": user.bias.data}
        own = {name: value.detach().cpu().clone() for name, value in state.items() if name not in empty}
        user.load_state_dict({**own, **empty})
        return cls(keys[order], tables[0], tables[1], tables[2], own["adapter.weight"].numpy(), user.eval())

    def with_users(self, users: Mapping[str, npt.NDArray[Any]]) -> SequenceModel:
        """The same items, the very same arrays, with another user side."""
        net = self.of_sides(self.item_side(), users).net
        return SequenceModel(self.keys, self.into, self.out, self.bias, self.adapter, net)

    def items(
        self, keys: npt.NDArray[np.uint64], texts: Floats, there: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """(as input [n, D], as output [n, D], bias [n]) of items with these keys and text vectors [n, text]. `there`
        bool[n]: which of them have a vector at all; None: all. An item's numbers are the same to the last bit whichever
        items stand beside it."""
        placed = self._placed(texts)
        if there is not None:
            placed[~there] = 0
        into, out, bias = placed.copy(), placed, np.zeros(len(keys), np.float32)
        if len(self.keys):
            at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            known = self.keys[at] == keys
            into[known] += self.into[at[known]]
            out[known] += self.out[at[known]]
            bias[known] = self.bias[at[known]]
        return into, out, bias

    def _placed(self, texts: Floats) -> Floats:
        """float32[n, D]: where its text alone places an item."""
        # an item at a time: in a product of all of them BLAS gives a row other last bits in another place
        placed: Floats = np.matmul(texts[:, None, :], self.adapter.T)[:, 0] * np.float32(_SCALE)
        return placed

    def users(self, into: Floats, rows: npt.NDArray[np.int32], idle_s: Longs) -> Floats:
        """float32[B, D] of users whose latest items are rows int32[B, LENGTH] of `into`, newest last, -1 in front;
        zeros for users without any. `idle_s` int64[B]: seconds since the newest."""
        out = np.zeros((len(rows), self.dim), np.float32)
        many = (rows >= 0).sum(axis=1)
        idle = idle_of(idle_s)
        least = 0
        for length in LENGTHS:
            mine = np.flatnonzero((many > least) & (many <= length))
            least = length
            for at in range(0, len(mine), ROWS):
                some = mine[at : at + ROWS]
                out[some] = self._block(into, rows[some, -length:], many[some], idle[some], length)
        return out

    def _block(self, into: Floats, rows: npt.NDArray[np.int32], many: Longs, idle: Longs, length: int) -> Floats:
        seen = np.zeros((ROWS, length, self.dim), np.float32)
        moment = np.zeros((ROWS, length), np.int64)
        for line, (own, n) in enumerate(zip(rows, many.tolist(), strict=True)):
            seen[line, :n] = into[own[own >= 0]]
            moment[line, n - 1] = idle[line]
        with torch.inference_mode():
            states = self.net.users(torch.from_numpy(seen), torch.from_numpy(moment)).numpy()
        found: Floats = states[np.arange(len(rows)), many - 1]
        return found
