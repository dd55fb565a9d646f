"""Messages one after another: what is replaced, taken back, added, and forgotten."""

import pytest

from recsys.dialogue.conditions import MAX_IN_FORCE, Understanding, contradiction, merge
from recsys.dialogue.understand import understand
from recsys.user import Condition

HOUR = 3_600_000

# message => conditions in force after it; a blank line begins another conversation
CONVERSATIONS = """
a red dress under 500 yuan => category=Dresses; colour=red; price<=500 CNY
under 300 yuan => category=Dresses; colour=red; price<=300 CNY
make it blue => category=Dresses; colour=blue; price<=300 CNY
any colour is fine => category=Dresses; price<=300 CNY
price doesn't matter => category=Dresses
show me jackets instead => category=Jackets
start over => -

a red dress => category=Dresses; colour=red
forget the red => category=Dresses
at least 100 dollars => category=Dresses; price>=100 USD
under 50 dollars => category=Dresses; price<=50 USD
never mind => category=Dresses

no leather => material!=leather; word!=leather
a leather jacket after all => category=Jackets; material=leather

shoes but not Nike => brand!=Nike; category=Shoes
ok, Nike is fine too => category=Shoes
no Adidas and no Nike => brand!=Adidas|Nike; category=Shoes
I don't mind Adidas => brand!=Nike; category=Shoes

red shoes => category=Shoes; colour=red
blue is fine too => category=Shoes; colour=red|blue
not red => category=Shoes; colour=blue; colour!=red
I don't care about the colour => category=Shoes

a phone between 1000 and 2000 yuan => category=Phones; price>=1000 CNY; price<=2000 CNY
any budget => category=Phones
by Huawei => brand=Huawei; category=Phones
any brand will do => category=Phones
thanks => category=Phones

snacks without sugar => word!=sugar
with sugar please => -

I want a laptop => category=Laptops
also a phone => category=Laptops|Phones
actually just headphones => category=Headphones

a red dress => category=Dresses; colour=red
not only red => category=Dresses
it doesn't have to be a dress => -

a blue jacket, no price limit => category=Jackets; colour=blue
no preference on colour => category=Jackets
remove the jacket => -

想买一件红色的连衣裙，价格不超过500元 => category=Dresses; colour=red; price<=500 CNY
300元以内 => category=Dresses; colour=red; price<=300 CNY
换成蓝色 => category=Dresses; colour=blue; price<=300 CNY
颜色无所谓 => category=Dresses; price<=300 CNY
价格不限 => category=Dresses
重新来 => -

不要耐克 => brand!=Nike
耐克也可以 => -

红色的鞋 => category=Shoes; colour=red
蓝色也行 => category=Shoes; colour=red|blue
什么颜色都行 => category=Shoes
多少钱都可以，要耐克的 => brand=Nike; category=Shoes
品牌无所谓 => category=Shoes
看看手机吧 => category=Phones

手机三千以内 => category=Phones; price<=3000
预算不限 => category=Phones
算了 => -

红色连衣裙 => category=Dresses; colour=red
忘了红色吧 => category=Dresses
不一定要连衣裙 => -

不喜欢恐怖片，想看电影 => category=Films; category!=Horror
还是恐怖片吧 => category=Films; category=Horror
"""


def conversations():
    for block in CONVERSATIONS.strip().split("\n\n"):
        turns = [line.rsplit(" => ", 1) for line in block.splitlines()]
        yield [(text, [] if wanted == "-" else sorted(wanted.split("; "))) for text, wanted in turns]


@pytest.mark.parametrize("turns", list(conversations()), ids=lambda turns: turns[0][0])
def test_conditions_follow_the_conversation(turns, vocabulary, lines):
    in_force = ()
    for at, (text, wanted) in enumerate(turns):
        said = understand(text, vocabulary, event_id=f"e{at}", expires=(at + 1) * HOUR, in_force=in_force)
        in_force = merge(in_force, said, now_ms=0)
        assert lines(in_force) == wanted, text


def test_new_conditions_carry_their_event_and_expiry(vocabulary):
    said = understand("a red dress under 500 yuan", vocabulary, event_id="e7", expires=99)
    assert {(c.event_id, c.expires) for c in said.constraints} == {("e7", 99)}


def test_expired_conditions_fall_away(vocabulary):
    said = understand("a red dress", vocabulary, event_id="e1", expires=1000)
    in_force = merge((), said, now_ms=0)
    assert merge(in_force, Understanding(), now_ms=999) == in_force
    assert merge(in_force, Understanding(), now_ms=1000) == ()


def test_only_the_newest_conditions_are_kept():
    many = tuple(Condition(name=f"size{at}", op="==", value="M") for at in range(20))
    kept = merge((), Understanding(constraints=many), now_ms=0)
    assert kept == many[-MAX_IN_FORCE:]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (("price", ">=", 300.0, "CNY"), ("price", "<=", 200.0, "CNY")),
        (("price", "<=", 200.0, "CNY"), ("price", ">=", 300.0, "CNY")),
        (("price", "<=", 200.0, "CNY"), ("price", ">=", 10.0, "USD")),
        (("colour", "==", "red", None), ("colour", "not_in", ["red"], None)),
        (("colour", "not_in", ["red"], None), ("colour", "==", "红色", None)),
        (("brand", "==", "Nike", None), ("brand", "not_in", ["耐克"], None)),
    ],
)
def test_of_two_that_contradict_the_newer_wins(older, newer):
    def make(parts):
        name, op, value, unit = parts
        return Condition(name=name, op=op, value=value, unit=unit)

    assert contradiction(make(older), make(newer))
    in_force = merge((make(older),), Understanding(constraints=(make(newer),)), now_ms=0)
    assert in_force == (make(newer),)


def test_a_part_of_a_refusal_can_be_taken_back(vocabulary, lines):
    first = merge((), understand("no red or blue", vocabulary, event_id="a", expires=None), 0)
    second = understand("forget the blue", vocabulary, event_id="b", expires=None, in_force=first)
    assert lines(second.retracted) == ["colour!=blue"]
    assert lines(merge(first, second, 0)) == ["colour!=red"]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("a red summer dress for a wedding", "summer wedding"),
        ("我想买一件适合婚礼的红色连衣裙", "婚礼"),
        ("running shoes under 500 yuan", "running shoes"),
        ("I like horror", "horror"),
        ("a case for my iPhone 15", "case iphone 15"),
        ("hello", ""),
        ("no red dresses", ""),
    ],
)
def test_words_that_no_condition_covers_stay_in_the_query(text, query, vocabulary):
    assert understand(text, vocabulary, event_id="e", expires=None).query == query


@pytest.mark.parametrize(
    ("text", "language", "is_request"),
    [
        ("a red dress", "en", True),
        ("do you have anything nice", "en", True),
        ("thanks", "en", False),
        ("I bought a dress yesterday", "en", False),
        ("I like red", "en", False),
        ("推荐一部电影", "zh", True),
        ("谢谢", "zh", False),
        ("looking for 手机 under 500", "en", True),
        ("想买一双 Nike 的鞋", "zh", True),
    ],
)
def test_language_and_whether_something_is_asked(text, language, is_request, vocabulary):
    said = understand(text, vocabulary, event_id="e", expires=None)
    assert (said.language, said.is_request) == (language, is_request)


def test_what_is_refused_is_named_as_it_was_said(vocabulary):
    said = understand("no leather, and nothing from 耐克", vocabulary, event_id="e", expires=None)
    assert said.negated_terms == ("leather", "耐克")


def test_a_vocabulary_of_nothing_still_knows_prices_and_colours(lines):
    from recsys.dialogue.vocabulary import Vocabulary

    said = understand("a red dress under 500 yuan", Vocabulary.build({}, {}, {}), event_id="e", expires=None)
    assert lines(said.constraints) == ["colour=red", "price<=500 CNY"]
    assert said.query == "dress"


def test_only_the_first_two_thousand_characters_are_parsed(vocabulary, lines):
    text = "word " * 399 + "red " + "x" * 1_000_000 + " blue"
    said = understand(text, vocabulary, event_id="e", expires=None)
    assert lines(said.constraints) == ["colour=red"]
