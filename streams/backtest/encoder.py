"""The text encoder of a backtest: known by its id at once, loaded when a user first says something.

A worker loads it on a thread beside its work. Here that would disturb models that are trained meanwhile: loading sets
torch's default type for all threads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streams.models import ModelMissing, Models, encoder_path, limit_threads, pick_device
from streams.settings import Settings


def encoder_of(settings: Settings) -> Models:
    """The encoder that the settings name. Raises ModelMissing."""
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
    return Models(encoder_id, dim, _WhenAsked(folder, device), device)


class _WhenAsked:
    def __init__(self, folder: Path, device: str) -> None:
        self._folder, self._device = folder, device
        self._encoder: Any = None

    def __call__(self, text: str) -> Any:
        if self._encoder is None:
            from recsys.encoder import TextEncoder

            self._encoder = TextEncoder(self._folder, self._device)
        return self._encoder.encode_query(text)
