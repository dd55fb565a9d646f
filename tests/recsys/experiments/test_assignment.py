"""Users in arms: the same always, in the shares asked for, and anew with another salt."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.experiments.assign import arm_of, place_of

USERS = [f"user-{n}" for n in range(20_000)]


def test_a_user_has_one_arm_whoever_asks() -> None:
    assert arm_of("anna", "spring", {"new": 0.5}) == "main"  # written down: it must hold in every release
    assert arm_of("ben", "spring", {"new": 0.71}) == "new"
    assert arm_of("安娜", "spring", {"new": 0.53}) == "main"
    assert arm_of("安娜", "spring", {"new": 0.54}) == "new"


@given(st.text(min_size=1), st.text(), st.floats(0, 1))
def test_an_arm_that_grows_keeps_its_users(user: str, salt: str, share: float) -> None:
    if arm_of(user, salt, {"new": share}) == "new":
        assert arm_of(user, salt, {"new": min(1.0, share * 1.5)}) == "new"
    assert arm_of(user, salt, {}) == "main"


def test_shares_are_kept_and_the_rest_is_main() -> None:
    shares = {"a": 0.2, "b": 0.3}
    found = [arm_of(user, "s", shares) for user in USERS]
    counts = {name: found.count(name) for name in ("a", "b", "main")}
    for name, share in {**shares, "main": 0.5}.items():
        assert abs(counts[name] - share * len(USERS)) < 4 * np.sqrt(share * (1 - share) * len(USERS))


def test_another_salt_deals_anew() -> None:
    one = np.array([place_of(user, "one") for user in USERS])
    two = np.array([place_of(user, "two") for user in USERS])
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / np.sqrt(len(USERS))
