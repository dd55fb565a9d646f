"""Sentences of simulated shoppers, read with the vocabulary of the demo catalogue."""

import collections
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.dialogue.conditions import merge
from recsys.dialogue.meaning import checker
from recsys.dialogue.naming import shown_category
from recsys.dialogue.understand import understand
from recsys.facets import Facets
from recsys.text import terms
from schemas.decode import decode_item
from streams.demo import phrases
from streams.demo.catalogue import load
from streams.demo.taste import Wish, features

# message => conditions, parted by "; " ("-" for none)
SENTENCES = """
不要太空射击游戏 => category!=space shooter
别给我推荐太空射击游戏了 => category!=space shooter
not picture books please => category!=children
not space shooter games => category!=space shooter
picture books, no thanks => category!=children
no thanks => -
绘本不要 => category!=children
horror films are not for me => category!=horror
恐怖电影就算了 => category!=horror
对科幻小说不感兴趣 => category!=science fiction
I'm not very interested in racing games => category!=racing
I don't really like racing games => category!=racing
I don't want to look at racing games => category!=racing
not for children => category!=children
no boots for children => category!=boots
fewer racing games please => category!=racing
not so many racing games please => -
不要太多竞速游戏 => -
不要太恐怖的电影 => category=films
不要太贵的手机 => category=phones
不想花太多钱买手机 => category=phones
除了恐怖片什么电影都行 => category!=horror; category=films
轻薄本 => category=laptops; category=ultralight
惊悚电影 => category=films; category=thriller
恐怖电影 => category=films; category=horror
恐怖片 => category=films; category=horror
科幻小说 => category=books; category=science fiction
科幻片 => category=films; category=science fiction
游戏笔记本电脑 => category=gaming; category=laptops
游戏本 => category=gaming; category=laptops
游戏手机 => category=gaming; category=phones
gaming laptops => category=gaming; category=laptops
a gaming phone under 3000 yuan => category=gaming; category=phones; price<=3000 CNY
轻薄笔记本 => category=laptops; category=ultralight
商务笔记本电脑 => category=business; category=laptops
设计师笔记本 => category=creator; category=laptops
学生笔记本电脑 => category=laptops; category=student
轻薄的黑色笔记本，5000元以下 => category=laptops; category=ultralight; colour=black; price<=5000 CNY
拍照手机 => category=camera; category=phones
小屏手机 => category=compact; category=phones
长续航手机 => category=long battery; category=phones
折叠屏手机 => category=folding; category=phones
适合老人的手机 => category=easy-to-use; category=phones
a small phone => category=compact; category=phones
农场经营游戏 => category=farming; category=games
城市建造游戏 => category=city-building; category=games
平台跳跃游戏 => category=games; category=platform
武侠电影 => category=films; category=wuxia
食谱 => category=books; category=cooking
cookbooks => category=books; category=cooking
旅行文学 => category=books; category=travel
编程图书 => category=books; category=programming
picture books => category=books; category=children
儿童绘本 => category=books; category=children
a t-shirt => category=t-shirts
a t‑shirt => category=t-shirts
these days I mostly enjoy puzzle games => -
这阵子迷上了解谜游戏 => -
I usually love horror films => -
最近特别喜欢恐怖电影 => -
游戏 => category=games
laptops by Veyra, but not black => brand=Veyra; category=laptops; colour!=black
"""

REFUSALS = """
not {} please; No {}, thanks; anything but {}; I don't want {}; stop showing me {}; please no {}; enough of {}
{}, no thanks; I hate {}; I can't stand {}; I'm not interested in {}; I'm not too fond of {}; not so many {} please
I'd rather not see {}; no {} for kids; not the ones with {}; everything except {}; neither {} nor shoes; skip {}
{} aren't my thing; no more {}; I've gone off {}; I'm not looking for {}
less {} please; no silly {}; show me anything that's not {}; not silly {}
不要{}; 别给我推荐{}了; 除了{}都可以; 我不喜欢{}; {}不要; 不要太多{}; 不想看{}; 我对{}不感兴趣; {}就算了; 不太喜欢{}
{}以外的; 别再给我看{}; 不要无聊的{}; 看腻了{}; {}看腻了; 没必要推荐{}; 千万别推{}; 不要某某{}; 不要太虚{}
"""

RESETS = """
never mind the conditions, show me everything; forget all the filters; no more conditions please
不限条件了，随便推荐; 条件都取消吧; 取消所有限制; 没有任何条件
"""


@pytest.fixture(scope="module")
def records():
    return load()


@pytest.fixture(scope="module")
def items(records):
    return [decode_item(one["item_id"].encode(), json.dumps(one).encode(), 1_000_000) for one in records]


@pytest.fixture(scope="module")
def demo(items):
    return Facets().updated(items, ()).vocabulary


@pytest.fixture(scope="module")
def in_force(demo):
    said = ["a red dress under 500 yuan", "no sneakers"]
    both = [understand(text, demo, event_id=text, expires=None).constraints for text in said]
    return both[0] + both[1]


def table(text):
    for line in text.strip().splitlines():
        said, wanted = line.rsplit(" => ", 1)
        yield said, [] if wanted == "-" else sorted(wanted.split("; "))


def listed(text):
    return [one.strip() for line in text.strip().splitlines() for one in line.split(";")]


@pytest.mark.parametrize(("text", "wanted"), list(table(SENTENCES)))
def test_a_sentence_means_shelves_of_the_demo(text, wanted, demo, lines):
    assert lines(understand(text, demo, event_id="e", expires=None).constraints) == wanted


@pytest.mark.parametrize("refusal", listed(REFUSALS))
def test_what_is_refused_is_never_asked_for(refusal, demo):
    for noun in phrases.NOUNS.values():
        text = refusal.format(noun.many if refusal.isascii() else noun.chinese)
        made = understand(text, demo, event_id="e", expires=None).constraints
        assert {constraint.op for constraint in made} <= {"not_in"}, text


@pytest.mark.parametrize("text", listed(RESETS))
def test_no_conditions_any_more(text, demo, in_force):
    assert len({constraint.event_id for constraint in in_force}) == 2
    said = understand(text, demo, event_id="e", expires=None, in_force=in_force)
    assert merge(in_force, said, 0) == ()
    assert said.query == ""


def test_other_conditions_let_go_spare_those_of_the_same_message(demo, in_force, lines):
    said = understand("a blue jacket, forget all the conditions", demo, event_id="e", expires=None, in_force=in_force)
    assert lines(merge(in_force, said, 0)) == ["category=jackets", "colour=blue"]


@pytest.mark.parametrize(
    ("text", "query"),
    [("these days I mostly enjoy puzzle games", "puzzle games"), ("这阵子迷上了武侠电影", "武侠电影")],
)
def test_a_taste_is_left_to_the_search(text, query, demo):
    assert understand(text, demo, event_id="e", expires=None).query == query


def test_a_t_shirt_is_no_shirt_for_the_search():
    assert terms("T-shirts") == terms("a t-shirt") == terms("t shirt") == ["tshirt"]
    assert terms("a shirt") == ["shirt"]


@pytest.mark.parametrize(
    ("name", "chinese", "english"),
    [
        ("films", "电影", "films"),
        ("t-shirts", "T恤", "t-shirts"),
        ("ultralight", "轻薄", "ultralight"),
        ("连衣裙", "连衣裙", "dress"),
        ("Quux", "Quux", "Quux"),
        ("", "", ""),
    ],
)
def test_a_category_is_shown_in_the_readers_language(name, chinese, english):
    assert (shown_category(name, "zh"), shown_category(name, "en")) == (chinese, english)


WORDS = """
游戏 手机 轻薄 的 笔记本 电脑 老人 绘本 不要 太 多 空 没兴趣 no thanks not so many gaming small phone laptop
, picture books ， 。 . less enough 条件 不限 重新来 start over 红色 long battery 3000 元 - 拍照 小屏 cookbook
I don't want to like 迷上了 腻了
"""


@given(st.lists(st.sampled_from(WORDS.split()), max_size=14), st.sampled_from(["", " "]))
@settings(max_examples=400)
def test_no_mixture_of_these_words_raises(demo, words, between):
    said = understand(between.join(words), demo, event_id="e", expires=None)
    assert understand(between.join(words), demo, event_id="e", expires=None) == said


def test_nearly_all_that_simulated_shoppers_say_is_read_as_it_was_meant(records, items, demo, in_force):
    data = features(records, 7)
    price = np.array([item.price.amount if item.price else np.nan for item in items])
    places = [tuple(item.categories) for item in items]
    met: dict[str, np.ndarray] = {}

    def allowed(conditions):
        mask = np.ones(len(items), bool)
        for condition in conditions:
            name = repr(condition._replace(event_id=None))
            if name not in met:
                meets = checker(condition)
                met[name] = np.array([meets(item) for item in items])
            mask &= met[name]
        return mask

    # A down jacket is a jacket, and jeans are trousers.
    kinds = {("clothing", "jackets"): ("clothing", "down jackets"), ("clothing", "trousers"): ("clothing", "jeans")}
    random = np.random.default_rng(20)
    right: collections.Counter = collections.Counter()
    said: collections.Counter = collections.Counter()

    def judge(kind, good):
        said[kind] += 1
        right[kind] += bool(good)

    for language in ("en", "zh"):
        for number, shelf in enumerate(data.shelves):
            if shelf[0] == "help":
                continue
            mine = np.array([place in (shelf, kinds.get(shelf)) for place in places])
            colours = [*np.unique(data.colour[mine & (data.colour >= 0)])]
            for colour in (None, *colours[:2]):
                most = float(random.choice([99, 500, 4000])) if random.random() < 0.5 else None
                text = phrases.want(data, Wish(number, colour, most), language, random)
                wanted = mine.copy()
                if colour is not None:
                    wanted &= data.colour == colour
                if most is not None:
                    wanted &= price <= most
                made = understand(text, demo, event_id="e", expires=None).constraints
                judge("want", (allowed(made) == wanted).all())
                text = phrases.confess(data, number, language, random)
                understood = understand(text, demo, event_id="e", expires=None)
                judge("confess", not understood.constraints and understood.query)
        for theme in sorted(phrases.GENRES):
            refused = data.theme == data.names["theme"].index(theme)
            for _ in range(3):
                made = understand(phrases.refuse(theme, language, random), demo, event_id="e", expires=None).constraints
                judge("refuse", (allowed(made) == ~refused).all())
        for _ in range(20):
            text = phrases.retract(language, random)
            understood = understand(text, demo, event_id="e", expires=None, in_force=in_force)
            judge("retract", merge(in_force, understood, 0) == ())
    shares = {kind: right[kind] / said[kind] for kind in said}
    assert min(said.values()) >= 40
    assert min(shares.values()) >= 0.95, shares
