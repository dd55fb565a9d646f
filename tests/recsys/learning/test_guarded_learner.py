"""The lanes behind their gate: what is learnt, what may serve, and what a checkpoint and an erasure leave."""

from __future__ import annotations

import json

import numpy as np
import pytest
from msgspec.structs import replace

from recsys.features import CONTEXT, FEATURES, INDEX
from recsys.learning.guarded import GuardedLearner, ndcg, unhealthy
from recsys.learning.learner import Bounds, Learner, Learnt
from recsys.learning.moments import Choices
from recsys.learning.ranker import RankerLearner, ranks_of
from recsys.learning.screen import Screen
from recsys.learning.sequence import Rates, SequenceLearner
from recsys.learning.slates import SHARE, choices_of_slates
from recsys.policy import Policy
from recsys.rank import AdditiveRanker, Ranker, prior_weights
from schemas.events import EVENT
from schemas.training import TrainingExample

START = 1_760_000_000_000
RATES = Rates(epochs=1, positions=256)


def clicks(items, users=40, n=6, since=0, step=1):
    """Everybody goes round the shop in steps."""
    return [
        EVENT.validate_python({
            "event_id": f"e{since}-{user}-{turn}", "type": "interaction", "user_id": f"u{user}", "action": "click",
            "ts": START + since + turn * 60_000 + user, "item_id": items[(user * 3 + turn * step) % len(items)].item_id,
        })
        for turn in range(n)
        for user in range(users)
    ]  # fmt: skip


def made(screen=None):
    return GuardedLearner(Learner(Policy(), Bounds(first_fit=100), RATES), screen)


def take(guarded, world, events, examples=()):
    return guarded.take(world, events, [e.ts for e in events], list(examples), 10_000)


@pytest.fixture
def shop(world, shop_items):
    return world, [item for item in shop_items if item.answer is None]


def test_every_choice_is_learnt_from_once_and_serves_only_after_the_gate(shop):
    world, items = shop
    guarded = made()
    served = Learnt(prior_weights(), None)
    for wave in range(8):
        taken = take(guarded, world, clicks(items, since=wave * 10**6, step=wave % 3 + 1))
        guarded.learner.work(lambda: True, items=True)
        assert taken.not_finite == 0
        if guarded.candidate is None:
            assert guarded.put_up(served) is None
    assert guarded.learner.ranker.measured + guarded.learner.ranker.choices > 0
    assert guarded.candidate is not None
    assert guarded.candidate.learnt.sequence is not None
    assert set(guarded.candidate.files) == {"ranker", "sequence", "adapter"}
    decision = guarded.verdict().decision
    assert decision in ("promote", "hold", "wait")
    guarded.withdraw()
    guarded.put_up(served)
    guarded.promoted(served)
    assert guarded.candidate is None
    guarded.learner.work(lambda: True, items=False)
    take(guarded, world, clicks(items, since=10**8))
    guarded.learner.work(lambda: True, items=False)
    guarded.put_up(Learnt(prior_weights(), guarded.learner.learnt().sequence))
    assert "adapter" not in guarded.candidate.files, "the items stood still"


def test_a_checkpoint_goes_on_as_if_nothing_had_happened(shop):
    world, items = shop
    first = made(Screen())
    take(first, world, clicks(items))
    first.learner.work(lambda: True, items=True)
    take(first, world, clicks(items, since=10**6, step=2))
    arrays, meta = first.dump()
    second = GuardedLearner.restore(
        {k: v.copy() for k, v in arrays.items()}, json.loads(json.dumps(meta)), made(Screen())
    )
    second.learner.sequence.stock(world.catalogue.keys, world.dense.vectors())
    for one in (first, second):
        take(one, world, clicks(items, since=2 * 10**6, step=3))
        one.learner.work(lambda: True, items=True)
    np.testing.assert_array_equal(first.learner.ranker.weights, second.learner.ranker.weights)
    one, other = first.learner.learnt().sequence, second.learner.learnt().sequence
    np.testing.assert_allclose(one.into, other.into, atol=1e-5)
    assert list(first.learner.users) == list(second.learner.users)


def test_who_erases_themselves_is_in_nothing_that_is_written_down(shop):
    world, items = shop
    guarded = made(Screen())
    take(guarded, world, clicks(items))
    forget = EVENT.validate_python(
        {"event_id": "f", "type": "forget", "user_id": "u7", "scope": "all", "ts": START + 10**7}
    )
    taken = take(guarded, world, [forget])
    assert [(event.user_id, visits) for event, visits in taken.forgotten] == [("u7", 6)]
    arrays, _ = guarded.dump()
    assert "u7" not in guarded.learner.users
    assert b"u7" not in arrays["learner.users.id"].tobytes().replace(b"u17", b"").replace(b"u27", b"").replace(
        b"u37", b""
    )
    before = len(arrays["learner.sequence.paths.user"])
    assert before == 39


def test_items_that_come_later_are_learnt_too(shop):
    world, _ = shop
    learner = SequenceLearner(
        world.catalogue.keys[:10], world.dense.vectors(slice(10)), Rates(epochs=2, fit=1e-2, update=1e-2)
    )
    rng = np.random.default_rng(1)

    def visit(n, low, high, since):
        learner.take(np.arange(n) % 20, rng.integers(low, high, n), np.arange(n) + since, np.ones(n, np.float32))

    visit(200, 0, 10, 0)
    learner.fit()
    before = learner.snapshot()
    learner.stock(world.catalogue.keys[5:30], world.dense.vectors(slice(5, 30)))
    assert len(learner.keys) == 30
    visit(300, 20, 30, 10_000)
    learner.update()
    after = learner.snapshot()
    assert len(after.keys) == 30
    late = learner.rows_of(world.catalogue.keys[20:30])
    row = np.searchsorted(after.keys, learner.keys[late])
    assert (np.abs(after.bias[row]) > 0).all()
    assert len(before.keys) == 10


def test_the_user_side_moves_alone(shop):
    world, _ = shop
    learner = SequenceLearner(world.catalogue.keys, world.dense.vectors(), RATES)
    rng = np.random.default_rng(1)
    learner.take(np.arange(300) % 30, rng.integers(40, size=300), np.arange(300), np.ones(300, np.float32))
    learner.fit()
    before = learner.snapshot()
    learner.take(np.arange(60) % 30, rng.integers(40, size=60), np.arange(60) + 999, np.ones(60, np.float32))
    learner.update_users()
    after = learner.snapshot()
    for name, array in before.item_side().items():
        np.testing.assert_array_equal(array, after.item_side()[name])
    assert any((a != after.user_side()[name]).any() for name, a in before.user_side().items())


def example(chosen, others, action="click", **features):
    def placed(position):
        return {"item_id": f"i{position}", "position": position, "features": {"moment.always": 1.0, **features}}

    own = placed(chosen)
    return TrainingExample.model_validate({
        "example_id": f"x{chosen}", "user_id": "u", "rec_id": "r", "propensity": 0.9, "feature_schema": "2",
        "label": {"action": action, "delay_ms": 5}, "beside": [placed(p) for p in others],
        "world": {"release_id": "none", "statistics_id": "none", "catalogue_version": "0"},
        "recommended_ts": 1, "labelled_ts": 2, **own,
    })  # fmt: skip


def test_a_slate_is_a_choice_among_what_was_offered():
    policy = Policy()
    some = [example(2, [1, 3]), example(1, []), example(3, [1], action="dislike", similarity=0.5)]
    choices = choices_of_slates(some, policy)
    assert choices is not None
    assert len(choices) == 2, "one that was offered alone says nothing"
    assert choices.position[0].tolist() == [2, 1, 3]
    assert choices.weight[0] == pytest.approx(SHARE)
    assert choices.weight[1] == pytest.approx(-2.5 * SHARE)
    assert choices.x[1, 0, INDEX["similarity"]] == pytest.approx(0.5)
    assert not choices.there[1, 2]
    assert choices_of_slates([example(1, [2]).model_copy(update={"label": None})], policy) is None
    assert choices_of_slates([example(1, [2]).model_copy(update={"feature_schema": "1"})], policy) is None


def test_what_stood_higher_is_not_taken_for_better():
    """Users who look at the first place ten times as often, and otherwise choose by one feature."""
    rng = np.random.default_rng(2)
    learner = RankerLearner(measured=10_000, spread=np.ones(len(FEATURES)))
    n, c = 4000, 5
    x = np.zeros((n, c, len(FEATURES)), np.float32)
    x[:, :, INDEX["similarity"]] = rng.normal(0, 1, (n, c))
    x[:, :, INDEX["newness"]] = -np.arange(c) / c  # says nothing but the place
    position = np.tile(np.arange(1, c + 1), (n, 1))
    odds = x[:, :, INDEX["similarity"]] * 2 - np.log(np.array([1, 3, 6, 10, 10]))
    target = (odds + rng.gumbel(size=odds.shape)).argmax(axis=1)
    context = np.zeros((n, len(CONTEXT)), np.float32)
    context[:, 0] = 1
    order = rng.permuted(np.tile(np.arange(c), (n, 1)), axis=1)  # what is shown where is drawn
    line = np.arange(n)[:, None]
    x[:, :, INDEX["newness"]] = 0
    learner.learn(
        Choices(
            x[line, order], context, np.ones((n, c), bool), np.zeros((n, c), np.float32),
            (order == target[:, None]).argmax(axis=1), position=position[line, order],
        )
    )  # fmt: skip
    places = learner.places[1:6] - learner.places[1]
    np.testing.assert_allclose(places, -np.log([1, 3, 6, 10, 10]), atol=0.5)
    assert learner.weights[0, INDEX["similarity"]] == pytest.approx(2 + 0, abs=1.2)


def test_numbers_that_are_none_never_serve_and_the_lanes_can_go_back(shop):
    world, items = shop
    guarded = made()
    take(guarded, world, clicks(items))
    guarded.learner.ranker.weights[0, 3] = np.nan
    assert "numbers that are none" in guarded.put_up(Learnt(prior_weights(), None))
    assert guarded.candidate is None
    guarded.adopt(Learnt(prior_weights(), None))
    assert guarded.put_up(Learnt(prior_weights(), None)) is None
    assert "grown" in unhealthy({"ranker": {"weights": prior_weights() * 1e4}}, prior_weights())


def test_ranks_count_ties_against_and_drawn_items_for_all_they_stand_for():
    x = np.zeros((1, 4, len(FEATURES)), np.float32)
    x[0, :, INDEX["similarity"]] = [0.5, 0.5, 0.9, 0.1]
    context = np.zeros((1, len(CONTEXT)), np.float32)
    context[0, 0] = 1
    many = np.array([[0, 0, np.log(5), 0]], np.float32)
    some = Choices(x, context, np.ones((1, 4), bool), many, np.array([0]))
    assert ranks_of(some, prior_weights()).tolist() == pytest.approx([1 + 1 + 5])
    assert ndcg(np.array([1.0, 2.0, 11.0, np.inf])).tolist() == pytest.approx([1, 1 / np.log2(3), 0, 0])


def test_a_world_with_learnt_models_recommends_by_them(shop, new_log):
    world, items = shop
    guarded = made()
    for wave in range(3):
        take(guarded, world, clicks(items, since=wave * 10**6))
    guarded.learner.work(lambda: True, items=True)
    learnt = guarded.learner.learnt()
    served = world.with_models(Ranker(module=AdditiveRanker(learnt.ranker)), learnt.sequence, "sequence-1+ranker-1")
    log = new_log(served)
    log.click(items[0].item_id)
    made_by = log.send("request", k=5)[0]
    assert made_by["world"]["release_id"] == "sequence-1+ranker-1"
    assert "next" in {item["source"] for item in made_by["items"]} | {"next"}
    assert len(made_by["items"]) == 5


def test_a_release_that_turns_out_worse_is_told_with_what_served_before(shop):
    """The gate let it pass; what users choose afterwards says that it should not have."""
    world, _ = shop
    guarded = made()
    served = Learnt(prior_weights(), None)
    guarded.put_up(served)
    guarded.candidate.learnt.ranker[:] = -prior_weights()
    bad = world.with_models(Ranker(module=AdditiveRanker(-prior_weights())), None, "bad")
    guarded.promoted(served)
    assert guarded.regressed() is None
    for wave in range(6):
        likely = [
            EVENT.validate_python({
                "event_id": f"e{wave}-{user}-{turn}", "type": "interaction", "user_id": f"w{wave}-{user}",
                "action": "click", "ts": START + wave * 10**6 + turn * 1000,
                "item_id": f"{['dresses', 'books', 'games'][user % 3]}-{turn}{user % 4}",
            })
            for turn in range(3)
            for user in range(30)
        ]  # fmt: skip
        take(guarded, bad, likely)
    why, before = guarded.regressed()
    assert "choices" in why
    assert before is served
    guarded.adopt(before)
    assert guarded.regressed() is None


@pytest.mark.parametrize("bad", [float("inf"), float("nan"), 1e30, 70_000.0])
def test_an_example_with_a_number_that_no_feature_can_be_costs_itself_alone(shop, bad):
    world, _ = shop
    spoilt = example(2, [1], similarity=0.5)
    spoilt.beside[0].features["similarity"] = bad
    slates = [example(1, [2], similarity=n / 600) for n in range(600)]
    with_it, without = made(), made()
    taken = take(with_it, world, [], [*slates[:300], spoilt, *slates[300:]])
    assert (taken.choices, taken.not_finite) == (600, 1)
    assert take(without, world, [], slates).choices == 600
    np.testing.assert_array_equal(with_it.learner.ranker.weights, without.learner.ranker.weights)
    assert with_it.gate.level.mean == without.gate.level.mean


def test_a_choice_whose_features_are_no_numbers_costs_itself_alone(shop, monkeypatch):
    world, items = shop
    guarded, whole = made(), made()

    def spoilt(*asked):
        blocks = Learner.choices(guarded.learner, *asked)
        blocks[0].x[3, 0, 0] = np.nan
        return blocks

    monkeypatch.setattr(guarded.learner, "choices", spoilt)
    taken = take(guarded, world, clicks(items))
    assert taken.not_finite == 1
    assert taken.choices == take(whole, world, clicks(items)).choices - 1
    assert np.isfinite(guarded.learner.ranker.weights).all()


def test_examples_of_another_feature_table_are_left_out_and_counted(shop):
    world, _ = shop
    later = example(1, [2]).model_copy(update={"feature_schema": "99"})
    taken = take(made(), world, [], [later, example(1, [2]), later])
    assert (taken.choices, taken.other_schema) == (1, 2)


def test_items_that_are_not_known_teach_nothing_until_they_are(shop):
    world, items = shop
    guarded = made()
    strange = [replace(event, item_id=f"new-{event.item_id}") for event in clicks(items, users=5, n=2)]
    taken = take(guarded, world, strange)
    assert taken.choices == 0
    assert guarded.learner.sequence.visits == 0
    slate = example(1, [2]).model_copy(update={"item_id": "gone"})
    assert take(guarded, world, [], [slate]).choices == 1, "what is told by its features is learnt, whoever it was"
    known = [replace(event, event_id=f"k{event.event_id}") for event in clicks(items, users=5, n=2)]
    assert take(guarded, world, known).choices == len(known)


@pytest.mark.parametrize("ahead_ms", [5 * 3_600_000, 80 * 365 * 86_400_000])
def test_a_stamp_from_far_ahead_does_not_take_away_what_is_popular(shop, ahead_ms):
    world, items = shop
    guarded, calm = made(), made()
    take(guarded, world, clicks(items))
    take(calm, world, clicks(items))
    wrong = clicks(items, users=1, n=1, since=10**6)[0]
    at = wrong.ts
    right = replace(wrong, ts=at + 300_000)
    guarded.take(world, [replace(wrong, ts=at + ahead_ms)], [at], [], 100)
    calm.take(world, [right], [at], [], 100)
    for one in (guarded, calm):
        take(one, world, clicks(items, since=2 * 10**6, step=2))
    mine, theirs = guarded.dump(), calm.dump()
    np.testing.assert_array_equal(mine[0]["learner.sequence.weights"], theirs[0]["learner.sequence.weights"])
    assert mine[1]["learner"]["sequence"]["chunk"] == theirs[1]["learner"]["sequence"]["chunk"]


def test_stamps_of_long_ago_and_a_clock_that_is_set_back_are_learnt_from_all_the_same(shop):
    world, items = shop
    guarded = made()
    before = len(clicks(items))
    assert take(guarded, world, clicks(items)).choices == before
    late = clicks(items, since=-6 * 3_600_000, step=2)  # the log's own clock, six hours back
    taken = take(guarded, world, late)
    assert taken.choices > 0
    ancient = [replace(event, ts=5, user_id=f"old-{event.user_id}") for event in clicks(items, step=3)]
    assert guarded.take(world, ancient, [e.ts for e in clicks(items)], [], 10_000).choices == len(ancient)
    guarded.learner.work(lambda: True, items=True)
    assert guarded.put_up(Learnt(prior_weights(), None)) is None
