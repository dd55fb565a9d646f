"""What waits comes back as it was, and its bytes are plain MessagePack."""

from __future__ import annotations

import msgpack
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.features import CONTEXT, FEATURES
from recsys.opened import head, pack_opened, pack_slates, touched, unpack_opened

_WORLD = {"release_id": "r", "statistics_id": "s", "catalogue_version": "c"}


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_a_packed_slate_comes_back(seed, sizes):
    rng = np.random.default_rng(seed)
    b, k = len(sizes), 6
    keys = rng.integers(1, 1 << 48, (b, k)).astype(np.uint64)
    chances = rng.random((b, k))
    features = rng.normal(0, 1, (b, k, len(FEATURES))).astype(np.float32)
    features[:, :, rng.random(len(FEATURES)) < 0.5] = 0
    features[rng.random(features.shape) < 0.3] = -0.0
    features[rng.random(features.shape) < 0.1] = 1e-9  # nothing, in 16 bits
    context = (rng.random((b, len(CONTEXT))) < 0.5).astype(np.float32)
    slates = [(f"rec-{at}", 1_760_000_000_000 + at, "ranking", at % 2 == 0) for at in range(b)]
    packed = pack_slates(slates, _WORLD, np.array(sizes), keys, chances, features, context)
    for at, (n, one) in enumerate(zip(sizes, packed, strict=True)):
        back = unpack_opened(one)
        assert (back.rec_id, back.ts, back.kind, back.asked) == slates[at]
        assert (back.closed, back.shown, back.world) == (False, None, tuple(_WORLD.values()))
        assert back.keys.tolist() == keys[at, :n].tolist()
        assert back.positions.tolist() == list(range(1, n + 1))
        assert back.propensities.tolist() == chances[at, :n].astype(np.float16).tolist()
        assert back.features.tolist() == features[at, :n].astype(np.float16).tolist()
        assert [back.moment >> g & 1 for g in range(len(CONTEXT))] == context[at].tolist()
        assert back.acted.tolist() == [0] * n
        first = head(one)
        assert (first.rec_id, first.ts, first.kind, first.asked, first.closed) == (*slates[at], False)
        assert not touched(one)
        back.closed, back.acted[0] = True, 1
        assert head(pack_opened(back)).closed
        assert touched(pack_opened(back))
        back.closed, back.acted[0] = False, 0
        # the same alone, and from what was unpacked; in the bytes of any other writer
        alone = [part[at : at + 1] for part in (np.array(sizes), keys, chances, features, context)]
        assert pack_slates(slates[at : at + 1], _WORLD, *alone) == [one] == [pack_opened(back)]
        assert msgpack.packb(msgpack.unpackb(one)) == one
