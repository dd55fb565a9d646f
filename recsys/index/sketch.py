"""Sketch: the words of a text as a short vector, so that one dense index finds by meaning and by wording.

In: terms with their counts. Out: a unit vector float32[SKETCH]. Every term has a fixed sparse random direction
(Achlioptas 2003), so the inner product of two sketches estimates the cosine of their term counts. It needs no model
and no language: Chinese, which the packaged encoder does not read, is near to Chinese by its characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

SKETCH = 128
MEANING, WORDING = np.float32(np.sqrt(0.6)), np.float32(np.sqrt(0.4))
"""Weights of the encoder's vector and of the sketch in an item's vector; their squares add up to 1."""
_NONZERO = 6

Floats = npt.NDArray[np.float32]


@lru_cache(maxsize=1 << 17)
def _direction(term: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    digest = blake2b(term.encode("utf-8", "surrogatepass"), digest_size=2 * _NONZERO).digest()
    places = tuple(byte % SKETCH for byte in digest[:_NONZERO])
    return places, tuple(1.0 if byte & 1 else -1.0 for byte in digest[_NONZERO:])


def sketch(counts: Mapping[str, int]) -> Floats:
    """float32[SKETCH] of length 1, or zeros for no terms. A term counts by the root of how often it stands there."""
    out = [0.0] * SKETCH
    for term in sorted(counts):  # sums in one order, whatever the order of the words
        weight = counts[term] ** 0.5
        places, signs = _direction(term)
        for place, sign in zip(places, signs, strict=True):
            out[place] += sign * weight
    vector = np.array(out, np.float32)
    norm = float(np.sqrt(vector @ vector))
    return vector / np.float32(norm) if norm > 0 else vector


def joined(meaning: Floats | None, wording: Floats) -> Floats:
    """The vector that is indexed: [MEANING * encoder's, WORDING * sketch]; the sketch alone without an encoder."""
    return wording if meaning is None else np.concatenate([meaning * MEANING, wording * WORDING])
