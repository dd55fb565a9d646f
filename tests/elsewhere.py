"""Another device than the processor, where there is none: what is on it says so, and does not mix with what is not.

Tensors of the device "meta" hold no numbers; these do, on the processor, and pretend. An operation on a tensor from
there and one from here fails as it would on a GPU, but for copies, numbers (tensors without dimensions), and empty
ones. So a test that trains or scores in such a place finds what was left behind, and gets what the processor gets. What
it can't find is what a GPU computes otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = "meta"
_COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class MixedDevices(RuntimeError):  # noqa: N818
    """An operation on tensors of two devices."""


class Elsewhere(torch.Tensor):
    """A tensor whose numbers are in `held`, which only `_run` looks at."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Elsewhere:
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE,
        )  # type: ignore[attr-defined]  # fmt: skip
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    there = any(isinstance(one, Elsewhere) for one in given)
    if there and func not in _COPIES:
        here = [tuple(one.shape) for one in given if not isinstance(one, Elsewhere) and one.ndim and one.numel()]
        if here:
            raise MixedDevices(f"{func}: of shape {here}, and on the processor")
    asked = kwargs.get("device")
    if asked is not None:
        there = torch.device(asked).type == DEVICE
        kwargs = {**kwargs, "device": "cpu"}
    elif func is torch.ops.aten.copy_.default:
        there = isinstance(args[0], Elsewhere)

    def plain(tree: Any) -> Any:
        return tree_map_only(Elsewhere, lambda one: one.held, tree)

    found = func(*plain(args), **plain(kwargs))
    if not there:
        return found
    found = tree_map_only(torch.Tensor, Elsewhere, found)
    return return_and_correct_aliasing(func, args, kwargs, found)


@contextmanager
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Gives the name of the device. Within, nothing is computed in mixed precision."""
    real: Callable[..., Any] = torch.autocast

    def autocast(device: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device == DEVICE else real(device, *args, **kwargs)

    with monkeypatch.context() as patch, _Mode():
        patch.setattr(torch, "autocast", autocast)
        patch.setattr(torch, "inference_mode", torch.no_grad)  # which such tensors cannot be made in
        yield DEVICE
