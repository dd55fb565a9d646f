"""Tokens to pieces: the one pass that finds names, phrases, numbers and prices in a message.

In: tokens and the catalogue's vocabulary. Out: pieces that cover all tokens, each the longest that begins there.
The grammar of `understand` then walks the pieces and never sees a character.
"""

from __future__ import annotations

from typing import Any

from recsys.dialogue.amounts import NUMBER_STARTS, Piece, measure_at, number_at, price_at
from recsys.dialogue.phrases import GRAMMAR, Kind
from recsys.dialogue.tokens import Tokens, is_han
from recsys.dialogue.vocabulary import Vocabulary

# A phrase of these that is just as long as a name gives way to the name.
_YIELDS = frozenset({Kind.PLAIN, Kind.MONEY})
_PRICE_STARTS = frozenset({Kind.NUMBER, Kind.MONEY, Kind.BEFORE_AMOUNT, Kind.EITHER_SIDE, Kind.BETWEEN, Kind.ASPECT})


def read(tokens: Tokens, vocabulary: Vocabulary) -> list[Piece]:
    """The pieces of a message, prices and measures put together."""
    pieces = _pieces(tokens, vocabulary.tree)
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


def _pieces(tokens: Tokens, names: dict[str | None, Any]) -> list[Piece]:
    words, stems, glued, _ = tokens
    pieces: list[Piece] = []
    count = len(words)
    at = 0
    while at < count:
        word = words[at]
        node, named = GRAMMAR.get(word), names.get(stems[at])
        numeric = word in NUMBER_STARTS or word[0].isdecimal()
        if node is None and named is None and not numeric:
            end = at + 1
            if not word.isascii():
                # Unknown Chinese characters in a row are one word, as far as anyone knows.
                while end < count and words[end] not in GRAMMAR and stems[end] not in names and is_han(words[end]):
                    if words[end] in NUMBER_STARTS or (pieces and pieces[-1].kind is Kind.NUMBER):
                        break
                    end += 1
            pieces.append(Piece(Kind.WORD, None, at, end))
            at = end
            continue
        kind, value, end = Kind.WORD, None, at + 1
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
        pieces.append(Piece(kind, value, at, end))
        at = end
    return pieces
