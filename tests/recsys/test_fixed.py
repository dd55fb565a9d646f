"""Fixed-point vectors: near to what they are made of, and products that are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import types

from recsys.compiled import fills, kernel, reads
from recsys.fixed import SCALE, STEP, directions, fixed, floats, product, products, trio

LENGTHS = st.one_of(st.integers(1, 70), st.sampled_from([384, 512]))


@kernel(reads("int16", 2), reads("int16", 2), fills("int32"), fills("int32", 2))
def _multiplied(vectors, others, few, twelve):
    few[0] = product(vectors, 1, others, 3)
    few[1], few[2], few[3] = trio(vectors, 0, 1, 2, others, 2)
    found = products(vectors, 0, 1, 2, others, 0, 1, 2, 3)
    for at in range(12):
        twelve[at % 3, at // 3] = found[at]


def multiplied(vectors: np.ndarray, others: np.ndarray) -> tuple[int, np.ndarray]:
    few, twelve = np.empty(4, np.int32), np.empty((3, 4), np.int32)
    _multiplied(vectors, others, few, twelve)
    assert (few[1:] == twelve[:, 2]).all()
    return int(few[0]), twelve


@settings(max_examples=60)
@given(LENGTHS, st.integers(0, 2**32 - 1))
def test_products_are_those_of_whole_numbers_to_the_last_bit(length, seed):
    random = np.random.default_rng(seed)
    most = int(np.sqrt(2**31 / length)) - 1  # no sum overflows
    vectors, others = (
        random.integers(-min(most, SCALE), min(most, SCALE) + 1, (n, length)).astype(np.int16) for n in (3, 4)
    )
    exact = vectors.astype(np.int64) @ others.T.astype(np.int64)
    one, twelve = multiplied(vectors, others)
    assert one == exact[1, 3]
    assert (twelve == exact).all()


def test_the_longest_vectors_do_not_overflow():
    longest = np.zeros((4, 32), np.int16)
    longest[:, 0], longest[1, 0] = SCALE, -SCALE
    one, twelve = multiplied(longest[:3], longest)
    assert one == -(SCALE**2)
    assert abs(twelve).min() == SCALE**2
    level = np.full((4, 512), round(SCALE / np.sqrt(512)), np.int16)
    assert abs(multiplied(level[:3], level)[1] * STEP - 1).max() < 1e-3


@settings(max_examples=60)
@given(LENGTHS, st.floats(0.01, 1), st.integers(0, 2**32 - 1))
def test_a_vector_of_at_most_one_comes_back_as_it_was(length, long, seed):
    vectors = np.random.default_rng(seed).standard_normal((3, length))
    vectors *= long / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = floats(fixed(vectors.astype(np.float32)))
    assert found.dtype == np.float32
    assert abs(found - vectors).max() <= 0.5 / SCALE + 1e-6


@settings(max_examples=60)
@given(LENGTHS, st.floats(1.02, 1e6), st.integers(0, 2**32 - 1))
def test_a_longer_vector_is_shortened_to_one_and_a_direction_is_one_long(length, long, seed):
    unit = np.random.default_rng(seed).standard_normal((3, length))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for numbers in (fixed((unit * long).astype(np.float32)), directions((unit / long).astype(np.float32))):
        assert abs(floats(numbers) - unit).max() <= 0.5 / SCALE + 1e-5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_what_is_no_number_becomes_zeros(bad):
    vectors = np.full((2, 5), 0.1, np.float32)
    vectors[0, 3] = bad
    for made in (fixed, directions):
        numbers = made(vectors)
        assert not numbers[0].any()
        assert numbers[1].all()


def test_zeros_stay_zeros():
    assert not fixed(np.zeros((2, 40), np.float32)).any()
    assert not directions(np.zeros((2, 40), np.float32)).any()


def test_kernels_take_only_numbers_of_sixteen_bits():
    assert isinstance(reads("int16", 2).dtype, type(types.int16))
    with pytest.raises(TypeError):
        multiplied(np.zeros((3, 8), np.float32), np.zeros((4, 8), np.int16))
