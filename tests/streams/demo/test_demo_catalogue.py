from __future__ import annotations

import json
import re
from collections import Counter

from schemas.items import Item
from streams.demo import catalogue

DEPARTMENTS = {"clothing", "laptops", "phones", "games", "films", "books", "help"}
CHINESE = re.compile("[\u4e00-\u9fff]")


def test_the_file_is_what_the_generator_makes():
    assert catalogue.FILE.read_text("utf-8") == "".join(catalogue.line(item) + "\n" for item in catalogue.make())


def test_every_item_is_a_valid_record(items):
    for item in items:
        assert Item.model_validate_json(json.dumps(item)).item_id == item["item_id"]


def test_it_is_large_enough_and_small_to_carry(items):
    assert len(items) >= 600
    assert catalogue.FILE.stat().st_size < 600_000


def test_no_two_items_share_an_id_or_a_title(items):
    assert len({item["item_id"] for item in items}) == len(items)
    assert len({item["title"].lower() for item in items}) == len(items)


def test_every_department_is_there_and_only_help_articles_have_no_price_but_an_answer(items):
    assert {item["categories"][0] for item in items} == DEPARTMENTS
    for item in items:
        helping = item["categories"][0] == "help"
        assert ("answer" in item) == helping
        assert ("price" in item) != helping
        if not helping:
            assert item["price"]["currency"] == "CNY"
            assert item["price"]["amount"] > 0
            assert item["brand"]


def test_titles_are_in_the_languages_that_an_item_states(items):
    spoken = Counter()
    for item in items:
        languages = item["attributes"]["languages"]
        spoken[tuple(languages)] += 1
        assert bool(CHINESE.search(item["title"])) == ("zh" in languages), item
        # a Chinese title may hold a model's name in Latin letters, but no English sentence
        assert ("en" in languages) == (len(re.findall("[A-Za-z]{3,}", item["title"])) >= 2), item
    assert min(spoken[("en",)], spoken[("zh",)], spoken[("en", "zh")]) > 100


def test_prices_differ_inside_every_shelf(items):
    shelves: dict[str, list[float]] = {}
    for item in items:
        if "price" in item:
            shelves.setdefault("/".join(item["categories"]), []).append(item["price"]["amount"])
    for shelf, prices in shelves.items():
        assert max(prices) > 1.5 * min(prices), shelf


def test_items_came_out_over_more_than_a_year(items):
    months = Counter(item["published_at"][:7] for item in items)
    assert len(months) > 24
