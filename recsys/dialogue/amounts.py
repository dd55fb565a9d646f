"""Numbers in a message, and which of them are prices.

In: tokens (`number_at`) or pieces (`price_at`, `measure_at`). Out: numbers in digits, Chinese or English words
("1.5k", 一千二, "five hundred"); amounts with their comparison and currency. A number is a price only if a
currency or a comparison says so and nothing says otherwise: "size 42", "16 GB" and "$50 off" are none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from recsys.dialogue.phrases import GRAMMAR, REBATES, UNITS, Kind
from recsys.dialogue.shop_words import PEOPLE
from recsys.dialogue.tokens import Tokens, is_han

AROUND = 0.2  # "around 500" is 400 to 600
_ADULT = 18  # "kids under 5" tells an age
_LARGEST = 1e12  # beyond it a number is a serial number


class Number(NamedTuple):
    """`high` differs from `low` in 三四百 (300 to 400); `scale` is the last unit word's worth (k: 1000)."""

    low: float
    high: float
    scale: float
    end: int


class Price(NamedTuple):
    """`limits`: (operator, amount) one or two; `compared`: a comparison was said, not just an amount."""

    limits: tuple[tuple[str, float], ...]
    unit: str | None
    compared: bool


class Piece(NamedTuple):
    """A stretch of tokens [start, end) and what it is. `value`: the phrase's value, a Number, Price or Measure,
    or the meanings of a name."""

    kind: Kind
    value: Any
    start: int
    end: int


class Measure(NamedTuple):
    """A condition on a numeric or short attribute: "at least 16 GB memory", "size M"."""

    name: str
    op: str
    value: float | str


_DIGITS = {character: float(value) for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_UNITS_HAN = {"十": 10.0, "百": 100.0, "千": 1000.0, "万": 10_000.0, "亿": 100_000_000.0}
_SUFFIXES = {"k": 1000.0, "w": 10_000.0, "thousand": 1000.0, "hundred": 100.0, "million": 1e6, "grand": 1000.0}
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: float(value) for value, word in enumerate(_ONES.split())} | {
    word: 10.0 * (value + 2) for value, word in enumerate(_TENS.split())
}

NUMBER_STARTS = frozenset(_DIGITS) | frozenset(_UNITS_HAN) - {"亿"} | frozenset(_WORDS) | {"hundred", "thousand"}


def number_at(words: list[str], glued: list[bool], start: int) -> Number | None:
    """The number that begins at a token, or None."""
    word = words[start]
    if word[0].isdecimal():
        value = min(float(word.replace(",", "")), 10 * _LARGEST)
        end = start + 1
        if end < len(words):
            unit = words[end]
            if unit in _UNITS_HAN:
                return _han(words, end, value)
            if unit in _SUFFIXES and (glued[end] or len(unit) > 1):
                return Number(value * _SUFFIXES[unit], value * _SUFFIXES[unit], _SUFFIXES[unit], end + 1)
        return Number(value, value, 1.0, end)
    if word in _DIGITS or word in _UNITS_HAN:
        return _han(words, start, None)
    if word in _WORDS or word in _SUFFIXES:
        return _english(words, start)
    return None


def _han(words: list[str], start: int, given: float | None) -> Number | None:
    """一千二百, 一千二 (1200), 5百, 1万2, 三四百 (300 to 400), 二〇二六."""
    total = section = 0.0
    digit = given
    first: float | None = None  # the lower digit of 三四百
    unit = scale = 1.0
    after_unit = False
    at = start
    while at < len(words):
        word = words[at]
        if word in _DIGITS or (after_unit and unit >= 100 and word[0].isdecimal()):
            value = _DIGITS[word] if word in _DIGITS else float(word.replace(",", ""))
            if digit is not None and digit != 0:
                if given is None and section == total == 0 and _all_digits(words, at):
                    return _digit_run(words, start)
                if value != digit + 1 and not (digit == 3 and value == 5):
                    break
                first = digit
            elif word in "零〇":
                unit = 10.0
            digit, after_unit = value, False
        elif word in _UNITS_HAN:
            unit = scale = _UNITS_HAN[word]
            if first is not None:
                first *= unit
            if unit >= 10_000:
                total = (total + section + (digit or (0.0 if section or total else 1.0))) * unit
                section = 0.0
            else:
                section += (1.0 if digit is None or digit == 0 else digit) * unit
            digit, after_unit = None, True
        else:
            break
        at += 1
    if digit is not None:
        # 一千二 is 1200, 一千零二 is 1002.
        section += digit * (unit / 10 if unit >= 100 and digit < 10 and scale == unit else 1.0)
    value = total + section
    return Number(first if first is not None and first < value else value, value, scale, at) if at > start else None


def _all_digits(words: list[str], at: int) -> bool:
    while at < len(words) and words[at] in _DIGITS:
        at += 1
    return at >= len(words) or words[at] not in _UNITS_HAN


def _digit_run(words: list[str], start: int) -> Number:
    at, value = start, 0.0
    while at < len(words) and words[at] in _DIGITS:
        value = min(value * 10 + _DIGITS[words[at]], _LARGEST)
        at += 1
    return Number(value, value, 1.0, at)


def _english(words: list[str], start: int) -> Number | None:
    """five hundred, one thousand two hundred and fifty; a lone "one" is no number."""
    total = current = 0.0
    scale = 1.0
    at = start
    while at < len(words):
        word = words[at]
        if word in _WORDS:
            if current and not (current >= 100 or (current % 10 == 0 and _WORDS[word] < 10)):
                break
            current += _WORDS[word]
        elif word in ("hundred", "thousand", "million"):
            scale = _SUFFIXES[word]
            current = (current or 1.0) * scale
            if scale >= 1000:
                total, current = total + current, 0.0
        elif word == "-" or (word == "and" and at > start and scale >= 100):
            if not (at + 1 < len(words) and words[at + 1] in _WORDS) or (word == "-" and current % 10):
                break
        else:
            break
        at += 1
    value = total + current
    if at == start or (at == start + 1 and words[start] in ("one", "zero") and not _is_money(words, at)):
        return None
    return Number(value, value, scale if at == start + 1 else 1.0, at)


def _is_money(words: list[str], at: int) -> bool:
    node = GRAMMAR.get(words[at]) if at < len(words) else None
    return node is not None and None in node and node[None][0] is Kind.MONEY


def follows(tree: dict[str | None, Any], words: list[str], at: int) -> int:
    """The end of the longest phrase of a tree that begins at a token, or 0."""
    end = 0
    node: dict[str | None, Any] | None = tree
    while node is not None and at < len(words):
        node = node.get(words[at])
        at += 1
        if node is not None and None in node:
            end = at
    return end


_CUES = (Kind.BEFORE_AMOUNT, Kind.EITHER_SIDE)
_BETWEEN_FILLERS = (Kind.FILLER, Kind.WISH)


def price_at(pieces: list[Piece], tokens: Tokens, start: int) -> tuple[Price, int] | None:
    """The price condition that begins at a piece, and the index of the piece after it."""
    at, op, asked, between = start, None, False, False
    while at < len(pieces) and at < start + 8:
        piece = pieces[at]
        if piece.kind in _CUES:
            op = piece.value if op in (None, "~") else op
        elif piece.kind is Kind.ASPECT and piece.value == "price":
            asked = True
        elif piece.kind is Kind.BETWEEN:
            between = True
        elif not (piece.kind in _BETWEEN_FILLERS and (asked or op is not None)):
            break
        at += 1
    amount = _amount(pieces, at)
    if amount is None:
        return None
    number, unit, last, at = amount
    ranged = number.high != number.low
    low, high = number.low, number.high
    if at < len(pieces) and _is_to(pieces[at], tokens, between):
        second = _amount(pieces, at + 1)
        if second is not None and second[0].low == second[0].high:
            ranged, high, unit, last, at = True, second[0].high, second[1] or unit, second[2], second[3]
            if number.scale == 1 and second[0].scale > 1 and low < high / second[0].scale:
                low *= second[0].scale
    after = None
    while at < len(pieces):
        piece = pieces[at]
        if piece.kind is Kind.AFTER_AMOUNT or (piece.kind is Kind.EITHER_SIDE and _amount(pieces, at + 1) is None):
            after = after or piece.value
        elif piece.kind is Kind.MONEY and unit is None:
            unit = piece.value
        else:
            break
        last = piece.end
        at += 1
    if max(low, high) > _LARGEST or follows(REBATES, tokens.words, last):
        return None
    if op is None or op == "~":
        op = after or op
    if unit is None and not _bare_price(
        pieces, tokens, start, at, number, last, op, asked or between, after, high if ranged else None
    ):
        return None
    if ranged:
        limits = ((">=", min(low, high)), ("<=", max(low, high)))
        if op in ("<=", ">="):
            limits = ((op, max(low, high) if op == "<=" else min(low, high)),)  # type: ignore[assignment]
    elif op == "~":
        limits = ((">=", round(low * (1 - AROUND), 2)), ("<=", round(low * (1 + AROUND), 2)))
    else:
        limits = ((op or "<=", low),)  # type: ignore[assignment]
    return Price(limits, unit, op is not None), at


def _amount(pieces: list[Piece], at: int) -> tuple[Number, str | None, int, int] | None:
    """[currency] number [currency] -> the number, the currency, the token and the piece after it."""
    unit = None
    if at < len(pieces) and pieces[at].kind is Kind.MONEY:
        unit = pieces[at].value
        at += 1
    if at >= len(pieces) or pieces[at].kind is not Kind.NUMBER:
        return None
    number, last = pieces[at].value, pieces[at].end
    at += 1
    while at < len(pieces) and pieces[at].kind is Kind.MONEY:
        # "$50 USD", 500元人民币; a second currency after the number is the clearer one.
        unit, last = pieces[at].value, pieces[at].end
        at += 1
    return number, unit, last, at


def _is_to(piece: Piece, tokens: Tokens, between: bool) -> bool:
    if piece.kind is Kind.TO or tokens.words[piece.start] == "~":
        return True
    return between and piece.kind is Kind.AND


def _bare_price(
    pieces: list[Piece],
    tokens: Tokens,
    start: int,
    at: int,
    number: Number,
    last: int,
    op: str | None,
    asked: bool,
    after: str | None,
    high: float | None,
) -> bool:
    """Whether a number without a currency is a price: `at` is the piece, `last` the token after it."""
    if follows(UNITS, tokens.words, number.end) or follows(UNITS, tokens.words, last):
        return False
    previous = pieces[start - 1] if start else None
    if previous is not None:
        if previous.kind is Kind.NAME and previous.value[0].facet == "attribute":
            return False
        if number.high < _ADULT and _is_person(previous, tokens):
            return False
        if pieces[start].kind is Kind.NUMBER and previous.kind is Kind.WORD and not asked:
            word = tokens.words[previous.end - 1]
            if not is_han(word) and (high is not None or tokens.glued[pieces[start].start] or len(word) > 1):
                return False
    if high is not None and op is None and not asked:
        return high >= 50 and not 1900 <= number.low <= 2100
    if op is None and not asked:
        return False
    if op == "~" and after is None and not asked and 1900 <= number.low <= 2100:
        return False
    if at < len(pieces) and pieces[at].kind is Kind.WORD and after is None:
        word = tokens.words[pieces[at].start]
        if not is_han(word) and (number.low < 100 or word.endswith("s")):
            return False
    return True


def _is_person(piece: Piece, tokens: Tokens) -> bool:
    if tokens.words[piece.end - 1] in ("age", "ages", "aged", "people", "岁"):
        return True
    return piece.kind is Kind.NAME and any(
        meaning.facet == "word" and meaning.values[0] in PEOPLE for meaning in piece.value
    )


def measure_at(
    pieces: list[Piece], tokens: Tokens, start: int, numbers: frozenset[str], said_alone: Any
) -> tuple[Measure, int] | None:
    """The condition on an attribute that begins at a piece: "memory at least 16 GB", "over 16 GB of memory"."""
    piece = pieces[start]
    if piece.kind is Kind.NAME and piece.value[0].facet == "attribute":
        return _named_measure(pieces, tokens, start, numbers, said_alone)
    if piece.kind not in _CUES and piece.kind is not Kind.NUMBER:
        return None
    op = "==" if piece.kind is Kind.NUMBER else piece.value
    at = start if piece.kind is Kind.NUMBER else start + 1
    if op == "~" or at >= len(pieces) or pieces[at].kind is not Kind.NUMBER:
        return None
    value = pieces[at].value.low
    at = _after_unit(pieces, tokens, at)
    while at < len(pieces) and pieces[at].kind is Kind.FILLER:
        at += 1
    if at < len(pieces) and pieces[at].kind is Kind.NAME and pieces[at].value[0].facet == "attribute":
        name = pieces[at].value[0].values[0]
        if name in numbers:
            return Measure(name, op, value), at + 1
    return None


def _named_measure(
    pieces: list[Piece], tokens: Tokens, start: int, numbers: frozenset[str], said_alone: Any
) -> tuple[Measure, int] | None:
    name = pieces[start].value[0].values[0]
    op, at = None, start + 1
    while at < len(pieces) and pieces[at].kind in (Kind.FILLER, *_CUES):
        if pieces[at].kind in _CUES:
            op = pieces[at].value
        at += 1
    if at >= len(pieces):
        return None
    said = "".join(tokens.stems[pieces[at].start : pieces[at].end])
    values = said_alone.get(name, {})
    if op is None and said in values:
        return Measure(name, "==", values[said]), at + 1
    if pieces[at].kind is not Kind.NUMBER or name not in numbers or op == "~":
        return None
    value = pieces[at].value.low
    at = _after_unit(pieces, tokens, at)
    if at < len(pieces) and pieces[at].kind in (Kind.AFTER_AMOUNT, Kind.EITHER_SIDE) and pieces[at].value != "~":
        op = op or pieces[at].value
        at += 1
    return Measure(name, op or "==", value), at


def _after_unit(pieces: list[Piece], tokens: Tokens, at: int) -> int:
    """The piece after a number and its unit of measure."""
    end = follows(UNITS, tokens.words, pieces[at].end)
    at += 1
    while at < len(pieces) and pieces[at].end <= end:
        at += 1
    return at
