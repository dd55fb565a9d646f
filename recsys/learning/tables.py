"""Tables: what a model holds of each item, a row each, and the steps of its optimiser on a few rows.

A step that sees some thousand items of a large catalogue has no gradient for the others. AdamW (Loshchilov & Hutter
2019) would go through all rows nevertheless; here only those that were seen move, as in torch's SparseAdam, and the
weight decay of all is gathered and applied now and then. The state is AdamW's own, so that a catalogue that grows
takes it along.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


def step_on_rows(
    optimiser: torch.optim.Optimizer, table: torch.nn.Parameter, rows: torch.Tensor, gradient: torch.Tensor, rate: float
) -> None:
    """Adam on rows int64[r], distinct, of `table` [n, ...], with their gradient [r, ...]; no weight decay."""
    held: dict[str, Any] = optimiser.state[table]
    if "exp_avg_sq" not in held:
        held.update(step=torch.tensor(0.0), exp_avg=torch.zeros_like(table), exp_avg_sq=torch.zeros_like(table))
    held["step"] += 1
    steps = float(held["step"])
    mean = held["exp_avg"][rows].lerp_(gradient, 1 - _BETAS[0])
    square = held["exp_avg_sq"][rows].mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
    held["exp_avg"][rows], held["exp_avg_sq"][rows] = mean, square
    size = rate / (1 - _BETAS[0] ** steps)
    scale = square.sqrt_().div_(math.sqrt(1 - _BETAS[1] ** steps)).add_(_EPSILON)
    with torch.no_grad():
        table[rows] = table[rows].addcdiv_(mean, scale, value=-size)


def rows_of(table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """`table[rows]` for `table` float[n, D] or float[n] and rows int64[...]. The gradient is gathered a row at a time,
    so that its last bits do not hang on the number of threads, as those of plain indexing do."""
    flat = table.dim() == 1
    found = torch.nn.functional.embedding(rows, table[:, None] if flat else table)
    return found[..., 0] if flat else found


def grow(module: torch.nn.Module, name: str, room: int, optimiser: torch.optim.Optimizer) -> None:
    """Gives the parameter `name` so many rows; new ones are zero, and what was learnt of the known ones stays, in the
    optimiser too. Where memory ends, nothing has changed."""
    old: torch.nn.Parameter = getattr(module, name)
    if len(old) >= room:
        return
    blank = torch.zeros(room - len(old), *old.shape[1:], device=old.device)
    new = torch.nn.Parameter(torch.cat([old.data, blank]))
    held = optimiser.state.get(old)
    grown = {k: torch.cat([v, blank]) if v.shape == old.shape else v for k, v in held.items()} if held else None
    setattr(module, name, new)
    for group in optimiser.param_groups:
        group["params"] = [new if one is old else one for one in group["params"]]
    optimiser.state.pop(old, None)
    if grown is not None:
        optimiser.state[new] = grown


def carry_over(
    before: torch.optim.Optimizer, was: Mapping[str, torch.nn.Parameter], after: torch.optim.Optimizer,
    now: Mapping[str, torch.nn.Parameter],
) -> None:  # fmt: skip
    """Gives `after` what `before` held of the parameters of the same names, where those are now; counts of steps stay
    on the CPU, as torch has them."""
    held = {name: before.state.get(parameter) for name, parameter in was.items()}
    for name, parameter in now.items():
        state = held[name]
        if state:
            after.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in state.items()}


def mend(optimiser: torch.optim.Optimizer, parameters: Iterable[torch.nn.Parameter]) -> None:
    """After a step that was broken off for want of memory: no gradient is kept, and no state that is half made."""
    for parameter in parameters:
        parameter.grad = None
        if "exp_avg_sq" not in optimiser.state.get(parameter, {"exp_avg_sq": None}):
            del optimiser.state[parameter]
