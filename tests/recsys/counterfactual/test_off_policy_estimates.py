"""Estimates against simulations whose truth is known: bias, coverage of intervals, and when the log cannot answer.

The log: users of four kinds; a ranking that knows a wrong order for each, explored as `recsys.select` explores; rewards
that fall with the place, differ between users, and (if `cascade`) halve once something above was taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from recsys.counterfactual.evaluate import Evaluation, evaluate
from recsys.counterfactual.intervals import Ratios, estimate
from recsys.counterfactual.slates import Floats, Ints, Logged, exploring, ranking
from recsys.counterfactual.weights import ASSUMPTIONS

KINDS, ITEMS, K = 4, 5, 2
WORTH = np.random.default_rng(5).uniform(0.05, 0.5, (KINDS, ITEMS))
PLACE = np.array([1.0, 0.7])
LOGS = 250


@dataclass
class Shop:
    """What a visit can be: the kind and zeal of its user."""

    draw: np.random.Generator
    users: Ints
    kind: Ints
    zeal: Floats
    cascade: bool = True

    @classmethod
    def open(cls, seed: int, users: int, visits: int, cascade: bool = True) -> Shop:
        draw = np.random.default_rng(seed)
        who = np.repeat(np.arange(users), visits)
        zeal = np.exp(draw.normal(-0.125, 0.5, users))
        return cls(draw, who, draw.integers(0, KINDS, users)[who], zeal[who], cascade)

    def logged(self, exploration: float, pool: int = ITEMS) -> Logged:
        """`pool`: chance reaches only so many items of the order."""
        n = len(self.users)
        line = np.arange(n)
        order = (np.arange(ITEMS) + self.kind[:, None]) % ITEMS
        left = np.ones((n, ITEMS), bool)  # by place in the order
        items, chance = np.zeros((n, K), np.int64), np.ones((n, K))
        for k in range(K):
            best = left.argmax(axis=1)
            open_ = left & (np.cumsum(left, axis=1) <= pool)
            m = open_.sum(axis=1)
            pick = (self.draw.random(n) * m).astype(int)
            other = ((np.cumsum(open_, axis=1) == pick[:, None] + 1) & open_).argmax(axis=1)
            take = np.where(self.draw.random(n) < exploration, other, best)
            chance[:, k] = np.where(take == best, 1 - exploration, 0) + exploration / m
            items[:, k] = order[line, take]
            left[line, take] = False
        return Logged(self.users, items, self.rewards(items), chance)

    def rate(self, items: Ints) -> Floats:
        """Expected rewards, were nothing above ever taken."""
        return np.minimum(WORTH[self.kind[:, None], items] * PLACE * self.zeal[:, None], 0.95)

    def rewards(self, items: Ints) -> Floats:
        rate, out = self.rate(items), np.zeros(items.shape)
        for k in range(K):
            spent = self.cascade & (out[:, :k].sum(axis=1) > 0)
            out[:, k] = self.draw.random(len(items)) < rate[:, k] * np.where(spent, 0.5, 1)
        return out

    def best(self) -> Ints:
        """The target: the right order."""
        return np.argsort(-WORTH, axis=1)[self.kind, :K]

    def worst(self) -> Ints:
        """What the logging policy would do last."""
        return (ITEMS - 1 - np.arange(K) + self.kind[:, None]) % ITEMS


def truth_of(target: str, exploration: float, cascade: bool = True) -> float:
    shop = Shop.open(99, 1_000_000, 1, cascade)
    if target == "log":
        return float(shop.logged(exploration).rewards.sum(axis=1).mean())
    items = {"best": shop.best, "worst": shop.worst}[target]()
    return float(shop.rewards(items).sum(axis=1).mean())


def covered(found: list[Evaluation], truth: float, log: float) -> dict[str, float]:
    """How often each interval holds its truth."""
    out = {"log": float(np.mean([f.logging.low <= log <= f.logging.high for f in found]))}
    for name in ("ips", "snips", "dr"):
        out[name] = float(np.mean([f.target[name].low <= truth <= f.target[name].high for f in found]))
        inside = [f.lift[name].low <= truth - log <= f.lift[name].high for f in found]
        out[f"{name} difference"] = float(np.mean(inside))
    return out


@pytest.mark.parametrize("target", ["best", "no exploration"])
def test_95_percent_intervals_hold_the_truth_about_95_times_in_100(target: str) -> None:
    exploration = 0.6
    log = truth_of("log", exploration)
    truth = truth_of("best", exploration) if target == "best" else truth_of("log", 0.0)
    found = []
    for seed in range(LOGS):
        shop = Shop.open(seed, 500, 4)
        logged = shop.logged(exploration)
        goal = ranking(logged, shop.best()) if target == "best" else exploring(logged, 0, exploration)
        found.append(evaluate(logged, goal))
    held = covered(found, truth, log)
    assert all(0.9 <= share <= 0.99 for share in held.values()), held
    for name in ("ips", "snips", "dr"):
        values = [f.target[name].value for f in found]
        assert abs(np.mean(values) - truth) < 4 * np.std(values) / np.sqrt(LOGS) + 0.004, name


def test_bootstrap_intervals_agree_with_the_linearised_ones() -> None:
    shop = Shop.open(3, 800, 4)
    logged = shop.logged(0.6)
    one, other = (evaluate(logged, ranking(logged, shop.best()), method=m) for m in ("normal", "bootstrap"))
    for name in ("ips", "snips", "dr"):
        a, b = one.target[name], other.target[name]
        assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.2)
        assert b.error == pytest.approx(a.error, rel=0.15)


def test_doubly_robust_is_right_if_either_the_propensities_or_the_model_is() -> None:
    truth = truth_of("best", 0.6, cascade=False)
    means: dict[str, list[float]] = {}
    for seed in range(120):
        shop = Shop.open(seed, 400, 4, cascade=False)
        logged = shop.logged(0.6)
        wrong = Logged(logged.users, logged.items, logged.rewards, np.full(logged.items.shape, 0.4))
        right_model = (shop.rate(logged.items), shop.rate(shop.best()))
        wrong_model = (0.1 + 0.2 * (logged.items % 2), 0.1 + 0.2 * (shop.best() % 2))
        for name, log, model in (
            ("propensities", logged, wrong_model),
            ("model", wrong, right_model),
            ("neither", wrong, wrong_model),
        ):
            found = evaluate(log, ranking(log, shop.best()), guesses=model)
            means.setdefault(name, []).append(found.target["dr"].value)
            means.setdefault(f"{name}, ips", []).append(found.target["ips"].value)

    def off(name: str) -> float:
        return abs(float(np.mean(means[name])) - truth) / (float(np.std(means[name])) / np.sqrt(120))

    assert off("propensities") < 4
    assert off("model") < 4
    assert off("model, ips") > 8
    assert off("neither") > 8


def test_a_good_model_narrows_the_interval() -> None:
    shop = Shop.open(1, 800, 4, cascade=False)
    logged = shop.logged(0.6)
    found = evaluate(logged, ranking(logged, shop.best()), guesses=(shop.rate(logged.items), shop.rate(shop.best())))
    assert found.target["dr"].error < 0.9 * found.target["ips"].error


def test_the_cascade_is_right_where_items_above_matter_and_independent_places_are_not() -> None:
    truth = truth_of("best", 0.6)
    means: dict[str, list[float]] = {a: [] for a in ASSUMPTIONS}
    for seed in range(100):
        shop = Shop.open(seed, 500, 6)
        logged = shop.logged(0.6)
        for assume in ASSUMPTIONS:
            means[assume].append(evaluate(logged, ranking(logged, shop.best()), assume=assume).target["ips"].value)
    off = {a: abs(np.mean(v) - truth) / (np.std(v) / 10) for a, v in means.items()}
    assert off["slate"] < 4
    assert off["cascade"] < 4
    assert off["independent"] > 6
    assert np.std(means["cascade"]) < np.std(means["slate"])


def test_an_answerable_question_is_answered_without_a_warning() -> None:
    shop = Shop.open(2, 1000, 4)
    logged = shop.logged(0.6)
    found = evaluate(logged, ranking(logged, shop.best()))
    assert found.answerable
    assert found.warnings == []
    np.testing.assert_allclose(found.overlap.mean_weight, 1, atol=0.15)


def test_a_log_without_chance_says_that_it_cannot_answer() -> None:
    shop = Shop.open(2, 500, 4)
    logged = shop.logged(0.0)
    found = evaluate(logged, ranking(logged, shop.best()))
    assert not found.answerable
    assert "holds no chance" in found.warnings[0]


def test_items_that_chance_could_not_reach_are_noticed() -> None:
    shop = Shop.open(2, 1000, 4)
    logged = shop.logged(0.6, pool=2)
    found = evaluate(logged, ranking(logged, shop.worst()))
    assert not found.answerable
    assert "overlaps too little" in found.warnings[0]


def test_an_effective_sample_of_a_few_is_noticed() -> None:
    shop = Shop.open(2, 400, 4)
    logged = shop.logged(0.15)
    found = evaluate(logged, ranking(logged, shop.worst()))
    assert not found.answerable
    assert any(f"of {len(logged):,} recommendations tell" in said for said in found.warnings)
    assert found.ess < 50


def test_wrong_propensities_are_noticed_by_their_weights() -> None:
    shop = Shop.open(2, 1000, 4)
    logged = shop.logged(0.6)
    wrong = Logged(logged.users, logged.items, logged.rewards, logged.propensities / 2)
    assert not evaluate(wrong, ranking(wrong, logged.items)).answerable


def test_clipping_is_told_and_lowers_the_estimate() -> None:
    shop = Shop.open(2, 1000, 4)
    logged = shop.logged(0.6)
    whole, cut = (evaluate(logged, ranking(logged, shop.best()), clip=clip) for clip in (None, 5.0))
    assert cut.target["ips"].value < whole.target["ips"].value
    assert any("cut at 5" in said for said in cut.warnings)


def test_the_logging_policy_as_its_own_target_is_the_log() -> None:
    logged = Shop.open(2, 200, 4).logged(0.3)
    found = evaluate(logged, exploring(logged, 1.0))
    for name in ("ips", "snips", "dr"):
        assert found.target[name].value == pytest.approx(found.logging.value)
        assert found.lift[name].low <= 0 <= found.lift[name].high
    assert found.ess == pytest.approx(len(logged))


def test_the_end_of_a_slate_is_an_action_too() -> None:
    items = np.array([[1, 2], [3, -1]])
    logged = Logged(np.arange(2), items, np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.9, 0.9], [0.9, 1.0]]))
    same, longer = (evaluate(logged, ranking(logged, np.array(t))) for t in ([[1, 2], [3, -1]], [[1, 2], [3, 4]]))
    assert same.target["ips"].value == pytest.approx((1 / 0.81 + 1 / 0.9) / 2)
    assert longer.overlap.mean_weight[1] == pytest.approx(0.5 / 0.81)


@pytest.mark.parametrize(
    "broken", [{"propensities": np.array([[0.0]])}, {"propensities": np.array([[1.5]])}, {"users": np.arange(2)}]
)
def test_a_log_that_makes_no_sense_is_refused(broken: dict[str, np.ndarray]) -> None:
    whole = {
        "users": np.arange(1),
        "items": np.array([[1]]),
        "rewards": np.zeros((1, 1)),
        "propensities": np.ones((1, 1)),
    }
    with pytest.raises(ValueError, match="should be"):
        Logged(**(whole | broken))


def test_one_user_has_a_value_and_no_interval() -> None:
    found = estimate(Ratios(np.ones((3, 1)), np.ones((3, 1))), np.zeros(3, np.int64))
    assert found.value == 1
    assert np.isnan(found.low)


def test_slates_of_one_user_count_as_one_voice() -> None:
    """A log in which every slate stands ten times is no wiser: users, not slates, make the interval."""
    shop = Shop.open(4, 200, 1)
    rewards = shop.logged(0.5).rewards
    once = estimate(Ratios(rewards, np.ones_like(rewards)), np.arange(200))
    often = estimate(Ratios(np.repeat(rewards, 10, axis=0), np.ones((2000, K))), np.repeat(np.arange(200), 10))
    assert often.error == pytest.approx(once.error)
