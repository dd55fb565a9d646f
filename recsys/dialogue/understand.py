"""A chat message to typed conditions, in plain English and Chinese.

In: the text, the catalogue's vocabulary, the conditions in force. Out: `Understanding`. The way there: tokens ->
pieces (`reading`) -> clause by clause, who is asked for and who is refused (`_Message`) -> conditions (`wishes`).

Decisions, so that nobody has to guess:
- A taste is no condition: "I like red" and 我喜欢红色 leave the ranking free (they are evidence); "I'd like red"
  asks for it. A dislike is one: "I don't like horror", 不喜欢恐怖片.
- One amount of money without a comparison is a ceiling; "around 500" is 400 to 600.
- Of a refused phrase its describing words are refused, not its noun: "no red dresses" keeps dresses.
- What was bought before, and questions how or why, set no conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from recsys.dialogue.amounts import Measure, Piece, Price
from recsys.dialogue.conditions import Understanding
from recsys.dialogue.phrases import Kind
from recsys.dialogue.reading import read
from recsys.dialogue.shop_words import BRANDS, MATERIALS, PEOPLE
from recsys.dialogue.tokens import MAX_CHARACTERS, Tokens, is_han, joined, tokenise
from recsys.dialogue.vocabulary import Meaning, Vocabulary
from recsys.dialogue.wishes import Phrase, Refusal, Wishes
from recsys.text import language
from schemas.constraints import Constraint

MAX_TERM_WORDS = 3  # of a refused phrase that the vocabulary does not know
MAX_TERM_CHARACTERS = 6  # the same in Chinese


def understand(
    text: str,
    vocabulary: Vocabulary,
    *,
    event_id: str | None,
    expires: int | None,
    in_force: Sequence[Constraint] = (),
) -> Understanding:
    """What a message asks for. Never raises; reads the first 2,000 characters.

    `event_id` and `expires` (ms) are written into the new conditions. `in_force` is what the message may take
    back or add to; `conditions.merge` puts the two together.
    """
    text = text[:MAX_CHARACTERS].replace("\n", " ; ")
    tokens = tokenise(text)
    message = _Message(tokens, vocabulary)
    for piece in read(tokens, vocabulary):
        message.take(piece)
    message.end_clause()
    constraints, retracted, query = message.wishes.settle(vocabulary, event_id, expires, in_force)
    return Understanding(
        constraints=constraints,
        retracted=retracted,
        query=query,
        negated_terms=tuple(dict.fromkeys(refusal.said for refusal in message.wishes.refused)),
        language=language(text),
        is_request=bool(constraints or retracted or message.asks),
    )


@dataclass(slots=True)
class _Clause:
    """What has been said since the last stop."""

    refusal: Kind | None = None  # NO, NOT or NOT_VERB: what follows is refused
    refused_any: bool = False  # and something was
    flips: bool = False  # comparisons mean their opposite: "can't spend over"
    chinese_refusal: bool = False
    degree: bool = False  # after "not too": the next word is a matter of degree
    cancelled: bool = False  # a double negation: nothing follows from it
    taste: bool = False
    preference: bool = False  # "preferably": what describes the thing is a taste, the thing is not
    past: bool = False
    question: bool = False
    behind: bool = False  # after "for", "with", "about": describes, is not asked for
    thing: bool = False  # a thing was asked for
    unknown: bool = False  # an unknown noun stands before "for"
    not_only: bool = False
    forget: bool = False
    forgot: bool = False
    instead: bool = False
    instead_of: bool = False
    indifferent: bool = False
    limit: bool = False
    any_: str = ""
    adds: str = ""
    linked: bool = False
    aspects: list[str] = field(default_factory=list)
    phrases: list[Phrase] = field(default_factory=list)
    pieces: int = 0


class _Message:
    """Walks the pieces and fills `wishes`."""

    def __init__(self, tokens: Tokens, vocabulary: Vocabulary) -> None:
        self.tokens, self.vocabulary = tokens, vocabulary
        self.wishes = Wishes()
        self.asks = False
        self.clause = _Clause()
        self.open: list[tuple[Piece, Meaning | None]] = []  # the phrase being read
        self.mode = "ask"  # what becomes of it
        self.title_case = _mostly_capital(tokens)
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
        if meaning.facet != "brand" and self._is_part_of_a_title(piece):
            self._word(piece)
            return
        if meaning.facet == "colour" and self._is_a_lone_character(piece):
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

    def _is_part_of_a_title(self, piece: Piece) -> bool:
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

    def _is_a_lone_character(self, piece: Piece) -> bool:
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
        """Of a phrase its describing words are refused; of several nouns all but the last; else the noun."""
        grouped: list[tuple[str, Meaning | None, bool]] = []
        for piece, meaning in names:
            if meaning is None and grouped and grouped[-1][1] is None:
                grouped[-1] = (joined([grouped[-1][0], self._said(piece)]), None, False)
                continue
            if meaning is not None and meaning.wider:
                meaning = Meaning("word", (self._said(piece),))
            noun = meaning is not None and (
                meaning.facet == "category" or (meaning.facet == "word" and not _is_material(meaning))
            )
            grouped.append((self._said(piece), meaning, noun))
        describing = [entry for entry in grouped if not entry[2]]
        nouns = [entry for entry in grouped if entry[2]]
        for said, meaning, _ in describing or nouns[:-1] or nouns:
            if meaning is None:
                said = said.replace(" ", "") if is_han(said) else said
                long = MAX_TERM_CHARACTERS if is_han(said) else MAX_TERM_WORDS
                if (len(said) if is_han(said) else said.count(" ") + 1) > long or not said[0].isalnum():
                    continue
                meaning = Meaning("word", (said,))
            self.wishes.refused.append(Refusal(meaning, said))

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
        self.clause = _Clause()

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
        comma = self.tokens.words[piece.start] == ","
        if comma and clause.refusal is not None and (clause.refused_any or self.open) and self._list_goes_on(piece):
            self._close()
            return
        if comma and self._said(piece) == "," and self._list_goes_on(piece):
            self._close()
            clause.linked = True
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
        self.clause = _Clause()
        self.mode = "ask"


_HANDLERS: dict[Kind, Callable[[_Message, Piece], None]] = {
    Kind.NO: _Message._on_refusal,
    Kind.NOT: _Message._on_refusal,
    Kind.NOT_VERB: _Message._on_refusal,
    Kind.NEVER_OVER: _Message._on_never_over,
    Kind.OUTSIDE: _Message._on_outside,
    Kind.NOT_ONLY: _Message._on_not_only,
    Kind.BEFORE_AMOUNT: _Message._on_comparison,
    Kind.AFTER_AMOUNT: _Message._on_comparison,
    Kind.PRICE: _Message._on_price,
    Kind.MEASURE: _Message._on_measure,
    Kind.ASPECT: _Message._on_aspect,
    Kind.ANY: _Message._on_any,
    Kind.LIMIT: _Message._on_limit,
    Kind.INDIFFERENT: _Message._on_indifferent,
    Kind.FORGET: _Message._on_forget,
    Kind.RESET: _Message._on_reset,
    Kind.ALSO: _Message._on_also,
    Kind.ALLOWED: _Message._on_also,
    Kind.INSTEAD: _Message._on_instead,
    Kind.INSTEAD_OF: _Message._on_instead_of,
    Kind.TASTE: _Message._on_taste,
    Kind.WISH: _Message._on_wish,
    Kind.PAST: _Message._on_past,
    Kind.QUESTION: _Message._on_question,
    Kind.AND: _Message._on_and,
    Kind.ABOUT: _Message._on_about,
    Kind.DEGREE: _Message._on_degree,
    Kind.BREAK: _Message._on_break,
}

_COMMON_CAPITALS = frozenset({"i", "i'm", "i'd", "usd", "rmb", "cny", "eur", "gbp", "the", "a"})


def _mostly_capital(tokens: Tokens) -> bool:
    """Whether the whole message is written in capitals or Title Case, so that capitals tell nothing."""
    letters = [capital for word, capital in zip(tokens.words, tokens.capital, strict=True) if word[0].isalpha()]
    return sum(letters) * 2 > len(letters) if any(letters) else False


def _is_material(meaning: Meaning) -> bool:
    return meaning.values[0] in MATERIALS or meaning.values[0] in BRANDS
