"""Kernels: compiled for what is written down, and where nothing can be kept, too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.compiled import best, dot, fills, kernel, reads


def test_a_kernel_takes_what_it_was_compiled_for_and_nothing_else():
    vector = np.arange(5, dtype=np.float32)
    assert dot(vector, vector) == 30
    for other in (vector.astype(np.float64), vector[::2], vector[None]):
        with pytest.raises(TypeError):
            dot(other, other)


@settings(max_examples=100)
@given(st.data())
def test_the_best_are_found_in_order_and_of_equal_ones_the_first(data):
    """Also where one value is far from all others, and where all are equal."""
    value = st.one_of(st.integers(-3, 3), st.integers(-(2**30), 2**30))
    line = np.array(data.draw(st.lists(value, min_size=1, max_size=400)), np.int32)
    k = data.draw(st.integers(1, len(line)))
    values, places = np.empty(k, np.int32), np.empty(k, np.int64)
    best(line, values, places)
    assert (places == np.argsort(-line.astype(np.int64), kind="stable")[:k]).all()
    assert (values == line[places]).all()


def test_where_machine_code_cannot_be_kept_it_is_made_at_each_start():
    names: dict = {}
    exec("def double(a, b):\n    for i in range(len(a)):\n        b[i] = 2 * a[i]", names)  # of no file
    double = kernel(reads("int32"), fills("int32"))(names["double"])
    out = np.zeros(3, np.int32)
    double(np.arange(3, dtype=np.int32), out)
    assert out.tolist() == [0, 2, 4]
