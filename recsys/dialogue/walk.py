"""The walk over a message's pieces: clause by clause, the names in it and what becomes of them.

In: pieces, one by one. Out: `Wishes`. Here names and unknown words become phrases, and a phrase is filed as asked
for, refused, let go or only described, by the flags of the `Clause` it stands in. `messages` sets the flags.
"""

from __future__ import annotations

from recsys.dialogue.amounts import Piece
from recsys.dialogue.clause import Clause
from recsys.dialogue.phrases import Kind
from recsys.dialogue.shop_words import PEOPLE
from recsys.dialogue.spelling import Spelling
from recsys.dialogue.tokens import Tokens, is_han, joined, tokenise
from recsys.dialogue.vocabulary import Meaning, Vocabulary, at_end
from recsys.dialogue.wishes import Phrase, Refusal, Wishes, refusals

_QUANTITIES = frozenset({"many", "much", "often", "多", "多的", "频繁"})  # "not too many games" asks for no games

_FEWER = frozenset({"less", "fewer", "enough"})  # first in a clause: "enough games"


class Walk:
    """Walks the pieces and fills `wishes`."""

    def __init__(self, tokens: Tokens, vocabulary: Vocabulary) -> None:
        self.tokens, self.vocabulary = tokens, vocabulary
        self.wishes = Wishes()
        self.asks = False
        self.clause = Clause()
        self.open: list[tuple[Piece, Meaning | None]] = []  # the phrase being read
        self.mode = "ask"  # what becomes of it
        self.spelling = Spelling(tokens, vocabulary)
        self.last_aspects: list[str] = []
        self.previous: list[Phrase] = []  # what the clause before asks for

    # -- pieces ---------------------------------------------------------------------------------------------

    def take(self, piece: Piece) -> None:
        """One piece more."""
        clause, kind = self.clause, piece.kind
        clause.pieces += 1
        if kind is Kind.NAME:
            self._name(piece)
        elif kind is Kind.WORD or kind is Kind.PLAIN or kind is Kind.NUMBER or kind is Kind.MONEY:
            self._word(piece)
        elif kind is not Kind.FILLER:
            self._grammar(piece)

    def _grammar(self, piece: Piece) -> None:
        raise NotImplementedError

    def _name(self, piece: Piece) -> None:
        meaning: Meaning = piece.value[0]
        clause = self.clause
        if meaning.facet == "attribute":
            clause.aspects.append(meaning.values[0])
            self._keep(piece)
            return
        if meaning.facet != "brand" and self.spelling.in_a_title(piece):
            self._word(piece)
            return
        if meaning.facet == "colour" and self.spelling.is_a_syllable(piece):
            self._word(piece)
            return
        if clause.degree and self._is_degree(piece, meaning):
            return
        mode = self._mode(meaning)
        if mode != self.mode:
            self._close()
            self.mode = mode
        if mode == "ask" and meaning.facet == "category":
            # "Looking for a dress": what came after "for" is the thing itself.
            clause.behind = False
        if clause.not_only:
            self.wishes.not_only.append(meaning)
            self._keep(piece)
            return
        self.open.append((piece, meaning))

    def _is_degree(self, piece: Piece, meaning: Meaning) -> bool:
        """After "not too": whether a name only tells how much ("not too red"); else it is the thing itself."""
        clause, word = self.clause, self.clause.degree_word
        clause.degree, clause.degree_word = False, None
        if meaning.facet != "category":
            return True
        if word is None:
            # 不要太恐怖的电影: what a thing should not be too much of is not asked for.
            return not clause.cancelled
        if not clause.cancelled and piece.start == word.end and is_han(self.tokens.words[word.start]):
            # 不要太空小说, with a word that nobody knows: 太 was part of it.
            clause.refusal, self.mode = Kind.NO, "refuse"
            self.open.append((word, None))
        return False

    def _mode(self, meaning: Meaning) -> str:
        clause = self.clause
        if clause.refusal is not None and not clause.cancelled:
            return "refuse"
        if clause.forget:
            return "forget"
        if clause.instead_of:
            return "instead_of"
        if clause.taste or clause.past or clause.question or clause.cancelled:
            return "describe"
        if clause.preference and meaning.facet not in ("category", "word"):
            return "describe"
        if clause.behind and (clause.thing or clause.unknown):
            return "beside" if meaning.facet == "category" else "describe"
        return "ask"

    def _word(self, piece: Piece) -> None:
        clause = self.clause
        if clause.pieces == 1 and self._said(piece) in _FEWER:
            clause.refusal = Kind.NO
            return
        if clause.refusal is Kind.NO and not clause.cancelled and piece.kind is not Kind.MONEY:
            self.mode = "refuse"
            self.open.append((piece, None))
            return
        if clause.forget and piece.kind is Kind.WORD:
            self.mode = "forget"
            self.open.append((piece, None))
            return
        if clause.refusal is Kind.NOT and not clause.cancelled and not clause.refused_any and piece.kind is Kind.WORD:
            # "not picture books": refused if a name follows.
            self.mode = "refuse"
            self.open.append((piece, None))
            return
        if clause.degree and piece.kind is Kind.WORD:
            clause.degree_word = piece
            clause.cancelled = clause.cancelled or self._said(piece) in _QUANTITIES
            return
        if piece.kind is Kind.WORD:
            clause.unknown = clause.unknown or not clause.behind
        if self.mode != "ask":
            self._close()
        self._keep(piece)

    def _keep(self, piece: Piece) -> None:
        """The words stay in the query."""
        self.wishes.query.append((piece.start, self._said(piece)))

    def _said(self, piece: Piece) -> str:
        words = self.tokens.words
        return words[piece.start] if piece.end - piece.start == 1 else joined(words[piece.start : piece.end])

    # -- phrases --------------------------------------------------------------------------------------------

    def _close(self) -> None:
        """The phrase is over: file its names by what was said of them."""
        if not self.open:
            return
        clause, mode, names = self.clause, self.mode, self.open
        self.open = []
        if mode == "refuse":
            if clause.refusal is Kind.NOT:
                names = self._up_to_a_name(names)
            if names:
                self._refuse(names)
                clause.refused_any = True
        elif mode in ("forget", "instead_of"):
            for piece, meaning in names:
                self.wishes.withdrawn.append(meaning or Meaning("word", (self._said(piece),)))
            clause.forgot = True
        elif mode == "describe":
            for piece, _ in names:
                self._keep(piece)
        else:
            self._ask(names, beside=mode == "beside")
        self.mode = "ask"

    def _up_to_a_name(self, names: list[tuple[Piece, Meaning | None]]) -> list[tuple[Piece, Meaning | None]]:
        """What "not" refuses of these. "Not sure" refuses no thing at all, and lets go."""
        known = [at for at, (_, meaning) in enumerate(names) if meaning is not None]
        count = known[-1] + 1 if known else 0
        for piece, _ in names[count:]:
            self._keep(piece)
        if not count:
            self.clause.refusal = None
        return names[:count]

    def _ask(self, names: list[tuple[Piece, Meaning | None]], *, beside: bool) -> None:
        clause = self.clause
        meanings: list[Meaning] = []
        for piece, meaning in names:
            if meaning is None or meaning.facet == "word":
                self._keep(piece)
                clause.thing = clause.thing or (meaning is not None and meaning.values[0] not in PEOPLE)
            else:
                meanings.append(meaning)
                if meaning.wider:
                    self._keep(piece)
                clause.thing = clause.thing or meaning.facet == "category"
        if not meanings:
            return
        phrase = Phrase(meanings, [(p.start, self._said(p)) for p, m in names if m in meanings], beside)
        phrase.linked = clause.linked and bool(clause.phrases)
        phrase.replaces = clause.instead
        clause.linked = False
        clause.phrases.append(phrase)
        self.wishes.phrases.append(phrase)

    def _refuse(self, names: list[tuple[Piece, Meaning | None]]) -> None:
        self.wishes.refused += refusals([(self._said(piece), meaning) for piece, meaning in names])

    def _turn_last(self, phrases: list[Phrase] | None = None) -> bool:
        """红色不要, 耐克以外: the refusal comes after its object. Whether there was one."""
        clause = self.clause
        if phrases is None:
            phrases = clause.phrases
        if phrases and phrases[-1] in self.wishes.phrases:
            phrase = phrases.pop()
            self.wishes.phrases.remove(phrase)
            self.wishes.refused += refusals(
                [(said, meaning) for meaning, (_, said) in zip(phrase.meanings, phrase.said, strict=True)]
            )
        elif phrases is not clause.phrases:
            return False
        elif self.wishes.query and not clause.refused_any:
            said = self.wishes.query.pop()[1]
            meanings = at_end(self.vocabulary.tree, tokenise(said).stems)
            if meanings is not None:
                self.wishes.refused.append(Refusal(meanings[0], said))
        else:
            return False
        return True

    def end_clause(self) -> None:
        """A stop: settle what the clause as a whole says."""
        self._close()
        clause, wishes = self.clause, self.wishes
        trailing = clause.refusal is Kind.NO and not clause.refused_any and not clause.forgot
        free = clause.indifferent or (clause.limit and (clause.refusal is not None or clause.refused_any))
        if free:
            for aspect in clause.aspects or (self.last_aspects if not clause.phrases else []):
                wishes.free(aspect)
        elif clause.forget and clause.aspects:
            wishes.withdrawn_aspects += clause.aspects
            for aspect in clause.aspects:
                wishes.free(aspect)
        elif clause.forget and not clause.forgot:
            if clause.phrases:
                phrase = clause.phrases.pop()
                wishes.phrases.remove(phrase)
                wishes.withdrawn += phrase.meanings
            else:
                wishes.forget_last = True
        elif trailing and clause.chinese_refusal:
            self._turn_last()
        for phrase in clause.phrases:
            phrase.adds = clause.adds
        self.last_aspects = clause.aspects if clause.pieces <= 3 else []
        self.previous = clause.phrases or self.previous
        self.clause = Clause()
        self.mode = "ask"
