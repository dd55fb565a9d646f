"""What a condition means for an item."""

import pytest

from recsys.dialogue.conditions import condition_from_request
from recsys.dialogue.meaning import checker, satisfies
from recsys.user import Condition
from schemas.constraints import Constraint
from schemas.items import Item


def item(**fields):
    return Item.model_validate({"item_id": "i1", "title": "A thing", **fields})


def condition(line, unit=None):
    name, op, value = line.split(" ", 2)
    typed = float(value) if op in ("<=", ">=") else value.split("|") if op in ("in", "not_in") else value
    return Condition(name=name, op=op, value=typed, unit=unit)


YUAN = {"amount": 500, "currency": "CNY"}

CASES = [
    # price
    ("price <= 500", "CNY", {"price": YUAN}, True),
    ("price <= 499.99", "CNY", {"price": YUAN}, False),
    ("price >= 500", "CNY", {"price": YUAN}, True),
    ("price <= 500", "USD", {"price": YUAN}, False),
    ("price >= 1", "USD", {"price": YUAN}, False),
    ("price <= 500", None, {"price": YUAN}, True),
    ("price <= 500", "CNY", {}, False),
    ("price >= 0", None, {}, False),
    ("price == cheap", None, {"price": YUAN}, False),
    # category
    ("category == dress", None, {"categories": ["Dresses"]}, True),
    ("category == 连衣裙", None, {"categories": ["Dresses"]}, True),
    ("category == Dresses", None, {"categories": ["连衣裙"]}, True),
    ("category == dress", None, {"categories": ["Women > Wedding Dresses"]}, True),
    ("category == shoes", None, {"categories": ["Sneakers"]}, True),
    ("category == 鞋", None, {"categories": ["女鞋"]}, True),
    ("category == bag", None, {"categories": ["面包"]}, False),
    ("category == phone", None, {"categories": ["Phone Cases"]}, False),
    ("category == dress", None, {"categories": ["Shoes"]}, False),
    ("category == dress", None, {}, False),
    ("category in dress|shoes", None, {"categories": ["Shoes"]}, True),
    ("category not_in games", None, {"categories": ["Video Games", "Horror"]}, False),
    ("category not_in games", None, {"categories": ["Films"]}, True),
    ("category not_in games", None, {}, True),
    ("category == Home & Kitchen", None, {"categories": ["Home & Kitchen"]}, True),
    # brand
    ("brand == nike", None, {"brand": "NIKE"}, True),
    ("brand == 耐克", None, {"brand": "Nike"}, True),
    ("brand == Nike", None, {"title": "Nike shoe"}, False),
    ("brand not_in Nike", None, {"brand": "nike"}, False),
    ("brand not_in Nike", None, {"brand": "Puma", "title": "better than Nike"}, True),
    ("brand not_in Nike", None, {"title": "Nike shoe"}, False),
    ("brand not_in Nike", None, {"title": "耐克鞋"}, False),
    ("brand not_in Nike", None, {"title": "A shoe"}, True),
    # colour
    ("colour == red", None, {"attributes": {"colour": "Red"}}, True),
    ("colour == red", None, {"attributes": {"color": "红色"}}, True),
    ("colour == 红色", None, {"attributes": {"颜色": "red"}}, True),
    ("colour == grey", None, {"attributes": {"colour": "gray"}}, True),
    ("colour == red", None, {"attributes": {"colour": "Red / White"}}, True),
    ("colour == red", None, {"attributes": {"colour": ["white", "red"]}}, True),
    ("colour == red", None, {"attributes": {"colour": "dark red"}}, False),
    ("colour not_in red", None, {"attributes": {"colour": "dark red"}}, False),
    ("colour not_in red", None, {"attributes": {"colour": "blue"}, "title": "Red Bull blue can"}, True),
    ("colour == red", None, {"attributes": {"colour": "blue"}, "title": "Red dress"}, False),
    ("colour == red", None, {"title": "A Red Dress"}, True),
    ("colour == red", None, {"title": "红裙子"}, True),
    ("colour == red", None, {"title": "红楼梦"}, False),
    ("colour == red", None, {"title": "Redmi phone"}, False),
    ("colour == blue", None, {"title": "navy blue jacket"}, False),
    ("colour == navy", None, {"title": "navy blue jacket"}, True),
    ("colour not_in red", None, {"description": "comes in red only"}, False),
    ("colour == space grey", None, {"attributes": {"colour": "Space Grey"}}, True),
    ("colour == space grey", None, {"title": "Laptop, Space Grey"}, True),
    # word
    ("word not_in leather", None, {"title": "Leather jacket"}, False),
    ("word not_in leather", None, {"description": "made of LEATHER."}, False),
    ("word not_in leather", None, {"categories": ["Leather goods"]}, False),
    ("word not_in leather", None, {"title": "Leatherman tool"}, True),
    ("word not_in dress", None, {"title": "Dresses"}, False),
    ("word not_in movies", None, {"title": "a movie night"}, False),
    ("word not_in 蕾丝", None, {"title": "黑色蕾丝裙"}, False),
    ("word not_in 蕾丝", None, {"title": "黑色裙"}, True),
    ("word not_in sci-fi", None, {"title": "A Sci Fi tale"}, False),
    ("word not_in cafe", None, {"title": "Café chair"}, False),
    ("word in cotton", None, {"title": "100% Cotton"}, True),
    # attributes
    ("size == M", None, {"attributes": {"size": "m"}}, True),
    ("size == M", None, {}, False),
    ("size not_in M", None, {"attributes": {"size": "M"}}, False),
    ("size not_in M", None, {}, True),
    ("尺码 == M", None, {"attributes": {"size": "M"}}, True),
    ("memory >= 16", None, {"attributes": {"memory": 16}}, True),
    ("memory >= 16", None, {"attributes": {"memory": 8}}, False),
    ("memory >= 16", None, {"attributes": {"memory": "32"}}, True),
    ("memory >= 16", None, {"attributes": {"memory": "lots"}}, False),
    ("memory >= 16", None, {"attributes": {"memory": True}}, False),
    ("year == 2020", None, {"attributes": {"year": 2020}}, True),
    ("waterproof == true", None, {"attributes": {"waterproof": True}}, True),
    ("brand <= 3", None, {"brand": "3"}, False),
]


@pytest.mark.parametrize(("line", "unit", "fields", "met"), CASES)
def test_an_item_meets_a_condition(line, unit, fields, met):
    assert satisfies(item(**fields), condition(line, unit)) is met


def test_a_checker_gives_each_item_its_own_answer():
    check = checker(condition("brand not_in Nike"))
    titles = ["Nike shoe", "A shoe", "Nike shoe"]
    assert [check(item(title=title)) for title in titles] == [False, True, False]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"name": "color", "op": "in", "value": ["red"]}, {"name": "colour", "op": "==", "value": "red"}),
        ({"name": "价格", "op": "<=", "value": 5.0, "unit": "元"}, {"name": "price", "unit": "CNY"}),
        ({"name": "price", "op": "<=", "value": 5.0, "unit": "usd"}, {"unit": "USD"}),
        ({"name": "price", "op": "<=", "value": 5.0, "unit": "US dollars"}, {"unit": "USD"}),
        ({"name": "price", "op": "<=", "value": 5.0, "unit": ""}, {"unit": None}),
        ({"name": "Categories", "op": "not_in", "value": ["a", "b"]}, {"name": "category", "value": ["a", "b"]}),
        ({"name": "size", "op": "==", "value": "M"}, {"name": "size", "op": "==", "value": "M"}),
        ({"name": "word", "op": "==", "value": "cotton"}, {"op": "in", "value": ["cotton"]}),
    ],
)
def test_a_requests_condition_is_put_in_the_houses_form(given, wanted):
    made = condition_from_request(Constraint(**given))._asdict()
    assert {name: made[name] for name in wanted} == wanted


def test_putting_in_form_twice_changes_nothing_more():
    once = condition_from_request(Constraint(name="Color", op="in", value=["red"], unit="yuan"))
    assert condition_from_request(Constraint(**once._asdict())) == once
