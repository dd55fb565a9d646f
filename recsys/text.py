"""Words of a text: the one tokeniser that the index, the profile and the dialogue share.

In: any string (a title, a description, a chat message). Out: `terms`, the words that carry meaning, in order
and with repeats; `stem`, the form in which two spellings of a word meet; `language`, which of the two tongues
of the dialogue to answer in. Pure; nothing here raises for any string.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

Language = Literal["en", "zh"]

# Han with its extensions, and kana, which is written without spaces too.
HAN = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"

_ASCII_WORDS = re.compile(r"[a-z0-9]+(?:'[a-z]+)*").findall
_WORDS = re.compile(rf"[{HAN}]+|[^\W_{HAN}]+(?:'[a-z]+)*").findall
# "t-shirt", "t shirt": what parts a letter that alone would be a stop word from its word.
_ONE_WORD = re.compile(r"(?<![a-z0-9'-])(?:([aimst])[-\u2010](?=[a-z])|(t) (?=shirt))").sub
_HAN_RUN = re.compile(rf"[{HAN}]+")
_HAN_RUNS = re.compile(rf"[{HAN}]+").findall
_LETTERS = re.compile(rf"[^\W\d_{HAN}]+").findall
_LATIN_MARKS = re.compile("(?<=[A-Za-z])[\u0300-\u036f]+")


def _words(table: str) -> frozenset[str]:
    return frozenset(table.split())


_ENGLISH_STOP = _words(
    """
    a an the and or nor but if then than so as of at by for from in into on onto to with without within
    about is are was were be been being am do does did doing done have has had having can could will would
    shall should may might must i me my mine we us our ours you your yours he him his she her hers it its
    they them their theirs this that these those there here what which who whom whose when where why how not
    no yes very too also just only some any each every all both such own same s t im ive id ill dont doesnt
    didnt isnt arent wasnt werent cant cannot couldnt wont wouldnt shouldnt hasnt havent please want
    """
)
_CHINESE_STOP = _words(
    """
    我想要 想要 我要 想买 我想 给我 帮我 推荐 有没有 一个 一件 一双 一条 一部 一本 一台 一款 一些 一下
    这个 那个 这些 那些 什么 怎么 怎样 如何 可以 能不能 因为 所以 但是 不过 如果 或者 以及 还是
    的 了 吗 呢 吧 啊 呀 嘛 哦 我 你 您 他 她 它 们 是 在 和 与 或 及 把 被 请 这 那 很 就 也 都 着
    """
)
# Longest first, so that a phrase goes before the characters in it.
_CHINESE_SPLIT = re.compile("|".join(sorted(_CHINESE_STOP, key=lambda word: (-len(word), word)))).split

_IRREGULAR = dict(
    pair.split(":")
    for pair in _words(
        """
        men:man mens:man women:woman womens:woman children:child childrens:child mice:mouse feet:foot
        teeth:tooth geese:goose knives:knife wives:wife lives:life shelves:shelf scarves:scarf wolves:wolf
        loaves:loaf halves:half lenses:lens buses:bus gases:gas quizzes:quiz analyses:analysis
        """
    )
)
# Words in -s that are no plurals, or whose singular means another thing ("shorts" are not "short").
_NO_PLURAL = _words(
    """
    shorts lens series species news means always perhaps gas bus plus canvas adidas atlas christmas texas
    alias bias asics clothes sometimes whereas pancreas levis mathematics physics politics economics ethics graphics
    robotics electronics logistics james charles wales paris hermes hades chaos cosmos
    """
)
# Plurals of words in -ie; every other -ies stands for -y.
_IE_PLURAL = _words(
    """
    movies cookies hoodies selfies zombies smoothies brownies rookies calories pixies genies beanies onesies
    bikies ties pies lies dies foodies indies groupies veggies birdies goalies junkies
    """
)
_OE_PLURAL = _words(
    """
    shoes toes canoes oboes foes hoes horseshoes snowshoes
    """
)


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The form under which a lower-case word is looked up: no plural ending, no possessive, no accent.

    A stem is itself a word that may be shown to people ("dresses" -> "dress", "movies" -> "movie").
    """
    if "'" in word:
        word = word[:-2] if word.endswith("'s") else word.replace("'", "")
    if not word.isascii():
        word = without_accents(word)
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or word[-1] != "s" or word in _NO_PLURAL or word[-2] in "sui":
        return word
    if word.endswith("ies"):
        return word[:-1] if word in _IE_PLURAL else word[:-3] + "y"
    if word.endswith(("shes", "ches", "sses", "xes", "zzes")):
        return word[:-2]
    if word.endswith("oes"):
        return word[:-1] if word in _OE_PLURAL else word[:-2]
    return word[:-1]


@lru_cache(maxsize=65_536)
def _content(word: str) -> str:
    """The stem of a word, or "" for a stop word."""
    if word in _ENGLISH_STOP or word.endswith("n't"):
        return ""
    stemmed = stem(word)
    return "" if stemmed in _ENGLISH_STOP else stemmed


def terms(text: str) -> list[str]:
    """The words of `text` that carry meaning: stems of words, bigrams of Chinese runs (of one: itself).

    "T-shirt" is one word, lest its stop word fall away and leave a shirt.
    """
    if text.isascii():
        return [content for word in _ASCII_WORDS(_whole(text.lower())) if (content := _content(word))]
    found: list[str] = []
    for word in _WORDS(_whole(plain(text).lower())):
        if not _HAN_RUN.match(word):
            if content := _content(word):
                found.append(content)
            continue
        for run in _CHINESE_SPLIT(word):
            if len(run) > 1:
                found += [run[at : at + 2] for at in range(len(run) - 1)]
            elif run:
                found.append(run)
    return found


def _whole(text: str) -> str:
    """ "t-shirt" as "tshirt"."""
    if "-" in text or "\u2010" in text or "t shirt" in text:
        return _ONE_WORD(r"\1\2", text)
    return text


def plain(text: str) -> str:
    """`text` in NFKC (full-width digits and letters become plain ones) with straight apostrophes."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text).replace("\u2019", "'").replace("\u2018", "'")


def without_accents(text: str) -> str:
    """`text` with its Latin letters bare: "Pokémon" -> "Pokemon". Other scripts keep their marks."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _LATIN_MARKS.sub("", unicodedata.normalize("NFD", text)))


def surfaces(stemmed: str) -> tuple[str, ...]:
    """The spellings whose `stem` this is, itself first (possessives aside)."""
    tries = [stemmed, stemmed + "s", stemmed + "es", stemmed[:-1] + "ies"]
    tries += [plural for plural, single in _IRREGULAR.items() if single == stemmed]
    return tuple(dict.fromkeys(word for word in tries if word and stem(word) == stemmed)) or (stemmed,)


def language(text: str) -> Language:
    """The language to answer `text` in: Chinese where its characters are at least as many as Latin words."""
    if text.isascii():
        return "en"
    han = sum(map(len, _HAN_RUNS(text[:2000])))
    return "zh" if han and han >= len(_LETTERS(text[:2000])) else "en"
