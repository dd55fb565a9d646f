"""Text to tokens: what the dialogue reads instead of characters, and the key under which two names are one.

In: any string. Out: `Tokens`, parallel lists of the parsed text's words, numbers, single Chinese characters and
signs; or `key`, a name's stems as one string. Pure; total over all strings.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from recsys.text import HAN, plain, stem, without_accents

MAX_CHARACTERS = 2_000  # of a message are parsed; the rest is only evidence

# Leading space, then one token. A number keeps its thousands and its fraction.
_TOKEN = re.compile(
    rf"(\s*)(\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?|[{HAN}]|[^\W\d_{HAN}]+(?:'[A-Za-z]+)*|\S)"
).findall
# "Sci-fi" and "H&M" are two words, as in the key of a name.
_INNER_SIGN = re.compile(r"(?<=[A-Za-z])[-&_‐‑](?=[A-Za-z])")
_ACCENTED = re.compile("[\u00c0-\u024f]")
_HAN_END = re.compile(rf"[{HAN}]$")
# A full-width comma parts clauses, unless it stands in a full-width number: ３，０００.
_CLAUSE_COMMA = re.compile("，(?![０-９]{3}(?![０-９]))")

_TRADITIONAL = (
    "紅藍綠黃銀褲裝鞋襪書電腦機遊戲單價錢塊圓過於內間個雙條無謂隨別顏選擇買給這裡還對應該沒幾萬億兩預算節約圍顧"
)
_SIMPLIFIED = (
    "红蓝绿黄银裤装鞋袜书电脑机游戏单价钱块圆过于内间个双条无谓随别颜选择买给这里还对应该没几万亿两预算节约围顾"
)
_MORE_TRADITIONAL = "連裙襯頭飾錶錄劇視隻簡鍵盤牌蘋華為爾達愛歡討厭種樣換變從開麼嗎寬緊貴準備適棗橘銅絲緞恤遠東線類型號"
_MORE_SIMPLIFIED = "连裙衬头饰表录剧视只简键盘牌苹华为尔达爱欢讨厌种样换变从开么吗宽紧贵准备适枣橘铜丝缎恤远东线类型号"
_TRADITIONAL_SET = frozenset(_TRADITIONAL + _MORE_TRADITIONAL) - frozenset(_SIMPLIFIED + _MORE_SIMPLIFIED)
_TO_SIMPLIFIED = str.maketrans(_TRADITIONAL + _MORE_TRADITIONAL, _SIMPLIFIED + _MORE_SIMPLIFIED)


def _simplified(text: str) -> str:
    return text if _TRADITIONAL_SET.isdisjoint(text) else text.translate(_TO_SIMPLIFIED)


class Tokens(NamedTuple):
    """Parallel lists. `words`: lower case as written; `stems`: for look-ups in the catalogue's words;
    `glued`: no space before it; `capital`: begins with a capital letter."""

    words: list[str]
    stems: list[str]
    glued: list[bool]
    capital: list[bool]


def tokenise(text: str) -> Tokens:
    """The tokens of the first `MAX_CHARACTERS` characters of `text`."""
    text = text[:MAX_CHARACTERS]
    if not text.isascii():
        if "，" in text:
            text = _CLAUSE_COMMA.sub(", ", text)
        text = _simplified(plain(text.encode("utf-8", "ignore").decode()))
    if not text.isascii() or "-" in text or "&" in text or "_" in text:
        text = _INNER_SIGN.sub(" ", text)
    pairs = _TOKEN(text)
    lower = [word for _, word in pairs]
    capital = [False] * len(pairs)
    if text != text.lower():
        capital = [word[0].isupper() for word in lower]
        lower = [word.lower() for word in lower]
    return Tokens(
        words=lower,
        stems=[stem(word) if len(word) > 1 else word for word in lower],
        glued=[not space for space, _ in pairs],
        capital=capital,
    )


def folded(text: str) -> str:
    """A text for searching as it stands: lower case, plain width, simplified characters, no accents on Latin."""
    if text.isascii():
        return text.lower()
    text = _simplified(plain(text)).lower()
    return without_accents(text) if _ACCENTED.search(text) else text


def is_han(token: str) -> bool:
    """Whether a token is a Chinese character (or a run that ends with one)."""
    return not token.isascii() and _HAN_END.search(token) is not None


def joined(tokens: list[str]) -> str:
    """Tokens as one string: spaces between words, none between two Chinese characters."""
    if len(tokens) == 1:
        return tokens[0]
    if "".join(tokens).isascii():
        return " ".join(tokens)
    parts: list[str] = []
    for token in tokens:
        if parts and not (is_han(token) and is_han(parts[-1])):
            parts.append(" ")
        parts.append(token)
    return "".join(parts)


@lru_cache(maxsize=65_536)
def key_tokens(name: str) -> tuple[str, ...]:
    """The stems of a name's words, characters and numbers, without signs."""
    return tuple(token for token in tokenise(name).stems if token[0].isalnum())


@lru_cache(maxsize=65_536)
def key(name: str) -> str:
    """The form in which two spellings of a name are equal: "Women's Dresses" and "womens dress"."""
    return joined(list(key_tokens(name)))


def contains(text_key: str, term_key: str) -> bool:
    """Whether the text of one key contains the words of another, in order and whole."""
    if not term_key:
        return False
    if is_han(term_key) and not term_key.isascii() and " " not in term_key:
        return term_key in text_key
    return f" {term_key} " in f" {text_key} "
