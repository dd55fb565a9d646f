"""Kernels: compiled for what is written down, and where nothing can be kept, too."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.compiled import dot, fills, kernel, reads


def test_a_kernel_takes_what_it_was_compiled_for_and_nothing_else():
    vector = np.arange(5, dtype=np.float32)
    assert dot(vector, vector) == 30
    for other in (vector.astype(np.float64), vector[::2], vector[None]):
        with pytest.raises(TypeError):
            dot(other, other)


def test_where_machine_code_cannot_be_kept_it_is_made_at_each_start():
    names: dict = {}
    exec("def double(a, b):\n    for i in range(len(a)):\n        b[i] = 2 * a[i]", names)  # of no file
    double = kernel(reads("int32"), fills("int32"))(names["double"])
    out = np.zeros(3, np.int32)
    double(np.arange(3, dtype=np.int32), out)
    assert out.tolist() == [0, 2, 4]
