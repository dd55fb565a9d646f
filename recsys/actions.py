"""Actions: the open set of what users do, as four-bit codes and evidence weights.

The set is open on the wire; inside, an action is one of sixteen codes, so that a row of evidence stays small. What is
not in the table is `other` (or `other-` where its configured weight is negative).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.policy import Policy

ACTIONS = (
    "view", "click", "play", "add_to_cart", "purchase", "like", "rate", "rate-",
    "review", "share", "skip", "dislike", "other", "other-",
)  # fmt: skip
CODES = {name: code for code, name in enumerate(ACTIONS)}
PAST_TENSE = {
    "en": {
        "view": "viewed", "click": "looked at", "play": "played", "add_to_cart": "put in the cart",
        "purchase": "bought", "like": "liked", "rate": "rated well", "rate-": "rated low", "review": "reviewed",
        "share": "shared", "skip": "skipped", "dislike": "disliked", "other": "chose", "other-": "turned down",
    },
    "zh": {
        "view": "看过", "click": "点过", "play": "玩过", "add_to_cart": "加入购物车", "purchase": "买过",
        "like": "喜欢", "rate": "好评过", "rate-": "差评过", "review": "评论过", "share": "分享过",
        "skip": "跳过", "dislike": "不喜欢", "other": "选过", "other-": "拒绝过",
    },
}  # fmt: skip


def weigh(action: str, value: float | None, policy: Policy) -> tuple[int, float]:
    """(code, evidence weight) of an interaction. A rating counts by its distance from 3 of 5, in half-steps of a like:
    5 weighs 2, 1 weighs -2."""
    weight = policy.action_weights.get(action, policy.unknown_action_weight)
    if action == "rate" and value is not None:
        weight *= max(-2.0, min(2.0, value - 3.0))
        return CODES["rate" if weight >= 0 else "rate-"], weight
    code = CODES.get(action)
    if code is None:
        code = CODES["other" if weight >= 0 else "other-"]
    return code, max(-100.0, min(100.0, weight))


def code_weights(policy: Policy) -> npt.NDArray[np.float32]:
    """float32[16]: the weight of a history row by its code, where the single event's own weight is gone."""
    table = np.zeros(16, np.float32)
    for name, code in CODES.items():
        table[code] = policy.action_weights.get(name, policy.unknown_action_weight)
    table[CODES["rate-"]] = -table[CODES["rate"]]
    table[CODES["other-"]] = -policy.unknown_action_weight
    return table


def kept_out_codes(policy: Policy) -> npt.NDArray[np.bool_]:
    """bool[16]: by code, whether an item that was met in that way is not offered again."""
    if policy.keep_out_actions is None:
        return np.ones(16, bool)
    codes = np.zeros(16, bool)
    for action in policy.keep_out_actions:
        codes[[CODES[action]] if action in CODES else [CODES["other"], CODES["other-"]]] = True
    return codes
