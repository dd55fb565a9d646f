"""Contents: what is in the file of a release, and what differs between two.

In: releases and the storage that holds their files. Out: figures, as `headwater releases show|diff` prints them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.features import CONTEXT, FEATURES
from recsys.rank import prior_weights
from schemas.releases import Release
from streams.lineage import Refused
from streams.releases import Arrays, ReleaseDamaged, ReleaseGone, ReleaseStorage, ReleaseUnusable, tallies_from_bytes
from streams.served import Served


def state_of_file(storage: ReleaseStorage, release: Release) -> dict[str, str]:
    """`state`: whole, gone, damaged or unreadable; `why` where it is not whole."""
    try:
        for name, place in ((release.release_id, release), (f"{release.release_id} (its base)", release.base)):
            if place is not None:
                storage.read(name, place)
    except ReleaseUnusable as error:
        kinds = {ReleaseGone: "gone", ReleaseDamaged: "damaged"}
        return {"state": kinds.get(type(error), "unreadable"), "why": str(error)}
    return {"state": "whole"}


def contents(storage: ReleaseStorage, release: Release) -> dict[str, Any]:
    """What its file holds, in figures. Raises ReleaseUnusable, Refused."""
    if release.role == "ranker":
        return {"from_prior": weights_changed(prior_weights(), _weights(storage, release))}
    if release.role == "statistics":
        tallies = tallies_from_bytes(storage.read(release.release_id, release), release.release_id)
        return {"rows": len(tallies.keys), "whole": release.base is None, "as_of": tallies.as_of}
    arrays = _arrays(storage, release)
    found: dict[str, Any] = {"parts": [_described(name, array) for name, array in arrays.items() if name != "keys"]}
    if "keys" in arrays and "adapter" in arrays:
        found |= {"items": len(arrays["keys"]), "dim": len(arrays["adapter"]), "text": arrays["adapter"].shape[1]}
    return found


def differences(storage: ReleaseStorage, one: Release, other: Release) -> dict[str, Any]:
    """What differs from `one` to `other`. Raises ReleaseUnusable; Refused where they are of two roles."""
    if one.role != other.role:
        raise Refused(
            f"{one.release_id} is of role {one.role} and {other.release_id} of role {other.role}: two releases of one "
            "role can be compared."
        )
    if one.role == "ranker":
        return {"weights": weights_changed_by(storage, one, other)}
    return changed(_arrays(storage, one), _arrays(storage, other))


def weights_changed_by(storage: ReleaseStorage, one: Release, other: Release) -> list[dict[str, Any]]:
    """`weights_changed` from one ranker to another. Raises ReleaseUnusable."""
    return weights_changed(_weights(storage, one), _weights(storage, other))


def weights_changed(before: NDArray[np.float32], after: NDArray[np.float32]) -> list[dict[str, Any]]:
    """The ranker's weights that differ, by feature and moment, the largest change first."""
    change = np.abs(after.astype(np.float64) - before)
    order = [(int(g), int(f)) for g, f in zip(*np.unravel_index(np.argsort(-change, None), change.shape), strict=True)]
    return [
        {"feature": FEATURES[f].name, "moment": CONTEXT[g][0], "before": round(float(before[g, f]), 6),
         "after": round(float(after[g, f]), 6), "change": round(float(after[g, f] - before[g, f]), 6)}
        for g, f in order if change[g, f] > 0
    ]  # fmt: skip


def changed(before: Arrays, after: Arrays) -> dict[str, Any]:
    """How far arrays moved: `cosine` of before and after, `norm` of the change, and that beside the norm before. With
    `keys` they are those of items: what both have is compared, and `items` counts what came and went."""
    found: dict[str, Any] = {}
    rows: tuple[Any, Any] | None = None
    if "keys" in before and "keys" in after:
        both, *rows_found = np.intersect1d(before["keys"], after["keys"], assume_unique=True, return_indices=True)
        rows = (rows_found[0], rows_found[1])
        found["items"] = {
            "both": len(both), "gained": len(after["keys"]) - len(both), "lost": len(before["keys"]) - len(both),
        }  # fmt: skip
    parts: list[dict[str, Any]] = []
    for name in [name for name in before if name in after and name != "keys"]:
        old, new = before[name], after[name]
        if rows is not None and len(old) == len(before["keys"]) and len(new) == len(after["keys"]):
            old, new = old[rows[0]], new[rows[1]]
        parts.append({"part": name, **_moved(old, new)})
    found["parts"] = sorted(parts, key=lambda part: -part.get("relative", np.inf))
    found["parts_gained"] = sorted(after.keys() - before.keys())
    found["parts_lost"] = sorted(before.keys() - after.keys())
    return found


def _moved(old: NDArray[Any], new: NDArray[Any]) -> dict[str, Any]:
    if old.shape != new.shape:
        return {"shape_before": list(old.shape), "shape_after": list(new.shape)}
    a, b = old.astype(np.float64).ravel(), new.astype(np.float64).ravel()
    norms, norm = float(np.linalg.norm(a) * np.linalg.norm(b)), float(np.linalg.norm(b - a))
    length = float(np.linalg.norm(a))
    return {
        "cosine": float(a @ b) / norms if norms else float(norm == 0), "norm": norm,
        "relative": norm / length if length else float(norm > 0),
    }  # fmt: skip


def _described(name: str, array: NDArray[Any]) -> dict[str, Any]:
    return {"part": name, "shape": list(array.shape), "norm": float(np.linalg.norm(array.astype(np.float64)))}


def _weights(storage: ReleaseStorage, release: Release) -> NDArray[np.float32]:
    """Raises ReleaseUnusable also where the ranker is one of another feature table."""
    served = Served(storage)
    served.load(release, 0)
    return served.learnt.ranker


def _arrays(storage: ReleaseStorage, release: Release) -> Arrays:
    """Of a sequence release both sides, with the item side's names as they are."""
    if release.role == "statistics":
        found = storage.load_statistics(release)
        return {"keys": found.keys, "popularity": found.popularity, "refusals": found.refusals,
                "exposures": found.exposures}  # fmt: skip
    arrays: Mapping[str, NDArray[Any]] = storage.load_arrays(release.release_id, release)[0]
    if release.role != "sequence" or release.base is None:
        return dict(arrays)
    return {**arrays, **storage.load_arrays(f"{release.release_id} (its items)", release.base)[0]}
