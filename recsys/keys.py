"""Item keys: an item's id as a 48-bit number, so that statistics and user state hold arrays and not strings.

In: item ids as they stand on the wire. Out: ints below 2^48 (exact in a float64, seven bytes in msgpack). Two
ids of a catalogue of a million share a key with a chance of two in a thousand; they then share statistics.
Zero is never a key: arrays use it for "nothing here".
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 6


@lru_cache(maxsize=1 << 20)
def item_key(item_id: str) -> int:
    """The key of an item id: blake2b in 48 bits, never 0.

    >>> item_key("p-1") == item_key("p-1"), item_key("p-1") < 2**48
    (True, True)
    """
    digest = blake2b(item_id.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()
    return int.from_bytes(digest, "big") or 1


def item_keys(item_ids: Iterable[str]) -> NDArray[np.uint64]:
    """The keys of item ids, uint64[n] in the order given."""
    return np.fromiter(map(item_key, item_ids), dtype=np.uint64)
