"""The bare kernel: what a ranking cannot do without, and nothing else. The baseline of `ranking`.

Index search by FAISS, a pass of the model over random features, the ten best, JSON; in batches of 256; no Kafka, no
Redis, no users, no features made, no reasons. It runs in a process of its own with the threads that a worker has.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.features import CONTEXT, FEATURES
from recsys.index.dense import EXACT, DenseIndex
from recsys.index.gpu import GpuIndex
from recsys.rank import Ranker

BATCH = 256
CANDIDATES = 200
SHOWN = 10
Floats = npt.NDArray[np.float32]


@dataclass
class _Kernel:
    index: DenseIndex
    bare: Any  # FAISS's
    ranker: Ranker
    vectors: Floats
    features: list[Floats]
    moments: Any  # torch.Tensor: which weights hold: the prior ones


_held: list[_Kernel] = []  # of this process


def prepare(vectors: Path, device: str, threads: int) -> None:
    """Builds the index over the vectors in a file as a World does, and the one that FAISS has for them."""
    import faiss
    import torch

    from streams.models import limit_threads

    limit_threads(threads)
    found = np.load(vectors)
    rows = np.arange(len(found), dtype=np.int32)
    index = DenseIndex.empty(found.shape[1], device).grown(len(found)).with_vectors(rows, found)
    random = np.random.default_rng(3)
    features = [random.standard_normal((BATCH, CANDIDATES, len(FEATURES)), np.float32) for _ in range(4)]
    moments = torch.zeros((BATCH, len(CONTEXT)), device=device)
    moments[:, 0] = 1
    index = index.rebuilt(np.ones(len(found), bool))
    bare = index.main if isinstance(index.main, GpuIndex) else _of_faiss(found)
    faiss.cvar.distance_compute_blas_threshold = 20  # FAISS's own; ours would slow its batches down
    _held[:] = [_Kernel(index, bare, Ranker(device), found, features, moments)]


def _of_faiss(vectors: Floats) -> Any:
    """All of them compared, or of many the IVF over halves that with least to read finds .99 of the nearest hundred."""
    import faiss

    n, dim = vectors.shape
    if n <= EXACT:
        flat = faiss.IndexFlatIP(dim)
        flat.add(vectors)
        return flat
    cells, half = int(2 ** np.round(np.log2(4 * np.sqrt(n)))), faiss.ScalarQuantizer.QT_fp16
    ivf = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatIP(dim), dim, cells, half, faiss.METRIC_INNER_PRODUCT, False)
    ivf.cp.seed, ivf.cp.niter, ivf.cp.max_points_per_centroid = 1, 8, 48
    ivf.train(vectors)
    ivf.add(vectors)
    ivf.nprobe = max(24, cells // 64)
    return ivf


def rate(seconds: float) -> float:
    """Rankings a second, over at least so many seconds."""
    import orjson
    import torch

    kernel = _held[0]
    search = partial(_search, kernel.bare)
    queries = people(kernel.vectors, 16 * BATCH)
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        at = done % len(queries)
        found = search(queries[at : at + BATCH])
        x = torch.from_numpy(kernel.features[done // BATCH % len(kernel.features)]).to(kernel.ranker.device)
        with torch.inference_mode():
            scores = kernel.ranker.module(x, kernel.moments).sum(dim=-1)
            best, places = (one.cpu().numpy() for one in torch.topk(scores, SHOWN, dim=1))
        rows = np.take_along_axis(found, places, axis=1)
        for line, values in zip(rows.tolist(), best.tolist(), strict=True):
            orjson.dumps(_record(line, values))
        done += BATCH
    return done / passed


def recall(at: int, queries: int) -> float:
    """Share of the exact `at` nearest that are the first of what the World's own search finds."""
    kernel = _held[0]
    asked = people(kernel.vectors, queries, seed=5)
    found = kernel.index.search(asked, max(at, CANDIDATES))[:, :at]
    hits = 0
    for start in range(0, queries, BATCH):
        exact = np.argpartition(-(asked[start : start + BATCH] @ kernel.vectors.T), at - 1, axis=1)[:, :at]
        hits += sum(len(np.intersect1d(a, b)) for a, b in zip(exact, found[start : start + BATCH], strict=True))
    return hits / (queries * min(at, len(kernel.vectors)))


def people(vectors: Floats, n: int, seed: int = 4) -> Floats:
    """float32[n, dim]: what users look like to the index: unit means of a few items, half of them alike."""
    random = np.random.default_rng(seed)
    one = vectors[random.integers(len(vectors), size=n)]
    kin = vectors[random.integers(len(vectors), size=(n, 64))]
    near = np.argsort(-np.einsum("nd,nkd->nk", one, kin), axis=1)[:, :3]
    total = one + np.take_along_axis(kin, near[:, :, None], 1).sum(axis=1)
    total += vectors[random.integers(len(vectors), size=(n, 2))].sum(axis=1) * np.float32(0.5)
    unit: Floats = (total / np.linalg.norm(total, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _search(index: Any, queries: Floats) -> npt.NDArray[np.int64]:
    rows: npt.NDArray[np.int64] = index.search(queries, CANDIDATES)[1]
    return rows


def _record(rows: list[int], scores: list[float]) -> dict[str, Any]:
    return {
        "rec_id": "rec-0123456789abcdef0123",
        "user_id": "user-0000000",
        "items": [
            {"item_id": f"item-{row:07d}", "rank": at + 1, "score": score, "propensity": 1.0, "source": "similar"}
            for at, (row, score) in enumerate(zip(rows, scores, strict=True))
        ],
    }
