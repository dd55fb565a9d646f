"""What shoppers say: wishes, refusals, changes of mind, questions and reviews, in English and in Chinese.

In: a wish, a language and a random generator. Out: a sentence. The nouns come from the catalogue's word
lists.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streams.demo.catalogue import BOOK_NOUNS, FILM_NOUNS
from streams.demo.taste import Features, Wish
from streams.demo.words import books, clothing, electronics, films, games, helpdesk, pairs


@dataclass(frozen=True)
class Noun:
    """A shelf in words: `one` with its article, `many`, and in Chinese the measure word and the noun."""

    one: str
    many: str
    measure: str
    chinese: str


def _plural(noun: str) -> str:
    return noun[:-1] + "ies" if noun.endswith("ry") else noun + "s"


def _article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _nouns() -> dict[tuple[str, str], Noun]:
    nouns = {}
    measures = {
        "sneakers": "双",
        "boots": "双",
        "bags": "个",
        "scarves": "条",
        "dresses": "条",
        "skirts": "条",
    }
    measures |= {"jeans": "条", "trousers": "条", "pyjamas": "套"}
    for garment in clothing.GARMENTS:
        kind, english = garment.category, garment.noun[0].lower()
        one = (
            "a pair of " + kind if kind in ("jeans", "trousers", "sneakers", "boots", "pyjamas") else _article(english)
        )
        nouns["clothing", kind] = Noun(one, kind, measures.get(kind, "件"), garment.noun[1])
    for category, builds, measure in (
        ("laptops", electronics.LAPTOPS, "台"),
        ("phones", electronics.PHONES, "部"),
    ):
        for build in builds:
            english = build.title[0].lower()
            nouns[category, build.theme] = Noun(_article(english), _plural(english), measure, build.title[1])
    for genre, (chinese, *_) in games.GENRES.items():
        nouns["games", genre] = Noun(_article(f"{genre} game"), f"{genre} games", "款", f"{chinese}游戏")
    for genre, (chinese, *_) in films.GENRES.items():
        english, zh = FILM_NOUNS.get(genre, (f"{genre} film", f"{chinese}电影"))
        nouns["films", genre] = Noun(_article(english), _plural(english), "部", zh)
    for genre, (chinese, *_) in books.GENRES.items():
        english, zh = BOOK_NOUNS.get(genre, (f"{genre} novel", f"{chinese}小说"))
        nouns["books", genre] = Noun(_article(english), _plural(english), "本", zh)
    return nouns


NOUNS = _nouns()
GENRES = {g: row[0] for table in (games.GENRES, films.GENRES, books.GENRES) for g, row in table.items()}

WANTS = {
    "en": [
        "Looking for {a_thing}{price}",
        "I want {a_thing}{price}, please",
        "Do you have {things}{price}?",
        "Can you find me {a_thing}{price}?",
        "Show me {things}{price}",
        "I'd like to buy {a_thing}{price}",
        "hi! any {things}{price}?",
        "{a_thing}{price}, what do you suggest?",
    ],
    "zh": [
        "我想买一{measure}{thing}{price}",
        "有没有{thing}{price}？",
        "想找{measure}{thing}{price}，有推荐吗",
        "帮我推荐几{measure}{thing}{price}",
        "最近想入一{measure}{thing}{price}",
        "请问{thing}有哪些{price}？",
    ],
}
PRICES = {
    "en": [" under {most} yuan", " below {most} yuan", ", at most {most} yuan", " for less than {most} yuan"],
    "zh": ["，价格不超过{most}元", "，{most}元以下的", "，预算{most}元以内", "，{most}块以内"],
}
REFUSALS = {
    "en": ["not {genre} please", "No {genre}, thanks", "anything but {genre}", "I don't want {genre}"],
    "zh": ["不要{genre}", "别给我推荐{genre}了", "除了{genre}都可以", "我不喜欢{genre}"],
}
CONFESSIONS = {
    "en": [
        "I've been really into {things} lately",
        "I love {things}",
        "these days I mostly enjoy {things}",
        "my friends got me hooked on {things}",
    ],
    "zh": ["最近特别喜欢{thing}", "我很喜欢{thing}", "这阵子迷上了{thing}", "朋友让我爱上了{thing}"],
}
RETRACTIONS = {
    "en": [
        "Let's start over, show me anything",
        "forget what I said, I'm just browsing",
        "never mind the conditions, show me everything",
        "forget everything, anything goes",
    ],
    "zh": ["之前说的都不算，随便看看", "重新开始吧，什么都可以", "不限条件了，随便推荐", "条件都取消吧，随便看看"],
}
PRAISE = {
    "clothing": pairs("""
Fits perfectly and the colour is even nicer in daylight. | 很合身，颜色比照片还好看。
Soft fabric, careful stitching, I wear it every week. | 面料柔软，做工细致，每周都穿。
Warm, light and true to size. | 轻便保暖，尺码标准。
"""),
    "laptops": pairs("""
Quiet, fast, and the keyboard is a joy. | 安静又快，键盘手感很好。
The battery really lasts through the day. | 续航真的能用一整天。
"""),
    "phones": pairs("""
Great pictures and it never gets warm. | 拍照很棒，也不发烫。
Good battery, easy to hold. | 续航好，手感舒服。
"""),
    "games": pairs("""
Could not stop playing, what a lovely world. | 根本停不下来，世界观太棒了。
Clever design and beautiful music. | 设计巧妙，音乐动听。
"""),
    "films": pairs("""
Stayed with me for days. | 看完好几天都忘不了。
Beautifully shot, with an ending I did not expect. | 画面很美，结局出乎意料。
"""),
    "books": pairs("""
Read it in two evenings, highly recommended. | 两个晚上就读完了，强烈推荐。
Wise and warm; I gave a copy to my sister. | 睿智又温暖，送了妹妹一本。
"""),
}


def want(features: Features, wish: Wish, language: str, random: np.random.Generator) -> str:
    """A wish for a shelf, perhaps of a colour, perhaps with a highest price."""
    assert wish.shelf is not None
    noun = NOUNS[features.shelves[wish.shelf]]
    colour = "" if wish.colour is None else features.names["colour"][wish.colour]
    price = "" if wish.most is None else _one(PRICES[language], random).format(most=f"{wish.most:g}")
    if language == "zh":
        thing = (clothing.COLOURS[colour] + "的" if colour else "") + noun.chinese
        return _one(WANTS["zh"], random).format(measure=noun.measure, thing=thing, price=price)
    article, rest = _split(noun.one)
    a_thing = _article(f"{colour} {rest}") if colour and article in ("a ", "an ") else f"{article}{colour} {rest}"
    things = f"{colour} {noun.many}" if colour else noun.many
    text = _one(WANTS["en"], random).format(a_thing=a_thing if colour else noun.one, things=things, price=price)
    return text[0].upper() + text[1:] if text.startswith(("a ", "an ")) else text


def _split(one: str) -> tuple[str, str]:
    for article in ("a pair of ", "an ", "a "):
        if one.startswith(article):
            return article, one[len(article) :]
    return "", one


def query(features: Features, shelf: int, language: str) -> str:
    """What the shopper types into a search box: a shelf, without a sentence around it."""
    noun = NOUNS[features.shelves[shelf]]
    return noun.chinese if language == "zh" else noun.many


def refuse(theme: str, language: str, random: np.random.Generator) -> str:
    """No more of a genre: by its own word if several departments have it, else as "racing games"."""
    nouns = [noun for (_, its_theme), noun in NOUNS.items() if its_theme == theme]
    if len(nouns) == 1:
        genre = nouns[0].chinese if language == "zh" else nouns[0].many
    else:
        genre = GENRES[theme] if language == "zh" else theme
    return _one(REFUSALS[language], random).format(genre=genre)


def confess(features: Features, shelf: int, language: str, random: np.random.Generator) -> str:
    """A liking, without a wish to buy."""
    noun = NOUNS[features.shelves[shelf]]
    return _one(CONFESSIONS[language], random).format(things=noun.many, thing=noun.chinese)


def retract(language: str, random: np.random.Generator) -> str:
    """What was asked for no longer holds."""
    return _one(RETRACTIONS[language], random)


def ask_for_help(topic: str, language: str, random: np.random.Generator) -> str:
    """A customer's question on a topic of the help articles."""
    articles = [a for a in helpdesk.ARTICLES if a.topic == topic and a.languages in (language, "both")]
    return articles[random.integers(len(articles))].title[language == "zh"]


def review(category: str, language: str, random: np.random.Generator) -> str:
    """A few kind words on something bought."""
    lines = PRAISE[category]
    return lines[random.integers(len(lines))][language == "zh"]


def _one(choices: list[str], random: np.random.Generator) -> str:
    return choices[random.integers(len(choices))]
