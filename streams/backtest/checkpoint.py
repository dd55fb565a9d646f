"""Checkpoint: what an interrupted backtest needs to go on and come to the same figures.

In: the policies between two blocks. Out: files that are whole or not there.

    trained-<policy>.pickle   after its training
    checkpoint.pickle         now and then after the cut: the policies that still learn, the next block, times

A crash before the first checkpoint starts after the last policy that was trained; one after it goes on at its block:
results behind it are written again, to the same bytes. The item table and the encoder stay out of the files; both are
made anew from the same inputs, which the checkpoint names (`made_of`).
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Checkpoints:
    """The files of one backtest. `shared`: objects that all policies refer to and no file should hold."""

    def __init__(self, folder: Path, made_of: Any, shared: Mapping[str, Any]) -> None:
        self._folder, self._made_of, self._shared = folder, made_of, dict(shared)
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, name: str, state: Any) -> None:
        """Raises OSError where the disk is full."""
        path = self._folder / f"{name}.pickle"
        partial = path.with_suffix(".new")
        with partial.open("wb") as file:
            _Pickler(file, self._shared).dump((self._made_of, state))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)

    def load(self, name: str) -> Any:
        """What was saved of the same inputs; None where there is nothing, or nothing that fits."""
        try:
            with (self._folder / f"{name}.pickle").open("rb") as file:
                made_of, state = _Unpickler(file, self._shared).load()
        except FileNotFoundError:
            return None
        except Exception:  # of another version, or damaged: whatever it is, the work can be done again
            return None
        return state if made_of == self._made_of else None


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BufferedWriter, shared: dict[str, Any]) -> None:
        super().__init__(file, protocol=5)
        self._names = {id(one): name for name, one in shared.items() if one is not None}

    def persistent_id(self, one: Any) -> str | None:
        return self._names.get(id(one))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BufferedReader, shared: dict[str, Any]) -> None:
        super().__init__(file)
        self._shared = shared

    def persistent_load(self, name: Any) -> Any:
        return self._shared[name]
