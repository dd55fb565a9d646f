"""The machine a run was made on: part of every result, since a figure without it says nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil  # type: ignore[import-untyped]

from streams.embedded.jars import KAFKA_VERSION
from streams.settings import Settings

_PACKAGES = (
    *("headwater", "numpy", "torch", "faiss-gpu", "faiss-cpu", "transformers", "pydantic", "orjson"),
    *("confluent-kafka", "aiokafka", "faust-streaming", "redis", "hiredis"),
)


def machine(settings: Settings) -> dict[str, Any]:
    """Cores, memory, load before the run, versions, and the settings that bear on speed."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": [round(one, 2) for one in os.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "gpu": gpu(),
        "versions": {"kafka": KAFKA_VERSION, **{name: found for name in _PACKAGES if (found := _version(name))}},
        "settings": {
            name: getattr(settings, name)
            for name in ("device", "torch_threads", "batch_records", "user_cache", "kafka_partitions", "encoder")
        },
    }


def gpu() -> str | None:
    """Name of the CUDA device that torch finds, if any."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
