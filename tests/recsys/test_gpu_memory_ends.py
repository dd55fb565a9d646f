"""Where memory of a GPU ends, or FAISS has none, all goes on on the processor, and says so. None is needed for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch

from recsys.encoder import TextEncoder
from recsys.features import CONTEXT, FEATURES
from recsys.fixed import directions, floats
from recsys.index import dense, gpu
from recsys.index.cells import CellIndex
from recsys.index.dense import DenseIndex
from recsys.index.exact import ExactIndex
from recsys.index.gpu import GpuIndex
from recsys.learning.tuning import EncoderTuner, Pair, Rates
from recsys.memory import MemoryEndedWarning
from recsys.rank import AdditiveRanker, Ranker
from tests.elsewhere import elsewhere

ENDED = RuntimeError("StandardGpuResources: alloc fail: cudaMalloc error out of memory [2]")
N, DIM = 900, 16
VECTORS = floats(directions(np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)))
QUERIES = np.random.default_rng(1).standard_normal((9, DIM)).astype(np.float32)


class OnAGpu:
    """An index of FAISS as if on a GPU: it must not be used by two threads at once, nor with another that shares its
    resources."""

    at_work = threading.Lock()

    def __init__(self, index: Any, refuses: dict[str, Exception]) -> None:
        self.index, self.refuses, self.asked = index, refuses, 0

    def _alone(self, name: str, *given: Any) -> Any:
        assert self.at_work.acquire(blocking=False), "two threads at once"
        try:
            self.asked += 1
            time.sleep(0.002)
            if name in self.refuses:
                raise self.refuses[name]
            return getattr(self.index, name)(*given)
        finally:
            self.at_work.release()

    def add(self, vectors: Any) -> None:
        self._alone("add", vectors)

    def search(self, queries: Any, k: int) -> Any:
        return self._alone("search", queries, k)


@pytest.fixture
def refuses(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """As on a machine with a GPU, where catalogues of over 100 items go there; what it refuses."""
    found: dict[str, Exception] = {}
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda resources, device, index: OnAGpu(index, found))
    monkeypatch.setattr(gpu, "_resources", lambda: None)
    monkeypatch.setattr(gpu, "_SLICE", 256)
    monkeypatch.setattr(dense, "EXACT", 100)
    return found


def index_of(n: int) -> DenseIndex:
    rows = np.arange(n, dtype=np.int32)
    return DenseIndex.empty(DIM, "cuda").grown(n).with_vectors(rows, VECTORS[:n]).rebuilt(np.ones(n, bool))


def nearest(n: int, k: int) -> np.ndarray:
    return np.argsort(-(QUERIES @ VECTORS[:n].T), axis=1)[:, :k]


def test_a_large_catalogue_lies_there_and_a_small_one_here(refuses: dict[str, Exception]) -> None:
    large, small = index_of(N), index_of(80)
    assert isinstance(large.main, GpuIndex)
    assert isinstance(small.main, ExactIndex)
    assert np.array_equal(large.search(QUERIES, 20), nearest(N, 20))
    assert np.array_equal(small.search(QUERIES, 20), nearest(80, 20))


def test_it_is_used_by_one_thread_at_a_time(refuses: dict[str, Exception]) -> None:
    index = index_of(N)
    with ThreadPoolExecutor(4) as pool:
        searches = [pool.submit(index.search, QUERIES, 20, pool) for _ in range(20)]
        builds = [pool.submit(index.rebuilt, np.ones(N, bool)) for _ in range(5)]
        assert all(np.array_equal(one.result(), nearest(N, 20)) for one in searches)
        assert all(np.array_equal(one.result().search(QUERIES, 20), nearest(N, 20)) for one in builds)


def test_what_does_not_fit_there_is_searched_here(refuses: dict[str, Exception]) -> None:
    refuses["add"] = ENDED
    with pytest.warns(MemoryEndedWarning, match="900 vectors are searched on the processor"):
        index = index_of(N)
    assert isinstance(index.main, CellIndex)
    found = index.search(QUERIES, 20)
    assert np.mean([len(set(a) & set(b)) / 20 for a, b in zip(found, nearest(N, 20), strict=True)]) > 0.8


def test_a_search_for_which_there_is_no_memory_is_done_here(refuses: dict[str, Exception]) -> None:
    index = index_of(N)
    there: OnAGpu = index.main._there
    refuses["search"] = ENDED
    with pytest.warns(MemoryEndedWarning, match="the catalogue is searched on the processor"):
        assert np.array_equal(index.search(QUERIES, 20), nearest(N, 20))
    asked = there.asked
    assert np.array_equal(index.search(QUERIES, 20), nearest(N, 20))
    assert there.asked == asked, "it is not asked again"


@pytest.mark.parametrize("where", ["add", "search"])
def test_another_failure_is_no_want_of_memory(where: str, refuses: dict[str, Exception]) -> None:
    refuses[where] = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="illegal"):
        index_of(N).search(QUERIES, 20)


def test_more_neighbours_than_faiss_finds_there_are_no_failure(
    refuses: dict[str, Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "MOST", 30)
    assert np.array_equal(index_of(N).search(QUERIES, 40), nearest(N, 30))


def test_a_faiss_without_a_gpu_searches_here(refuses: dict[str, Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert isinstance(index_of(N).main, CellIndex)
    monkeypatch.delattr(faiss, "get_num_gpus")  # as faiss-cpu is
    assert isinstance(index_of(N).main, CellIndex)


# --- models: on a device as of `tests.elsewhere` ----------------------------------------------------------------------


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with elsewhere(monkeypatch) as name:
        yield name


def failing(error: Exception, device: str) -> Callable[..., None]:
    """A hook for a module: its forward pass fails there."""

    def hook(module: torch.nn.Module, *_: Any) -> None:
        if next(module.parameters()).device.type == device:
            raise error

    return hook


def test_candidates_are_scored_here_when_memory_ends_there(device: str) -> None:
    x = np.random.default_rng(0).standard_normal((4, 20, len(FEATURES))).astype(np.float32)
    context = np.ones((4, len(CONTEXT)), np.float32)
    ranker, here = Ranker(device), Ranker("cpu")
    hook = ranker.module.register_forward_pre_hook(failing(torch.OutOfMemoryError("CUDA out of memory"), device))
    with pytest.warns(MemoryEndedWarning, match="candidates are scored on the processor"):
        assert np.array_equal(ranker.scores(x, context), here.scores(x, context))
    hook.remove()
    assert ranker.device == "cpu"
    assert np.array_equal(ranker.contributions(x, context), here.contributions(x, context))

    broken = Ranker(device, AdditiveRanker())
    broken.module.register_forward_pre_hook(failing(RuntimeError("CUDA error: device-side assert triggered"), device))
    with pytest.raises(RuntimeError, match="device-side"):
        broken.scores(x, context)


def test_texts_are_encoded_here_when_memory_ends_there(device: str, tiny_encoder: Path) -> None:
    texts = ["a red dress", "an old lamp"]
    expected = TextEncoder(tiny_encoder).encode(texts)
    encoder = TextEncoder(tiny_encoder, device)
    encoder._model.register_forward_pre_hook(failing(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), device))
    with pytest.warns(MemoryEndedWarning, match="texts are encoded on the processor"):
        assert np.allclose(encoder.encode(texts), expected, atol=1e-6)
    assert np.allclose(encoder.encode_query(texts[0]), expected[0], atol=1e-6)

    broken = TextEncoder(tiny_encoder, device)
    broken._model.register_forward_pre_hook(failing(RuntimeError("CUDA error: device-side assert triggered"), device))
    with pytest.raises(RuntimeError, match="device-side"):
        broken.encode(texts)


def test_an_encoder_is_tuned_here_when_the_smallest_batch_does_not_fit_there(device: str, tiny_encoder: Path) -> None:
    lines: list[str] = []
    tuner = EncoderTuner(tiny_encoder, device, Rates(pairs=8), told=lines.append)
    tuner.take([Pair(f"u{n}", f"red thing {n % 5}", f"i{n % 7}", f"blue thing {n % 7}") for n in range(40)])
    assert tuner.step(1) == 1
    before = tuner.dump()
    tuner._model.register_forward_pre_hook(failing(torch.OutOfMemoryError("CUDA out of memory"), device))
    assert tuner.step(2) == 2
    after = tuner.dump()
    assert len(lines) == 2
    assert "half" in lines[0]
    assert "on the processor" in lines[1]
    moved = [name for name in before if name.startswith("weight.") and not np.array_equal(before[name], after[name])]
    assert len(moved) == len([name for name in before if name.startswith("weight.")]), "it goes on learning"
    steps = next(name for name in before if name.startswith("step."))
    assert after[steps] > before[steps], "and its optimiser goes on from where it was"
