"""Laws of understanding and merging, over generated text."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from recsys.dialogue.conditions import MAX_IN_FORCE, Understanding, contradiction, merge
from recsys.dialogue.meaning import satisfies
from recsys.dialogue.understand import understand
from recsys.dialogue.vocabulary import Vocabulary
from recsys.text import terms
from recsys.user import Condition
from schemas.constraints import Constraint
from schemas.items import Item

SHOP = Vocabulary.build(
    {("Clothing", "Dresses"): 2, ("Shoes",): 1, ("Films", "Horror"): 1},
    {"Nike": 1, "Adidas": 1},
    {"colour": {"red": 1}, "size": {"M": 1}, "material": {"leather": 1}},
    ["memory"],
)

AT_MOST = [
    "under {}", "below {}", "less than {}", "no more than {}", "not over {}", "up to {}", "at most {}", "max {}",
    "{} or less", "{} or under", "{} max", "my budget is {}", "I don't want to spend over {}", "nothing above {}",
    "不超过{}", "低于{}", "最多{}", "{}以内", "{}以下", "预算{}", "价格不超过{}", "不要超过{}", "别超过{}", 
    "价格在{}以下",
]  # fmt: skip
AT_LEAST = [
    "over {}", "above {}", "more than {}", "at least {}", "no less than {}", "{} or more", "{} and up", "not under {}",
    "高于{}", "至少{}", "不低于{}", "{}以上", "超过{}", "价格在{}以上", "不要低于{}",
]  # fmt: skip
MONEY = [
    ("{}", None), ("{} yuan", "CNY"), ("{}元", "CNY"), ("{}块", "CNY"), ("¥{}", "CNY"), ("{} rmb", "CNY"),
    ("${}", "USD"), ("{} dollars", "USD"), ("{}美元", "USD"), ("€{}", "EUR"), ("{} GBP", "GBP"), ("USD {}", "USD"),
]  # fmt: skip
ONES = """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen"""
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
DIGITS = "零一二三四五六七八九"

amounts = st.integers(1, 999_999)


def in_chinese(number: int) -> str:
    if number >= 10_000:
        rest = number % 10_000
        gap = "零" if 0 < rest < 1000 else ""
        return in_chinese(number // 10_000) + "万" + (gap + in_chinese(rest) if rest else "")
    said, gap = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // unit % 10
        if digit:
            said += ("零" if gap and said else "") + DIGITS[digit] + name
            gap = False
        else:
            gap = True
    return said


def in_words(number: int) -> str:
    ones, tens = ONES.split(), TENS.split()
    if number >= 1000:
        rest = number % 1000
        return f"{in_words(number // 1000)} thousand" + (f" {in_words(rest)}" if rest else "")
    if number >= 100:
        rest = number % 100
        return f"{ones[number // 100 - 1]} hundred" + (f" and {in_words(rest)}" if rest else "")
    if number >= 20:
        rest = number % 10
        return tens[number // 10 - 2] + (f"-{ones[rest - 1]}" if rest else "")
    return ones[number - 1]


def prices(text):
    said = understand(text, SHOP, event_id="e", expires=None)
    assert all(c.name == "price" for c in said.constraints), text
    return [(c.op, c.value, c.unit) for c in said.constraints]


@given(
    st.sampled_from([("<=", phrase) for phrase in AT_MOST] + [(">=", phrase) for phrase in AT_LEAST]),
    st.sampled_from(MONEY),
    amounts,
    st.sampled_from(["{:d}", "{:,d}", "{:.2f}"]),
)
@settings(max_examples=400)
def test_any_amount_in_any_phrase_comes_back(phrase, money, number, form):
    op, pattern = phrase
    text = pattern.format(money[0].format(form.format(number)))
    assert prices(text) == [(op, float(number), money[1])]


@given(amounts)
def test_any_chinese_numeral_comes_back(number):
    assert prices(f"不超过{in_chinese(number)}元") == [("<=", float(number), "CNY")]


@given(amounts)
def test_any_english_numeral_comes_back(number):
    assert prices(f"under {in_words(number)} dollars") == [("<=", float(number), "USD")]


@given(amounts, amounts, st.sampled_from(["between {} and {} yuan", "{}-{}元", "{}到{}元之间", "from {} to {} yuan"]))
def test_any_range_comes_back_in_order(one, other, pattern):
    low, high = sorted((one, other))
    assert prices(pattern.format(one, other)) == [(">=", float(low), "CNY"), ("<=", float(high), "CNY")]


PIECES = """
a red blue dress shoes Nike adidas leather not no under over 500 yuan $ , . but and or also forget any colour price
doesn't matter start over like want without only except 16 GB memory size M never mind instead of make it
不要 红色 连衣裙 的 耐克 除了 以外 不超过 五百 元 无所谓 颜色 也可以 换成 喜欢 想买 算了 重新来 ， 。 一 两
千 到 - 不 别
"""
WORDS = st.lists(st.sampled_from(PIECES.split()), max_size=14)


@given(st.text() | WORDS.map(" ".join) | WORDS.map("".join))
@example("\ud800 red")
@example("½ ² ③ ٣٤ yuan")
@example("千 一 两")
@example("a" * 5000)
@example("1" * 400 + "元")
@example("一" * 500)
@settings(max_examples=500)
def test_no_text_raises_and_all_conditions_are_valid(text):
    in_force = (Condition(name="colour", op="==", value="red", event_id="a"),)
    said = understand(text, SHOP, event_id="e", expires=5, in_force=in_force)
    for constraint in said.constraints:
        checked = Constraint.model_validate(constraint._asdict())
        assert type(checked.value) is type(constraint.value)
        assert Condition(**checked.model_dump()) == constraint
    assert "  " not in said.query
    terms(text)


@given(WORDS.map(" ".join))
def test_understanding_is_a_function_of_its_arguments(text):
    def once():
        return understand(text, SHOP, event_id="e", expires=None)

    assert once() == once()


constraints = st.builds(
    Condition,
    name=st.sampled_from(["price", "memory"]),
    op=st.sampled_from(["<=", ">="]),
    value=st.sampled_from([1.0, 5.0, 9.0]),
    unit=st.sampled_from([None, "CNY", "USD"]),
    expires=st.sampled_from([None, 10, 30]),
) | st.builds(
    Condition,
    name=st.sampled_from(["colour", "brand", "category", "word"]),
    op=st.sampled_from(["in", "not_in"]),
    value=st.lists(st.sampled_from(["red", "红色", "blue", "dress", "Nike"]), min_size=1, max_size=3, unique=True),
    expires=st.sampled_from([None, 10, 30]),
)
conditions = st.lists(constraints, max_size=20).map(tuple)
understood = st.builds(
    Understanding,
    constraints=st.lists(constraints, max_size=4).map(tuple),
    retracted=st.lists(constraints, max_size=2).map(tuple),
)


@given(conditions, understood, st.sampled_from([0, 20]))
def test_what_is_in_force_is_bounded_fresh_and_free_of_contradiction(before, said, now):
    after = merge(merge((), Understanding(constraints=before), now), said, now)
    assert len(after) <= MAX_IN_FORCE
    assert all(c.expires is None or c.expires > now for c in after)
    new = [c for c in after if c in said.constraints]
    assert not any(contradiction(one, other) for one in after for other in new if one is not other)


@given(conditions, understood)
def test_saying_the_same_again_changes_nothing(before, said):
    once = merge(before, said, 0)
    assert merge(once, said, 0) == once


@given(conditions)
def test_silence_changes_nothing(before):
    kept = before[-MAX_IN_FORCE:]
    assert merge(kept, Understanding(), 0) == kept


@given(conditions, understood)
def test_the_newest_of_each_message_survives(before, said):
    if said.constraints:
        assert said.constraints[-1] in merge(before, said, 0)


items = st.builds(
    Item,
    item_id=st.just("i"),
    title=st.text(max_size=20) | st.sampled_from(["Red dress", "Nike 红裙子"]),
    categories=st.lists(st.sampled_from(["Dresses", "连衣裙", "Red > Shoes"]), max_size=2),
    brand=st.sampled_from([None, "Nike", "nike"]),
    attributes=st.dictionaries(
        st.sampled_from(["colour", "memory"]), st.text(max_size=6) | st.sampled_from(["red", 5, True, None])
    ),
)


@given(items, constraints)
def test_what_is_refused_is_never_also_granted(item, constraint):
    met = satisfies(item, constraint)
    if constraint.op == "in":
        refused = Condition(name=constraint.name, op="not_in", value=constraint.value)
        assert not (met and satisfies(item, refused))
