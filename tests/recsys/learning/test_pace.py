"""What is slower than what serves is told, by a clock that the test keeps; noise is not."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from recsys.learning.learner import Learnt
from recsys.learning.pace import slower, slower_work
from recsys.rank import prior_weights
from recsys.sequence import SequenceModel, SequenceNet


class Watch:
    """A clock that only work moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, *seconds):
        """Work that takes these times, over and over."""
        calls = iter(range(10**6))

        def run():
            self.now += seconds[next(calls) % len(seconds)]

        return run


def model(dim, seed=1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SequenceModel.of(SequenceNet(20, 24, dim=dim), np.arange(20, dtype=np.uint64))


def learnt(sequence, shift=0.0):
    return Learnt(prior_weights() + np.float32(shift), sequence)


@pytest.mark.parametrize(
    ("serving", "candidate", "slow"),
    [
        ([0.010], [0.030], True),
        ([0.010], [0.019], False),  # not twice as long
        ([0.0001], [0.0009], False),  # a difference too small to matter
        ([0.010], [0.010, 0.010, 0.500], False),  # something else ran now and then
        ([0.010], [0.030] * 6 + [0.010] * 100, False),  # slow at first only: the second look does not agree
        ([0.010, 0.300, 0.010], [0.030], True),  # the other one was disturbed
    ],
)
def test_medians_of_work_done_in_turns_decide_and_a_second_look_has_to_agree(serving, candidate, slow):
    watch = Watch()
    said = slower_work(watch.work(*serving), watch.work(*candidate), watch, 2.0)
    assert (said is not None) == slow
    if said:
        assert "30.0 ms where what serves takes 10.0" in said


def test_models_of_one_shape_are_not_even_timed():
    def clock():
        raise AssertionError("nothing was to be timed")

    assert slower(learnt(model(16)), learnt(model(16, 2), 0.5), clock, 2.0) is None
    assert slower(learnt(None), learnt(model(512)), clock, 2.0) is None, (
        "the first model has nothing to be held against"
    )


def test_a_larger_model_and_a_wrapped_one_are_slower():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        why = slower(learnt(model(16)), learnt(model(256)), time.thread_time, 2.0)
        assert why is not None
        assert "its sequence model takes" in why
        assert slower(learnt(model(256)), learnt(model(16)), time.thread_time, 2.0) is None
    finally:
        torch.set_num_threads(threads)

    watch = Watch()

    class Slow(SequenceNet):
        def users(self, seen, idle):
            watch.now += 0.005
            return super().users(seen, idle)

    usual, wrapped = model(16), model(16)
    wrapped.net.__class__ = Slow
    assert "its sequence model takes" in (slower(learnt(usual), learnt(wrapped), watch, 2.0) or "")
