"""Tokens to pieces: the one pass that finds names, phrases, numbers and prices in a message.

In: tokens and the catalogue's vocabulary. Out: pieces that cover all tokens, each the longest that begins there.
The grammar of `understand` then walks the pieces and never sees a character.
"""

from __future__ import annotations

from typing import Any

from recsys.dialogue.amounts import NUMBER_STARTS, Piece, measure_at, number_at, price_at
from recsys.dialogue.phrases import GRAMMAR, Kind
from recsys.dialogue.tokens import Tokens, is_han
from recsys.dialogue.vocabulary import Meaning, Vocabulary

# A phrase of these that is just as long as a name gives way to the name.
_YIELDS = frozenset({Kind.PLAIN, Kind.MONEY})
_JOINTS = frozenset("的-")
_FURTHER = 3  # names between what describes a thing and the thing
_PRICE_STARTS = frozenset({Kind.NUMBER, Kind.MONEY, Kind.BEFORE_AMOUNT, Kind.EITHER_SIDE, Kind.BETWEEN, Kind.ASPECT})


def read(tokens: Tokens, vocabulary: Vocabulary) -> list[Piece]:
    """The pieces of a message, prices and measures put together."""
    pieces = _pieces(tokens, vocabulary)
    if not any(piece.kind is Kind.NUMBER or piece.kind is Kind.NAME for piece in pieces):
        return pieces
    joined: list[Piece] = []
    at = 0
    while at < len(pieces):
        piece = pieces[at]
        found: tuple[Any, int] | None = None
        kind = Kind.MEASURE
        if piece.kind in _PRICE_STARTS:
            found = measure_at(pieces, tokens, at, vocabulary.numbers, vocabulary.said_alone)
            if found is None:
                found, kind = price_at(pieces, tokens, at), Kind.PRICE
        elif piece.kind is Kind.NAME and piece.value[0].facet == "attribute":
            found = measure_at(pieces, tokens, at, vocabulary.numbers, vocabulary.said_alone)
        if found is None:
            joined.append(piece)
            at += 1
        else:
            value, end = found
            joined.append(Piece(kind, value, piece.start, pieces[end - 1].end))
            at = end
    return joined


def _pieces(tokens: Tokens, vocabulary: Vocabulary) -> list[Piece]:
    names, kinds = vocabulary.tree, vocabulary.kinds
    words, stems, glued, _ = tokens
    pieces: list[Piece] = []
    count = len(words)
    at = 0
    while at < count:
        word = words[at]
        node, named = GRAMMAR.get(word), names.get(stems[at])
        kind_of = _kind_at(stems, at, vocabulary) if stems[at] in vocabulary.kinds else None
        numeric = word in NUMBER_STARTS or word[0].isdecimal()
        if node is None and named is None and kind_of is None and not numeric:
            end = at + 1
            if not word.isascii():
                # Unknown Chinese characters in a row are one word, as far as anyone knows.
                while end < count and words[end] not in GRAMMAR and stems[end] not in names and is_han(words[end]):
                    if (
                        words[end] in NUMBER_STARTS
                        or stems[end] in kinds
                        or (pieces and pieces[-1].kind is Kind.NUMBER)
                    ):
                        break
                    end += 1
            pieces.append(Piece(Kind.WORD, None, at, end))
            at = end
            continue
        kind, end = Kind.WORD, at + 1
        value: Any = None
        reach = at
        if node is not None:
            ahead = at + 1
            while node is not None:
                if None in node:
                    (kind, value), reach = node[None], ahead
                if ahead >= count:
                    break
                node = node.get(words[ahead])
                ahead += 1
            end = max(reach, at + 1)
        node = named
        if node is not None:
            ahead = at + 1
            while node is not None:
                if None in node and (ahead > reach or (ahead == reach and kind in _YIELDS)):
                    kind, value, reach = Kind.NAME, node[None], ahead
                if ahead >= count:
                    break
                node = node.get(stems[ahead])
                ahead += 1
            end = max(reach, at + 1)
        if numeric:
            number = number_at(words, glued, at)
            if (
                number is not None
                and number.end >= max(reach, at + 1)
                and (number.end > reach or kind is not Kind.NAME)
            ):
                kind, value, end = Kind.NUMBER, number, number.end
        wider = kind is Kind.NAME and value[0].wider
        if kind_of is not None and (kind_of[2] > end or (kind_of[2] == end and wider)):
            kind, value, end = Kind.NAME, (Meaning("category", (kind_of[0],)),), kind_of[1]
        if kind is Kind.NAME and value[0].beside:
            # Two things in one name: both stand here, the describing one first.
            pieces.append(Piece(kind, (Meaning("category", (value[0].beside,)),), at, end))
        pieces.append(Piece(kind, value, at, end))
        at = end
    return pieces


def _kind_at(stems: list[str], start: int, vocabulary: Vocabulary) -> tuple[str, int, int] | None:
    """A category that is named at a token only because the thing it describes follows: "ultralight laptops",
    游戏手机, 轻薄的黑色笔记本. With it the end of its name and of the thing's."""
    for end, categories in reversed(_ends(vocabulary.kinds, stems, start)):
        at = end
        for _ in range(_FURTHER):
            while at < len(stems) and stems[at] in _JOINTS:
                at += 1
            named = _ends(vocabulary.tree, stems, at)
            kinds = _ends(vocabulary.kinds, stems, at)
            if named and named[-1][1][0].facet == "category":
                head = named[-1][1][0].values[0]
                for category in categories:
                    if category != head and vocabulary.together(category, head):
                        return category, end, named[-1][0]
            if not named and not kinds:
                break
            at = max(ending for ending, _ in named + kinds)
    return None


def _ends(tree: dict[str | None, Any], stems: list[str], at: int) -> list[tuple[int, Any]]:
    """All names of a tree that begin at a token: their ends and what lies there, the shortest first."""
    found = []
    node: dict[str | None, Any] | None = tree
    while node is not None and at < len(stems):
        node = node.get(stems[at])
        at += 1
        if node is not None and None in node:
            found.append((at, node[None]))
    return found
