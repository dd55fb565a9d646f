"""`encode`: texts a second through the TextEncoder, beside the bare forward pass of the same model.

The encoder pads to fixed lengths in blocks of fixed size, so that a text's vector never depends on its company. The
bare pass sorts by length and pads to the longest of each batch: the least work that the model can be asked for.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from recsys.encoder import BLOCK, TextEncoder, item_text
from schemas.items import Item
from streams.bench.laboratory import Laboratory
from streams.bench.result import Comparison, Figure, Result
from streams.bench.rounds import by_turns
from streams.demo.log import synthetic_items
from streams.models import encoder_path, limit_threads, pick_device


def encode(lab: Laboratory) -> Result:
    """Texts a second, ours and the bare pass; and that both mean the same."""
    about = "texts of items into vectors: the encoder against the bare forward pass"
    settings = lab.base
    if settings.encoder == "none":
        return Result("encode", about, skipped="There is no encoder (HEADWATER_ENCODER=none), so nothing was measured.")
    count, rounds = (128, 2) if lab.quick else (2_048, 3)
    assert lab.models.encoder_id is not None
    limit_threads(settings.torch_threads)
    encoder = TextEncoder(encoder_path(settings.encoder), pick_device(settings.device))
    texts = [item_text(Item.model_validate(item)) for item in synthetic_items(count)]
    ours, bare = encoder.encode(texts), _bare(encoder, texts)
    mine, other = by_turns(
        lambda: _rate(encoder.encode, texts),
        lambda: _rate(lambda given: _bare(encoder, given), texts),
        rounds,
        lambda line: lab.say(f"encode: {line}"),
    )
    return Result(
        "encode",
        about,
        [Comparison("texts", "texts/s", mine, other, "bare forward")],
        [Figure("least cosine between the two", "", [float(np.einsum("nd,nd->n", ours, bare).min())])],
        setting={"texts": count, "batch": BLOCK, "encoder_id": encoder.encoder_id, "device": str(encoder._device)},
    )


def _rate(call: Any, texts: list[str]) -> float:
    started = time.perf_counter()
    call(texts)
    return len(texts) / (time.perf_counter() - started)


def _bare(encoder: TextEncoder, texts: list[str]) -> Any:
    """float32[n, dim]: tokenise, sort by length, forward in batches of BLOCK, mean, length 1."""
    import torch

    tokens = encoder._tokenizer(texts, truncation=True, max_length=encoder.lengths[-1])["input_ids"]
    order = sorted(range(len(texts)), key=lambda at: len(tokens[at]))
    out = np.empty((len(texts), encoder.dim), np.float32)
    for start in range(0, len(order), BLOCK):
        places = order[start : start + BLOCK]
        padded = encoder._tokenizer.pad({"input_ids": [tokens[at] for at in places]}, return_tensors="pt")
        padded = padded.to(encoder._device)
        with torch.inference_mode():
            states = encoder._model(**padded).last_hidden_state.float()
            shares = padded["attention_mask"].unsqueeze(-1).float()
            mean = (states * shares).sum(1) / shares.sum(1)
            out[places] = torch.nn.functional.normalize(mean, dim=1).cpu().numpy()
    return out
