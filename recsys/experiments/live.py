"""Live: an experiment at work inside a ranking. Each user's candidates are scored and selected as their arm says.

In: the block's candidates and features. Out: the same arrays as one policy makes, so that all behind it stays as it is:
features times the arm's factors, scores, slates; and whose item each place is, where an arm interleaves two others.
Rows know nothing of each other, so where a block or a batch is cut changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.experiments.assign import MAIN, arm_of
from recsys.experiments.interleave import SECOND, team_draft
from recsys.features import FEATURES
from recsys.policy import Policy
from recsys.select import Doubles, Floats, Ints, Slates, draws, select
from recsys.world import World

INTERLEAVED = 3
"""The place of "interleaving" among the words for `moved`."""
_COIN = np.uint64(0xC2B2AE3D27D4EB4F)  # coins are other draws than those that explore


def arms_of(user_ids: Sequence[str], policy: Policy) -> list[str]:
    """The arm of each user."""
    shares = {name: arm.share for name, arm in policy.arms.items()}
    return [arm_of(user_id, policy.arms_salt, shares) for user_id in user_ids]


def rank_by_arm(
    world: World, rows: Ints, x: Floats, context: Floats, ks: npt.NDArray[np.int64], seeds: npt.NDArray[np.uint64],
    policy: Policy, arms: Sequence[str],
) -> tuple[Floats, Doubles, Slates, npt.NDArray[np.int8]]:  # fmt: skip
    """(features as weighed, scores [B, C], slates, teams [B, K]: 0 where nothing is interleaved)."""
    b, width = len(rows), int(ks.max())
    slates = Slates(np.full((b, width), -1, np.int32), np.zeros((b, width)), np.zeros((b, width), np.uint8))
    teams = np.zeros((b, width), np.int8)
    x, scores = x.copy(), np.zeros(rows.shape)
    for name in sorted(set(arms)):
        at = np.flatnonzero([arm == name for arm in arms])
        arm = policy.arms.get(name)
        if arm is None or arm.interleave is None:
            x[at], scores[at], made = _one(world, rows[at], x[at], context[at], ks[at], seeds[at], policy, name)
            n = made.chosen.shape[1]
            slates.chosen[at, :n], slates.propensities[at, :n] = made.chosen, made.propensities
            slates.moved[at, :n] = made.moved
            continue
        pair = [
            _one(world, rows[at], x[at], context[at], ks[at], seeds[at], policy, other, explores=False)
            for other in arm.interleave
        ]
        heads = draws(seeds[at] ^ _COIN, (int(ks[at].max()) + 1) // 2) < 0.5
        drafted = team_draft(pair[0][2].chosen.astype(np.int64), pair[1][2].chosen.astype(np.int64), heads, ks[at])
        n = drafted.items.shape[1]
        # each item with the features and the score of the ranking that brought it
        place, line = np.maximum(drafted.items, 0), np.arange(len(at))[:, None]
        second = np.zeros(rows[at].shape, bool)
        np.logical_or.at(second, (np.broadcast_to(line, place.shape), place), drafted.teams == SECOND)
        x[at] = np.where(second[:, :, None], pair[1][0], pair[0][0])
        scores[at] = np.where(second, pair[1][1], pair[0][1])
        got = np.where(drafted.items >= 0, np.take_along_axis(scores[at], place, 1), -np.inf)
        least = np.minimum.accumulate(np.concatenate([np.full((len(at), 1), np.inf), got[:, :-1]], axis=1), axis=1)
        slates.chosen[at, :n], slates.propensities[at, :n] = drafted.items, drafted.propensities
        slates.moved[at, :n] = np.where(got > least, INTERLEAVED, 0)
        teams[at, :n] = drafted.teams
    return x, scores, slates, teams


def _one(
    world: World, rows: Ints, x: Floats, context: Floats, ks: npt.NDArray[np.int64], seeds: npt.NDArray[np.uint64],
    policy: Policy, name: str, explores: bool = True,
) -> tuple[Floats, Doubles, Slates]:  # fmt: skip
    arm = policy.arms.get(name)
    own = policy if name == MAIN or arm is None else policy.of_arm(arm)
    if not explores and own.exploration:
        own = own.model_copy(update={"exploration": 0.0})
    if arm is not None and arm.weights:
        x = x * np.array([arm.weights.get(feature.name, 1.0) for feature in FEATURES], np.float32)
    scores = world.ranker.scores(x, context)
    return x, scores, select(world, rows, scores, ks, seeds, own)
