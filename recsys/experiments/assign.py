"""Assign: a user to an arm, by a hash of the user's id alone: the same in every process, replay and year.

The salt names the experiment: with another one, users are dealt anew, and nobody's arm tells anything of their arm in
the last experiment. What the arms' shares leave over is `main`.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

MAIN = "main"


def place_of(user_id: str, salt: str) -> float:
    """Where the user stands, in [0, 1): even over users, whatever their ids look like."""
    digest = blake2b(f"{salt}\0{user_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53


def arm_of(user_id: str, salt: str, shares: Mapping[str, float]) -> str:
    """The arm of a user. `shares` of arms other than `main`, at most 1 in sum, count in the order of their names."""
    place, end = place_of(user_id, salt), 0.0
    for name in sorted(shares):
        end += shares[name]
        if place < end:
            return name
    return MAIN
