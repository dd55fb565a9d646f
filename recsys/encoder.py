"""Encoder: the words of an item or of a query as a unit vector.

In: an Item or a text, and the folder of a transformers model; where the model was tuned, an adapter: the weights of a
LoRA (Hu and others 2022) as `recsys.learning.tuning` ships them. Out: float32 vectors for the dense index; a content
hash that tells whether an item has to be encoded again. A text's vector is the same to the last bit alone or in
company: each text is padded to the length of its own bucket and computed in a block of a fixed number of rows, because
matrix products of other shapes round differently.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b, file_digest
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.memory import goes_on
from schemas.items import Item

LENGTHS = (8, 16, 24, 32, 48, 64, 96, 128)
"""Tokens to which texts are padded; longer ones are cut off (the packaged model was trained on 128)."""
BLOCK = 32
"""Rows of a block of items; a query has a block of its own."""
DESCRIPTION = 500
ATTRIBUTES = 12
_VALUE = 60
_LOADING = Lock()
_RECIPE = b"headwater-1"  # pooling, lengths, rounding: what else a vector depends on
Adapter = Mapping[str, NDArray[np.float32]]
"""`<module>.A` float32[r, in] and `<module>.B` float32[out, r] of each tuned linear module, whose weight becomes
W + B @ A. An empty one is the frozen encoder."""


class EncoderNotFound(FileNotFoundError):  # noqa: N818
    """There is no model in the folder. The message says what to do."""


class AdapterMisfit(ValueError):  # noqa: N818
    """An adapter does not belong to this model. The message names the module."""


class TextEncoder:
    """A sentence encoder: mean over tokens, length 1. Its weights are those of the folder, with an adapter merged in
    where one is given.

    `encoder_id` names the model and its revision and the adapter's content, `dim` the length of a vector. bfloat16
    where the processor computes it natively, else float32. Where memory of a GPU ends it goes on on the processor, with
    a warning.
    """

    def __init__(self, path: str | Path, device: str = "cpu", adapter: Adapter | None = None) -> None:
        """Raises EncoderNotFound, AdapterMisfit."""
        folder = Path(path)
        self.encoder_id, self.dim = identity(folder, adapter)
        self._device = torch.device(device)
        load_library()
        with _LOADING:
            from transformers import AutoModel, AutoTokenizer

            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            # in float32 and cast afterwards: loading as bfloat16 makes that the default type of all threads meanwhile
            model: Any = AutoModel.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
        if adapter:
            merge(model, adapter)
        self._model: Any = model.eval()
        try:
            self._go_to(self._device)
        except RuntimeError as error:
            self._leave(error)
        positions = int(getattr(model.config, "max_position_embeddings", LENGTHS[-1]))
        self.lengths = tuple(n for n in LENGTHS if n <= positions)
        self._filler = self._tokenizer("")["input_ids"]
        self._pad = int(self._tokenizer.pad_token_id or 0)
        self.encode_query = lru_cache(maxsize=1 << 15)(self._encode_query)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut to the longest bucket."""
        if not texts:
            return []
        cut = self._tokenizer(list(texts), truncation=True, max_length=self.lengths[-1])
        ids: list[list[int]] = cut["input_ids"]
        return ids

    def bucket(self, tokens: Sequence[int]) -> int:
        """The length to which a text of these tokens is padded."""
        return next(length for length in self.lengths if len(tokens) <= length)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, dim], unit vectors, in the order of `texts`."""
        ids = self.tokens(texts)
        by_bucket: dict[int, list[int]] = {}
        for at, tokens in enumerate(ids):
            by_bucket.setdefault(self.bucket(tokens), []).append(at)
        out = np.zeros((len(ids), self.dim), np.float32)
        for places in by_bucket.values():
            for start in range(0, len(places), BLOCK):
                block = places[start : start + BLOCK]
                out[block] = self.encode_block([ids[at] for at in block])
        return out

    def encode_block(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """float32[n, dim] of at most BLOCK token lists of one bucket."""
        return self._forward(tokens, BLOCK)

    def _encode_query(self, text: str) -> NDArray[np.float32]:
        """float32[dim]: a text by itself, computed in a block of one row. The same text gives the same array."""
        vector = self._forward(self.tokens([text]), 1)[0]
        vector.setflags(write=False)
        return vector

    def _forward(self, tokens: Sequence[Sequence[int]], rows: int) -> NDArray[np.float32]:
        length = self.bucket(tokens[0])
        ids = torch.full((rows, length), self._pad, dtype=torch.long)
        mask = torch.zeros((rows, length), dtype=torch.long)
        for row in range(rows):
            own = tokens[row] if row < len(tokens) else self._filler
            ids[row, : len(own)] = torch.tensor(own)
            mask[row, : len(own)] = 1
        try:
            unit = self._units(ids, mask)
        except RuntimeError as error:
            self._leave(error)
            unit = self._units(ids, mask)
        found: NDArray[np.float32] = unit[: len(tokens)].numpy()
        return found

    def _units(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """float32[rows, dim] for tokens int64[rows, length], computed on the device."""
        ids, mask = ids.to(self._device), mask.to(self._device)
        with torch.inference_mode():
            states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            shares = mask.unsqueeze(-1).float()
            mean = (states * shares).sum(1) / shares.sum(1)
            return torch.nn.functional.normalize(mean, dim=1).cpu()

    def _go_to(self, device: torch.device) -> None:
        self._device = device
        self._model.to(device, torch.bfloat16 if native_bfloat16(device) else torch.float32)

    def _leave(self, error: RuntimeError) -> None:
        """To the processor, if that is what the error calls for; else raises it."""
        if self._device.type == "cpu":
            raise error
        goes_on("texts are encoded on the processor", error)
        self._go_to(torch.device("cpu"))


def load_library() -> None:
    """Imports transformers: seconds, which those who only need a text's hash are spared. Once at a time, since of two
    threads that import or load at once one finds the library half made."""
    with _LOADING:
        from transformers import AutoModel, AutoTokenizer  # noqa: F401
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()


def merge(model: torch.nn.Module, adapter: Adapter) -> None:
    """Adds B @ A to the weights (float32) of the modules that an adapter names.

    The products are summed rank by rank in float64, element by element: no library's order of sums decides bits.
    Raises AdapterMisfit, before anything is changed.
    """
    changes: list[tuple[torch.Tensor, NDArray[np.float64]]] = []
    modules = dict(model.named_modules())
    names = {name.rpartition(".")[0] for name in adapter}
    for name in sorted(names):
        module, down, up = modules.get(name), adapter.get(f"{name}.A"), adapter.get(f"{name}.B")
        if not isinstance(module, torch.nn.Linear) or down is None or up is None:
            raise AdapterMisfit(f"The adapter tunes {name}, with A and B, and the model has no such linear module.")
        shape = (up.shape[0], down.shape[-1])
        if down.ndim != 2 or up.ndim != 2 or up.shape[1] != down.shape[0] or shape != tuple(module.weight.shape):
            raise AdapterMisfit(f"The adapter's {name} is {up.shape} by {down.shape} for {tuple(module.weight.shape)}.")
        whole = np.zeros(shape)
        for column, line in zip(up.astype(np.float64).T, down.astype(np.float64), strict=True):
            whole += column[:, None] * line
        if not np.isfinite(whole).all():
            raise AdapterMisfit(f"The adapter's {name} holds numbers that are not finite.")
        changes.append((module.weight, whole))
    with torch.no_grad():
        for weight, change in changes:
            weight.add_(torch.from_numpy(change).to(weight))


def native_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is computed by the processor itself; emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(native and native())


def item_text(item: Item) -> str:
    """What of an item is encoded: its words, without price, availability and dates."""
    parts = [item.title, item.brand or "", " > ".join(item.categories)]
    said = [f"{name}: {_plain(item.attributes[name])}" for name in sorted(item.attributes)]
    parts.append(", ".join([one for one in said if not one.endswith(": ")][:ATTRIBUTES]))
    parts += [(item.description or "")[:DESCRIPTION], (item.answer or "")[:DESCRIPTION]]
    return ". ".join(part.strip().rstrip(".") for part in parts if part.strip())


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "yes" if value else ""
    if isinstance(value, list):
        return " ".join(_plain(one) for one in value)[:_VALUE]
    return "" if isinstance(value, dict) else str(value)[:_VALUE]


def content_hash(text: str, encoder_id: str) -> str:
    """16 hex digits: the same for the same text under the same encoder."""
    return blake2b(f"{encoder_id}\0{text}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def pack(vector: NDArray[np.float32]) -> str:
    """A vector as it stands on the wire: base64 of float16, little-endian."""
    return base64.b64encode(vector.astype("<f2").tobytes()).decode("ascii")


def unpack(packed: str, dim: int) -> NDArray[np.float32]:
    """float32[dim] of what `pack` gave. Raises ValueError if it is not `dim` numbers."""
    vector = np.frombuffer(base64.b64decode(packed, validate=True), "<f2").astype(np.float32)
    if vector.shape != (dim,):
        raise ValueError(f"a vector of {len(vector)} numbers where {dim} were announced")
    return vector


def adapted_id(base: str, adapter: Adapter | None) -> str:
    """The id of the encoder `base` with an adapter merged in: `base` and 12 hex digits over the adapter's content."""
    if not adapter:
        return base
    digest = blake2b(_RECIPE, digest_size=6)
    for name in sorted(adapter):
        array = np.ascontiguousarray(adapter[name], "<f4")
        digest.update(f"{name}{array.shape}".encode() + array.tobytes())
    return f"{base}+{digest.hexdigest()}"


def identity(folder: Path, adapter: Adapter | None = None) -> tuple[str, int]:
    """(encoder id, length of its vectors) of the model in a folder, with an adapter or without, without loading it.

    The id is the kind of model and 12 hex digits over configuration, tokeniser and weights; not the folder's name.
    An adapter adds `+` and 12 digits of its own. Raises EncoderNotFound.
    """
    if not (folder / "config.json").is_file():
        raise EncoderNotFound(
            f"No text encoder at {folder}: config.json is missing. Set HEADWATER_ENCODER to the folder "
            "of a transformers model, to `packaged`, or to `none` to do without vectors."
        )
    config = json.loads((folder / "config.json").read_bytes())
    dim = int(config["hidden_size"])
    kind = f"{config.get('model_type', 'model')}-{config.get('num_hidden_layers', 0)}x{dim}"
    digest = blake2b(_RECIPE, digest_size=6)
    names = [p for p in folder.iterdir() if p.name in ("config.json", "tokenizer.json", "vocab.txt")]
    names += [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]
    for path in sorted(names):
        with path.open("rb") as file:
            digest.update(path.name.encode() + file_digest(file, "sha256").digest())
    return adapted_id(f"{kind}-{digest.hexdigest()}", adapter), dim
