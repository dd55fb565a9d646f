"""The simulation rewards knowing the shopper, and is the same each time. The figures here are of stand-ins."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import orjson
import pytest

from schemas.decode import Malformed, decode_event
from streams.demo import phrases
from streams.demo.market import Market
from streams.demo.measure import TOP, Look, Popularity
from streams.demo.taste import Wish, chances, fulfils

TURNS = 1800


@pytest.fixture(scope="module")
def runs(items, run, recommenders):
    """(market, log) of each stand-in over the same shoppers."""
    return {name: run(items, make(), turns=TURNS) for name, make in recommenders.items()}


def hit_rates(runs, name):
    return runs[name][0].tally.all.rates()


def test_the_same_seed_and_rankings_give_the_same_events(items, run, recommenders):
    again = [run(items, recommenders["content"](), turns=300)[1] for _ in range(2)]
    other = run(items, recommenders["content"](), turns=300, seed=6)[1]
    assert again[0] == again[1]
    assert again[0] != other


def test_another_time_of_day_changes_nothing_but_the_times(items):
    logs = []
    for start in (1_790_000_000_000, 1_791_234_567_890):
        market = Market(items, 20, 1)
        events = [event for turn in range(15) for event in market.act(start + turn)]
        logs.append([{key: value for key, value in event.items() if key != "ts"} for event in events])
    assert logs[0] == logs[1]
    assert logs[0]


def test_all_events_are_valid_records_in_order(runs):
    for _, log in runs.values():
        last: dict[str, int] = {}
        for event in log:
            decoded = decode_event(event["user_id"].encode(), orjson.dumps(event), 1 << 20)
            assert not isinstance(decoded, Malformed), (event, decoded)
            assert event["ts"] >= last.get(event["user_id"], 0)
            last[event["user_id"]] = event["ts"]
        assert len({event["event_id"] for event in log}) == len(log)


def test_who_knows_the_taste_beats_popularity_by_far(runs):
    ours, popular = hit_rates(runs, "oracle")
    assert ours > 0.75
    assert ours > 2 * popular


def test_likeness_to_what_was_clicked_beats_popularity_clearly(runs):
    ours, popular = hit_rates(runs, "content")
    assert ours > 1.4 * popular


def test_popularity_in_our_place_scores_like_popularity(runs):
    ours, popular = hit_rates(runs, "popularity")
    # the lists differ by what was clicked between making a ranking and looking at it
    assert ours == pytest.approx(popular, abs=0.03)


def test_a_profile_that_stops_learning_falls_behind(runs):
    assert hit_rates(runs, "content")[0] > hit_rates(runs, "frozen")[0] + 0.03


def test_a_change_of_taste_makes_old_rankings_worse(items):
    market = Market(items, 60, 4)
    before, after = [], []
    for shopper in market.shoppers:
        best = np.argsort(-chances(market.features, shopper.taste))[:TOP]
        before.append(chances(market.features, shopper.taste)[best].mean())
        shopper.shift()
        after.append(chances(market.features, shopper.taste)[best].mean())
    assert np.mean(after) < 0.5 * np.mean(before)


def test_shoppers_arrive_with_few_events_and_many_of_them_act(runs, items):
    _, log = runs["content"]
    assert len({event["user_id"] for event in log}) > 100
    for shopper in Market(items, 40, 9).shoppers:
        assert 1 <= len(shopper.arrive(1_790_000_000_000).events) <= 2


def test_every_kind_of_event_occurs_in_both_languages(runs):
    market, log = runs["content"]
    kinds = {event.get("action", event["type"]) for event in log}
    assert kinds >= {"view", "click", "add_to_cart", "purchase", "like", "skip", "chat", "request", "impression"}
    assert market.tally.shifts > 10
    chats = [event["text"] for event in log if event["type"] == "chat"]
    assert sum(bool(re.search("[\u4e00-\u9fff]", text)) for text in chats) > 10
    assert sum(text.isascii() for text in chats) > 10
    assert len(set(chats)) > len(chats) / 3
    reviews = [event for event in log if event.get("action") == "review"]
    assert reviews
    assert all(review["text"] for review in reviews)


def test_interactions_with_what_was_shown_name_the_ranking(runs):
    _, log = runs["content"]
    shown = {event["rec_id"]: event["item_ids"] for event in log if event["type"] == "impression"}
    named = [event for event in log if event["type"] == "interaction" and "rec_id" in event]
    assert named
    assert all(event["item_id"] in shown[event["rec_id"]] for event in named)


def test_upper_places_are_clicked_more_often_for_the_same_items(items):
    market = Market(items, 1, 2)
    rows = list(range(TOP))
    sure = np.ones(len(items))
    places: Counter[int] = Counter()
    for _ in range(2000):
        look = market.shoppers[0].look()
        places.update(Look(sure, look.item_draws, look.place_draws).clicked(rows))
    assert places[0] == 2000
    assert places[0] > places[4] > places[9] > 600


def test_one_list_is_judged_the_same_whoever_made_it(items):
    shopper = Market(items, 1, 2).shoppers[0]
    for _ in range(50):
        look = shopper.look()
        assert look.clicked([3, 1, 4]) == look.clicked([3, 1, 4])
        assert look.clicked([-1] * TOP) == []


def test_the_popular_list_leaves_out_what_the_shopper_knows():
    popularity = Popularity(30)
    popularity.counts[:] = np.arange(30)
    seen = np.zeros(30, dtype=bool)
    seen[[29, 27]] = True
    assert popularity.top(seen) == [28, 26, 25, 24, 23, 22, 21, 20, 19, 18]
    assert popularity.top(~seen) == [29, 27]


def test_a_wish_is_said_as_it_is_meant(items):
    market = Market(items, 1, 3)
    features = market.features
    red = features.names["colour"].index("red")
    wish = Wish(shelf=features.shelves.index(("clothing", "dresses")), colour=red, most=500.0)
    random = np.random.default_rng(1)
    english = {phrases.want(features, wish, "en", random) for _ in range(200)}
    chinese = {phrases.want(features, wish, "zh", random) for _ in range(200)}
    assert all("red dress" in text and "500 yuan" in text for text in english)
    assert all("红色的连衣裙" in text and re.search("500[元块]", text) for text in chinese)
    assert min(len(english), len(chinese)) > 15
    cheap_red_dresses = [items[row]["title"] for row in np.flatnonzero(fulfils(features, wish))]
    assert cheap_red_dresses
    assert all("Red" in title or "红色" in title for title in cheap_red_dresses)


def test_every_shelf_can_be_spoken_of_in_good_grammar(items):
    market = Market(items, 1, 3)
    shopping = {shelf for shelf in market.features.shelves if shelf[0] != "help"}
    assert shopping == set(phrases.NOUNS)
    random = np.random.default_rng(2)
    for number, shelf in enumerate(market.features.shelves):
        if shelf not in shopping:
            continue
        for _ in range(20):
            text = phrases.want(market.features, Wish(shelf=number), "en", random)
            assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]|  |\{", text), text


def test_a_shopper_without_an_answer_goes_on_alone(items):
    market = Market(items, 5, 1)
    now = 1_790_000_000_000
    for turn in range(50):
        market.act(now + turn)
    assert market.waiting == 5
    assert market.act(now + 10_000)
    assert market.tally.impatient > 0
