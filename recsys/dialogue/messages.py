"""The grammar of a message: what each set phrase means for the clause it stands in.

In: the pieces of `phrases.Kind`, one by one. Out: flags of `Clause`, by which `walk` knows what becomes of the next
name. What a phrase of the grammar does is one small method here; a stop clears the flags.
"""

from __future__ import annotations

from collections.abc import Callable

from recsys.dialogue.amounts import Measure, Piece, Price
from recsys.dialogue.clause import Clause
from recsys.dialogue.phrases import Kind
from recsys.dialogue.tokens import is_han
from recsys.dialogue.walk import Walk
from recsys.dialogue.wishes import Phrase, Wishes


class Message(Walk):
    """A walk that knows the grammar."""

    def _grammar(self, piece: Piece) -> None:
        handle = _HANDLERS.get(piece.kind)
        if handle is not None:
            handle(self, piece)

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
        clause.behind, clause.dislike = False, piece.value == "dislike"
        clause.chinese_refusal = is_han(self.tokens.words[piece.start])

    def _on_never_over(self, piece: Piece) -> None:
        self._close()
        self.clause.flips = True
        if piece.value == "refuse" and self.clause.refusal is None:
            self.clause.refusal, self.clause.refused_any = Kind.NOT_VERB, False

    def _on_outside(self, piece: Piece) -> None:
        self._close()
        clause = self.clause
        turned = clause.refusal is None and self._turn_last(self.previous if piece.value == "previous" else None)
        clause.refusal = Kind.NO if piece.value == "either" and not turned else None
        clause.refused_any = False

    def _on_price(self, piece: Piece) -> None:
        self._close()
        clause, price = self.clause, piece.value
        if clause.past or clause.question:
            return
        if (clause.refusal is not None and not clause.refused_any) or clause.flips:
            if not clause.flips and not price.compared and len(price.limits) == 1:
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
        if self.clause.degree:
            # 不想花太多钱买手机: it is the price that should not be too much.
            self.clause.degree, self.clause.degree_word, self.clause.cancelled = False, None, False
        if self.clause.any_ == "any":
            self.wishes.free(piece.value)
            self.clause.indifferent = True
        self.clause.aspects.append(piece.value)

    def _on_any(self, piece: Piece) -> None:
        if self.clause.chinese_refusal and (self.open or self.clause.refused_any):
            # 除了恐怖片什么电影都行: the refusal ends here.
            self._close()
            self.clause.refusal = None
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
        if piece.value == "keep":
            self.wishes.reset = True
            return
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
        if self._restored():
            return
        if clause.refusal is None:
            clause.taste, clause.preference = piece.value != "soft", piece.value == "soft"

    def _on_wish(self, piece: Piece) -> None:
        self._close()
        clause = self.clause
        if self._restored():
            return
        self.asks = self.asks or not (clause.past or clause.question)
        if clause.refused_any:
            clause.refusal, clause.refused_any = None, False
        if clause.linked:
            # "I bought a phone and need a case"; but "the one I bought" stays in the past.
            clause.past = False
        clause.taste = clause.preference = clause.forget = clause.instead_of = clause.not_only = False
        clause.behind = clause.unknown = False

    def _restored(self) -> bool:
        """Whether this is "not very interested in", "not too fond of": a refusal after all."""
        clause = self.clause
        if not clause.degree or clause.degree_word is not None:
            return False
        clause.degree, clause.refusal, clause.dislike = False, Kind.NO, True
        return True

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
        if clause.refusal is not None and not refusing:
            # "No toys for kids": that they are for kids is not asked for either.
            clause.cancelled = clause.cancelled or not clause.thing
            clause.refusal = None
        elif self._said(piece) == "like" and self._restored():
            return  # "don't really like"
        elif clause.degree and clause.degree_word is None:
            clause.cancelled = True
        clause.behind = True
        following = self.tokens.words[piece.end : piece.end + 1]
        if following in (["my"], ["our"], ["his"], ["her"]) and piece.kind is Kind.ABOUT:
            clause.unknown = True

    def _on_comparison(self, piece: Piece) -> None:
        """A comparison without an amount: "something like", "about", "over-ear"."""
        if piece.value == "~" and not is_han(self.tokens.words[piece.start]):
            self._on_about(piece)
        elif piece.kind is Kind.AFTER_AMOUNT and self.clause.degree:
            self._word(piece._replace(kind=Kind.WORD))
        elif piece.kind is Kind.AFTER_AMOUNT:
            self._keep(piece)

    def _on_degree(self, piece: Piece) -> None:
        """不要太贵, "not too big": a matter of degree, which no condition can hold."""
        clause = self.clause
        if clause.refusal is not None and not clause.refused_any and not self.open:
            clause.degree, clause.refusal = True, None
            clause.cancelled = clause.dislike

    def _on_break(self, piece: Piece) -> None:
        clause = self.clause
        if self.tokens.words[piece.start] == "so" and clause.refusal is not None and not clause.refused_any:
            self._on_degree(piece)
            return
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
