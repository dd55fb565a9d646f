"""Whether a word that spells a name is meant as one: not within a proper name, not as a syllable of a longer word.

In: the tokens around it. Out: yes or no.
"""

from __future__ import annotations

from recsys.dialogue.amounts import Piece
from recsys.dialogue.tokens import Tokens, is_han
from recsys.dialogue.vocabulary import Vocabulary

_COMMON_CAPITALS = frozenset({"i", "i'm", "i'd", "usd", "rmb", "cny", "eur", "gbp", "the", "a"})


class Spelling:
    """The spelling of one message."""

    def __init__(self, tokens: Tokens, vocabulary: Vocabulary) -> None:
        self.tokens, self.vocabulary = tokens, vocabulary
        self.title_case = _mostly_capital(tokens)

    def in_a_title(self, piece: Piece) -> bool:
        """ "Red Dead Redemption": capitals in the middle of a text that has others are a proper name."""
        tokens = self.tokens
        if self.title_case or not tokens.capital[piece.start]:
            return False
        for at in (piece.start - 1, piece.end):
            if 0 <= at < len(tokens.words) and tokens.capital[at] and at != 0:
                known = self.vocabulary.tree.get(tokens.stems[at])
                if known is None and tokens.words[at] not in _COMMON_CAPITALS:
                    return True
        return False

    def is_a_syllable(self, piece: Piece) -> bool:
        """红 is a colour before a name or 的, or where it stands alone; in any other word it is just a syllable."""
        if piece.end - piece.start > 1 or not is_han(self.tokens.words[piece.start]):
            return False
        words, at = self.tokens.words, piece.end
        before = words[piece.start - 1] if piece.start else ""
        if before == "小" or before == "大":
            return True
        if at >= len(words) or not is_han(words[at]) or words[at] in "的了吧吗呢和或、":
            return False
        return self.vocabulary.tree.get(self.tokens.stems[at]) is None


def _mostly_capital(tokens: Tokens) -> bool:
    """Whether the whole message is written in capitals or Title Case, so that capitals tell nothing."""
    letters = [capital for word, capital in zip(tokens.words, tokens.capital, strict=True) if word[0].isalpha()]
    return sum(letters) * 2 > len(letters) if any(letters) else False
