"""The reply to a chat: what was understood, what is offered, and whether it fits.

In: the language, the conditions (new, in force, taken back), the titles offered, the words left over. Out: one
to four short sentences in that language, which name only the titles passed in. Templates; no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from recsys.dialogue import naming
from recsys.dialogue.conditions import value_key, values_of
from recsys.dialogue.shop_words import ATTRIBUTES, BRANDS, COLOURS, Entry
from recsys.dialogue.tokens import is_han, key
from recsys.user import Condition

MAX_TITLES = 3
MAX_TITLE = 80  # characters of a title, and of the user's words
MAX_CONDITIONS = 8

# English nouns said in the plural, and those that take no article.
_PAIRS = frozenset(
    ["shoe", "sneaker", "boot", "sandal", "slipper", "sock", "glove", "headphone", "earphone", "pant", "jean",
     "legging", "earring", "running shoe", "basketball shoe", "dress shoe", "high heel", "building block"]
)  # fmt: skip
_BARE = frozenset(
    ["clothing", "underwear", "jewelry", "furniture", "music", "food", "coffee", "tea", "wine", "beer", "chocolate",
     "fruit", "action", "adventure", "strategy", "role playing", "simulation", "racing", "casual", "indie", "horror",
     "comedy", "romance", "mystery", "fantasy", "science fiction", "animation", "anime", "drama", "war", "western",
     "crime", "fiction", "history", "poetry", "skincare", "sport", "stationery", "football", "basketball", "kitchen",
     "help", "bedding", "tv series", "shorts", "glasses", "cosmetics", "electronics", "sports equipment",
     "pet supplies"]
)  # fmt: skip

_IRREGULAR = {"man": "men", "woman": "women", "mouse": "mice", "knife": "knives", "scarf": "scarves"}
_IRREGULAR |= {"gentleman": "gentlemen", "child": "children"}


class _Money(NamedTuple):
    english: str
    chinese: str


_MONEY = {
    "CNY": _Money("{} yuan", "{}元"),
    "USD": _Money("${}", "{}美元"),
    "EUR": _Money("€{}", "{}欧元"),
    "GBP": _Money("£{}", "{}英镑"),
    "JPY": _Money("{} yen", "{}日元"),
    "HKD": _Money("HK${}", "{}港元"),
    "KRW": _Money("{} won", "{}韩元"),
    "INR": _Money("{} rupees", "{}卢比"),
}


def reply(
    language: str,
    understood: Sequence[Condition],
    in_force: Sequence[Condition],
    titles: Sequence[str],
    retracted: Sequence[Condition] = (),
    query: str = "",
) -> str:
    """A short reply in `language` ("en" or "zh"). `titles` are those offered, best first; at most three are named."""
    chinese = language == "zh"
    sentences: list[str] = []
    new = in_words(understood, language)
    kept = in_words([c for c in in_force if c not in understood], language)
    dropped = in_words([c for c in retracted if not _replaced(c, understood)], language)
    if new:
        sentences.append(f"明白了：{_listed(new, language)}。" if chinese else f"Got it: {', '.join(new)}.")
    if dropped:
        listed = _listed(dropped, language)
        sentences.append(f"不再要求：{listed}。" if chinese else f"No longer required: {listed}.")
    if kept:
        listed = _listed(kept, language)
        sentences.append(f"仍然记得：{listed}。" if chinese else f"Still keeping to: {listed}.")
    wish = "" if new else _shortened(query)
    named = [short for title in titles if (short := _shortened(title))][:MAX_TITLES]
    sentences.append(_offer(named, wish, chinese) if named else _nothing(in_force, wish, language))
    return "".join(sentences) if chinese else " ".join(sentences)


def _offer(titles: list[str], wish: str, chinese: bool) -> str:
    if chinese:
        offered = "、".join(f"“{title}”" for title in titles)
        about = f"关于“{wish}”，" if wish else ""
        fits = "这些合适吗？" if len(titles) > 1 else "这个合适吗？"
        return f"{about}为您推荐{offered}。{fits}"
    quoted = [f"“{title}”" for title in titles]
    offered = f"{', '.join(quoted[:-1])} and {quoted[-1]}" if len(quoted) > 1 else quoted[0]
    about = f"For “{wish}” I" if wish else "I"
    return f"{about} would suggest {offered}. {'Does one of them fit?' if len(titles) > 1 else 'Does it fit?'}"


def _nothing(in_force: Sequence[Condition], wish: str, language: str) -> str:
    chinese = language == "zh"
    loose = loosest(in_force)
    if loose is not None:
        question = _loosened(loose, language)
        if chinese:
            return f"目前没有同时满足这些条件的商品。{question}"
        return f"I have nothing that fits all of this. {question}"
    if chinese:
        return f"目前没有找到{f'与“{wish}”相关的' if wish else '合适的'}商品。可以换个说法描述一下吗？"
    return f"I have found nothing that fits{f' “{wish}”' if wish else ''} yet. Could you put it in other words?"


# -- conditions in words ------------------------------------------------------------------------------------


def in_words(constraints: Sequence[Condition], language: str) -> list[str]:
    """Each condition as a short phrase, a floor and a ceiling as one, the noun first; at most eight."""
    chinese = language == "zh"
    phrases: list[str] = []
    said_words = {value_key("word", value) for c in constraints if c.name == "word" for value in values_of(c)}
    for constraint in sorted(constraints, key=_noun_first):
        if constraint.name == "price":
            continue
        refused = constraint.op == "not_in"
        values = [_value(constraint.name, value, language, refused) for value in _distinct(constraint, language)]
        if not values:
            continue
        # Of an attribute and a word for the same thing one is enough.
        if constraint.name not in _PHRASES and _all_said(constraint, said_words):
            continue
        either = ("或" if chinese else " or ").join(values)
        phrases.append(_phrase(constraint, either, chinese))
    phrases += _prices([c for c in constraints if c.name == "price" and _number(c)], chinese)
    return list(dict.fromkeys(phrases))[:MAX_CONDITIONS]


def _all_said(constraint: Condition, said: set[str]) -> bool:
    values = values_of(constraint)
    return constraint.op == "not_in" and all(value_key("word", value) in said for value in values)


_PHRASES: dict[str, tuple[str, str, str, str]] = {
    # name: asked and refused in English, asked and refused in Chinese
    "category": ("{}", "no {}", "{}", "不要{}"),
    "colour": ("in {}", "not in {}", "{}", "不要{}"),
    "brand": ("by {}", "not by {}", "品牌为{}", "不要{}"),
    "word": ("with “{}”", "without {}", "包含“{}”", "不含{}"),
}


def _noun_first(constraint: Condition) -> tuple[bool, int]:
    order = ("category", "colour", "brand")
    asked = constraint.op != "not_in"
    return not asked, order.index(constraint.name) if constraint.name in order else len(order)


def _phrase(constraint: Condition, either: str, chinese: bool) -> str:
    refused = constraint.op == "not_in"
    forms = _PHRASES.get(constraint.name)
    if forms is not None:
        return forms[2 * chinese + refused].format(either)
    name = _attribute_name(constraint.name, chinese)
    if chinese:
        verb = {"<=": "不超过", ">=": "不低于", "not_in": "不要"}.get(constraint.op, "为")
        return f"{name}{verb}{either}"
    verb = {"<=": " at most ", ">=": " at least ", "not_in": " not "}.get(constraint.op, " ")
    return f"{name}{verb}{either}"


def _prices(prices: Sequence[Condition], chinese: bool) -> list[str]:
    floors = [c for c in prices if c.op == ">="]
    ceilings = [c for c in prices if c.op == "<="]
    if len(floors) == 1 and len(ceilings) == 1 and floors[0].unit == ceilings[0].unit:
        low, high = _number(floors[0]), _money(ceilings[0], chinese)
        if not chinese:
            return [f"between {_money(floors[0], chinese) if '$' in high else low} and {high}"]
        return [f"价格在{low}到{high}之间"]
    words = {"<=": ("at most {}", "价格不超过{}"), ">=": ("at least {}", "价格不低于{}")}
    words["not_in"] = ("not priced {}", "价格不是{}")
    return [words.get(c.op, ("priced {}", "价格为{}"))[chinese].format(_money(c, chinese)) for c in prices]


def _number(constraint: Condition) -> str:
    value = constraint.value
    if not isinstance(value, float):
        return _shortened("/".join(value.strip() for value in values_of(constraint)))
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.2f}"


def _money(constraint: Condition, chinese: bool) -> str:
    number = _number(constraint)
    if constraint.unit is None:
        return number
    money = _MONEY.get(constraint.unit)
    return money[chinese].format(number) if money else f"{number} {constraint.unit}"


def _distinct(constraint: Condition, language: str) -> list[str]:
    """One value for each thing: of "leather" and 皮革 the one in the user's language."""
    chosen: dict[str, str] = {}
    for value in values_of(constraint):
        own = value_key(constraint.name, value)
        if own not in chosen or (is_han(chosen[own]) != is_han(value) and is_han(value) == (language == "zh")):
            chosen[own] = value
    return [short for value in chosen.values() if (short := _shortened(value))][:5]


def _value(name: str, value: str, language: str, refused: bool = False) -> str:
    chinese = language == "zh"
    if name == "colour":
        return _translated(COLOURS.get(naming.colour_key(value).removeprefix("#")), value, chinese)
    if name == "brand":
        return value
    if name not in ("category", "word"):
        return _translated(naming.noun(value), value, chinese)
    entry = naming.noun(value)
    if entry is None and chinese and name == "category" and naming.kind(value):
        return naming.shown_category(value, language)
    brand = BRANDS.get(value)
    if entry is None and brand is not None:
        return _translated(brand, value, chinese) if chinese else value.title()
    if entry is None:
        return value if name == "word" or is_han(value) or value.islower() else f"“{value}”"
    if chinese:
        return _translated(entry, value, chinese)
    if name == "word":
        return entry.name
    return plural(entry.name) if refused else _with_article(entry.name)


def _translated(entry: Entry | None, value: str, chinese: bool) -> str:
    if entry is None or is_han(value) == chinese:
        return value
    names = entry.chinese if chinese else entry.english
    return names[0] if names else value


def plural(noun: str) -> str:
    """The plural of one of the packaged nouns; those that have none stay as they are."""
    if noun in _BARE:
        return noun
    start, _, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    elif last.endswith("shelf"):
        last = last[:-1] + "ves"
    else:
        last += "es" if last.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{start} {last}".strip()


def _with_article(noun: str) -> str:
    if noun in _PAIRS:
        return plural(noun)
    if noun in _BARE:
        return noun
    return f"{'an' if noun[0] in 'aeio' or noun == 'umbrella' else 'a'} {noun}"


def _attribute_name(name: str, chinese: bool) -> str:
    plain = name.replace("_", " ")
    if chinese:
        for line in ATTRIBUTES.values():
            if key(plain) in map(key, line.english):
                return line.chinese[0]
    return _shortened(plain) or "?"


# -- what could give way ------------------------------------------------------------------------------------


def loosest(in_force: Sequence[Condition]) -> Condition | None:
    """The condition that is the easiest to give up: price before looks before the thing itself; newest first."""
    order = {"price": 0, "colour": 2, "brand": 3, "word": 4, "category": 5}
    sayable = [c for c in reversed(in_force) if any(value.strip() for value in values_of(c))]
    return min(sayable, key=lambda c: order.get(c.name, 1), default=None)


def _loosened(constraint: Condition, language: str) -> str:
    chinese = language == "zh"
    name, op = constraint.name, constraint.op
    values = [_value(name, value, language, op == "not_in") for value in _distinct(constraint, language)]
    either = ("或" if chinese else " or ").join(values)
    if name == "price" and op in ("<=", ">="):
        money = _money(constraint, chinese)
        if chinese:
            return f"价格可以{'高于' if op == '<=' else '低于'}{money}吗？"
        return f"Would {'more' if op == '<=' else 'less'} than {money} be all right?"
    if op == "not_in" and either:
        return f"如果是{either}也可以吗？" if chinese else f"Would {either} be all right after all?"
    aspects = {"price": ("price", "价格"), "colour": ("colour", "颜色"), "brand": ("brand", "品牌")}
    if name in ("category", "word"):
        return f"除了{either}，看看别的可以吗？" if chinese else f"Would something other than {either} be all right?"
    aspect = aspects[name][chinese] if name in aspects else _attribute_name(name, chinese)
    if chinese:
        return f"换一个{aspect}可以吗？"
    return f"Would another {aspect} be all right?"


def _replaced(constraint: Condition, understood: Sequence[Condition]) -> bool:
    return any(c.name == constraint.name and c.op == constraint.op for c in understood)


def _listed(phrases: list[str], language: str) -> str:
    return ("，" if language == "zh" else ", ").join(phrases)


def _shortened(text: str) -> str:
    """One line without doubled spaces, cut at a word."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_TITLE else line[: MAX_TITLE - 1].rstrip() + "…"
