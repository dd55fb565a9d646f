"""Stock: the World of a replay from files: items, their vectors, and one release of statistics or none.

In: items, the settings, a tuned encoder or none. Out: the World that a worker would build from the same items once all
their vectors are there: texts are encoded in the same blocks as the encoder role does it, and what it sends is what is
kept, so vectors have the same bits. They are kept below the data folder, by the hash of their text, for the next
replay.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.encoder import Adapter, content_hash, item_text
from recsys.statistics import Statistics
from recsys.world import World
from schemas.items import Item
from streams.encoders import Encoder
from streams.models import Models, encoder_path
from streams.settings import Settings
from streams.worker.bootstrap import empty_world

CHUNK = 1024
"""Texts encoded between two reports of progress."""
Half = npt.NDArray[np.float16]
Progress = Callable[[int, int], None]
"""Told how many of how many texts are encoded."""


def file_world(
    settings: Settings,
    models: Models,
    items: Mapping[str, Item],
    statistics: Statistics | None,
    encoder: Encoder | None,
    progress: Progress,
) -> World:
    """The World of these items. `models`: those that the settings name; `encoder`: what their text encoder was tuned
    to, None for the frozen one. Raises AdapterMisfit."""
    stock, adapter = list(items.values()), encoder.adapter if encoder is not None else {}
    if encoder is not None and models.tuned is not None and adapter:
        models = replace(models, encoder_id=encoder.encoder_id, encode_query=models.tuned(adapter))
    vectors = vectors_of(settings, models, stock, progress, adapter)
    return empty_world(models).advanced(stock, vectors, statistics).settled()


def vectors_of(
    settings: Settings, models: Models, items: Sequence[Item], progress: Progress, adapter: Adapter | None = None
) -> list[tuple[str, npt.NDArray[np.float32]]]:
    """(item_id, vector) of each item, float32 as a worker reads them; nothing without an encoder. `adapter`: that of
    the encoder that `models` names."""
    if models.encoder_id is None:
        return []
    texts = {item.item_id: item_text(item) for item in items}
    digests = {item_id: content_hash(text, models.encoder_id) for item_id, text in texts.items()}
    shelf = _Kept(settings.data_dir / "vectors", models.encoder_id, models.dim, models.device)
    missing = {digest: texts[item_id] for item_id, digest in digests.items() if digest not in shelf.rows}
    if missing:
        from recsys.encoder import TextEncoder

        encoder = TextEncoder(encoder_path(settings.encoder), models.device, adapter)
        # texts of a length stand together, so that few blocks are padded
        waiting = sorted(missing.items(), key=lambda one: len(one[1]))
        progress(0, len(waiting))
        for at in range(0, len(waiting), CHUNK):
            part = waiting[at : at + CHUNK]
            shelf.add([digest for digest, _ in part], encoder.encode([text for _, text in part]).astype("<f2"))
            progress(min(at + CHUNK, len(waiting)), len(waiting))
        shelf.save()
    return [(item_id, shelf.rows[digest].astype(np.float32)) for item_id, digest in digests.items()]


class _Kept:
    """Vectors of one encoder on one kind of device, in one file: the hash of the text and the float16 vector."""

    def __init__(self, folder: Path, encoder_id: str, dim: int, device: str) -> None:
        self._path = folder / f"{encoder_id}-{device}.vectors"
        self._type: Any = np.dtype([("digest", "S16"), ("vector", "<f2", (dim,))])
        self.rows: dict[str, Half] = {}
        if self._path.is_file() and self._path.stat().st_size % self._type.itemsize == 0:
            held = np.fromfile(self._path, self._type)
            self.rows = {one.decode(): row for one, row in zip(held["digest"].tolist(), held["vector"], strict=True)}

    def add(self, digests: Sequence[str], vectors: Half) -> None:
        self.rows.update(zip(digests, vectors, strict=True))

    def save(self) -> None:
        """Whole or not at all; of two replays at once the later one's file stays."""
        held = np.zeros(len(self.rows), self._type)
        held["digest"] = [digest.encode() for digest in self.rows]
        held["vector"] = np.stack(list(self.rows.values()))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        passing = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        held.tofile(passing)
        os.replace(passing, self._path)
