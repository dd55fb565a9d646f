"""The walk over a message's pieces: clause by clause, who is asked for, refused, or let go.

In: pieces, one by one. Out: `Wishes`. What a phrase of the grammar does is one small method here; what it means
for the clause is a flag of `Clause`, which a stop clears.
"""

from __future__ import annotations

from collections.abc import Callable

from recsys.dialogue.amounts import Measure, Piece, Price
from recsys.dialogue.clause import Clause
from recsys.dialogue.phrases import Kind
from recsys.dialogue.shop_words import PEOPLE
from recsys.dialogue.spelling import Spelling
from recsys.dialogue.tokens import Tokens, is_han, joined, tokenise
from recsys.dialogue.vocabulary import Meaning, Vocabulary
from recsys.dialogue.wishes import Phrase, Refusal, Wishes, refusals


class Message:
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
            handle = _HANDLERS.get(kind)
            if handle is not None:
                handle(self, piece)

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
        if clause.degree and meaning.facet != "category":
            clause.degree = False
            return
        clause.degree = False
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
        if clause.refusal is Kind.NO and not clause.cancelled and piece.kind is not Kind.MONEY:
            self.mode = "refuse"
            self.open.append((piece, None))
            return
        if clause.forget and piece.kind is Kind.WORD:
            self.mode = "forget"
            self.open.append((piece, None))
            return
        if clause.refusal is Kind.NOT and not self.open:
            # "not sure": what is refused is no thing.
            clause.refusal = None
        if clause.degree and piece.kind is Kind.WORD:
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

    # -- phrases of the grammar -----------------------------------------------------------------------------

    def _on_refusal(self, piece: Piece) -> None:
        self._close()
        clause = self.clause
        if clause.refusal is not None and not clause.refused_any:
            said = self._said(piece)
            if piece.kind is Kind.NO and said != "no":
                # "not without", 不是不要: they cancel out. "Don't want no red" only insists.
                clause.refusal, clause.cancelled = None, True
            return
        clause.refusal, clause.refused_any, clause.forget = piece.kind, False, False
        clause.behind = False
        clause.chinese_refusal = is_han(self.tokens.words[piece.start])

    def _on_never_over(self, piece: Piece) -> None:
        self._close()
        self.clause.flips = True

    def _on_outside(self, piece: Piece) -> None:
        self._close()
        clause = self.clause
        if clause.refusal is None:
            self._turn_last()
        clause.refusal = None

    def _turn_last(self) -> None:
        """红色不要, 耐克以外: the refusal comes after its object."""
        clause = self.clause
        if clause.phrases:
            phrase = clause.phrases.pop()
            self.wishes.phrases.remove(phrase)
            for meaning, (_, said) in zip(phrase.meanings, phrase.said, strict=True):
                self.wishes.refused.append(Refusal(meaning, said))
        elif self.wishes.query and not clause.refused_any:
            said = self.wishes.query.pop()[1]
            named = tokenise(said).stems
            node = self.vocabulary.tree
            for stem in named:
                node = node.get(stem, {})
            if None in node:
                self.wishes.refused.append(Refusal(node[None][0], said))

    def _on_price(self, piece: Piece) -> None:
        self._close()
        clause, price = self.clause, piece.value
        if clause.past or clause.question:
            return
        if (clause.refusal is not None and not clause.refused_any) or clause.flips:
            if clause.refusal is not None and not price.compared and len(price.limits) == 1:
                return
            if price.compared and len(price.limits) == 1:
                op, amount = price.limits[0]
                price = Price(((">=" if op == "<=" else "<=", amount),), price.unit, True)
        if clause.forget:
            self.wishes.withdrawn_aspects.append("price")
            clause.forgot = True
            return
        clause.refusal, clause.flips, clause.behind, clause.unknown = None, False, False, False
        self.wishes.prices.append(price)

    def _on_measure(self, piece: Piece) -> None:
        self._close()
        measure: Measure = piece.value
        if not (self.clause.past or self.clause.question or self.clause.refusal):
            self.wishes.measures.append(measure)

    def _on_aspect(self, piece: Piece) -> None:
        self._close()
        if self.clause.any_ == "any":
            self.wishes.free(piece.value)
            self.clause.indifferent = True
        self.clause.aspects.append(piece.value)

    def _on_any(self, piece: Piece) -> None:
        self.clause.any_ = self._said(piece)

    def _on_limit(self, piece: Piece) -> None:
        self.clause.limit = True
        if not self.clause.aspects:
            self._word(piece)

    def _on_indifferent(self, piece: Piece) -> None:
        self._close()
        clause = self.clause
        if piece.value == "mind":
            clause.adds = clause.adds or "allowed"
        elif not clause.refused_any:
            clause.refusal = None
        clause.indifferent = True

    def _on_forget(self, piece: Piece) -> None:
        self._close()
        self.clause.forget, self.clause.refusal = True, None

    def _on_reset(self, piece: Piece) -> None:
        self._close()
        self.wishes = Wishes(reset=True)
        self.clause = Clause()

    def _on_also(self, piece: Piece) -> None:
        self._close()
        self.clause.adds = "also" if piece.kind is Kind.ALSO else "allowed"
        if self.wishes.not_only:
            self.wishes.phrases.append(Phrase(self.wishes.not_only, [], False))
            self.wishes.not_only = []
            self.clause.linked = True

    def _on_instead(self, piece: Piece) -> None:
        self._close()
        if self._said(piece) == "还是" and self.clause.phrases:
            self.clause.linked = True
            return
        self.clause.instead = True
        for phrase in self.clause.phrases:
            phrase.replaces = True

    def _on_instead_of(self, piece: Piece) -> None:
        self._close()
        self.clause.instead_of = True

    def _on_not_only(self, piece: Piece) -> None:
        self._close()
        self.clause.not_only = True

    def _on_taste(self, piece: Piece) -> None:
        self._close()
        clause = self.clause
        if clause.refusal is None:
            clause.taste, clause.preference = piece.value != "soft", piece.value == "soft"

    def _on_wish(self, piece: Piece) -> None:
        self._close()
        clause = self.clause
        self.asks = self.asks or not (clause.past or clause.question)
        if clause.refused_any:
            clause.refusal, clause.refused_any = None, False
        if clause.linked:
            # "I bought a phone and need a case"; but "the one I bought" stays in the past.
            clause.past = False
        clause.taste = clause.preference = clause.forget = clause.instead_of = clause.not_only = False
        clause.behind = clause.unknown = False

    def _on_past(self, piece: Piece) -> None:
        self._close()
        self.clause.past = True

    def _on_question(self, piece: Piece) -> None:
        self._close()
        self.clause.question = True

    def _on_and(self, piece: Piece) -> None:
        self._close()
        self.clause.linked = True

    def _on_about(self, piece: Piece) -> None:
        clause = self.clause
        refusing = clause.refusal is not None and not self.open and not clause.refused_any
        self._close()
        if clause.refusal is not None and not (refusing and self._said(piece) not in ("for", "给", "送给", "适合")):
            clause.refusal = None
        clause.behind = True
        following = self.tokens.words[piece.end : piece.end + 1]
        if following in (["my"], ["our"], ["his"], ["her"]) and piece.kind is Kind.ABOUT:
            clause.unknown = True

    def _on_comparison(self, piece: Piece) -> None:
        """A comparison without an amount: "something like", "about", "over-ear"."""
        if piece.value == "~" and not is_han(self.tokens.words[piece.start]):
            self._on_about(piece)
        elif piece.kind is Kind.AFTER_AMOUNT:
            self._keep(piece)

    def _on_degree(self, piece: Piece) -> None:
        """不要太贵, "not too big": a matter of degree, which no condition can hold."""
        clause = self.clause
        if clause.refusal is not None and not clause.refused_any and not self.open:
            clause.degree, clause.refusal = True, None

    def _on_break(self, piece: Piece) -> None:
        clause = self.clause
        if self.tokens.words[piece.start] == "," and self._list_goes_on(piece):
            asked = clause.refusal is None
            if asked or clause.refused_any or self.open:
                self._close()
                clause.linked = clause.linked or asked
                return
        self.end_clause()

    def _list_goes_on(self, piece: Piece) -> bool:
        """Whether "red, blue or green" is one list: an "or" or "and" closes it within a few words."""
        words = self.tokens.words[piece.end : piece.end + 5]
        for at, word in enumerate(words):
            if word in ("or", "nor", "and", "或", "和"):
                names = self.tokens.stems[piece.end : piece.end + at]
                return 0 < at <= 3 and all(name in self.vocabulary.tree or name == "," for name in names)
        return False

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
        self.clause = Clause()
        self.mode = "ask"


_HANDLERS: dict[Kind, Callable[[Message, Piece], None]] = {
    Kind.NO: Message._on_refusal,
    Kind.NOT: Message._on_refusal,
    Kind.NOT_VERB: Message._on_refusal,
    Kind.NEVER_OVER: Message._on_never_over,
    Kind.OUTSIDE: Message._on_outside,
    Kind.NOT_ONLY: Message._on_not_only,
    Kind.BEFORE_AMOUNT: Message._on_comparison,
    Kind.AFTER_AMOUNT: Message._on_comparison,
    Kind.PRICE: Message._on_price,
    Kind.MEASURE: Message._on_measure,
    Kind.ASPECT: Message._on_aspect,
    Kind.ANY: Message._on_any,
    Kind.LIMIT: Message._on_limit,
    Kind.INDIFFERENT: Message._on_indifferent,
    Kind.FORGET: Message._on_forget,
    Kind.RESET: Message._on_reset,
    Kind.ALSO: Message._on_also,
    Kind.ALLOWED: Message._on_also,
    Kind.INSTEAD: Message._on_instead,
    Kind.INSTEAD_OF: Message._on_instead_of,
    Kind.TASTE: Message._on_taste,
    Kind.WISH: Message._on_wish,
    Kind.PAST: Message._on_past,
    Kind.QUESTION: Message._on_question,
    Kind.AND: Message._on_and,
    Kind.ABOUT: Message._on_about,
    Kind.DEGREE: Message._on_degree,
    Kind.BREAK: Message._on_break,
}
