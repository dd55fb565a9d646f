"""What has been said since the last stop: the flags by which `messages` knows what becomes of the next name."""

from __future__ import annotations

from dataclasses import dataclass, field

from recsys.dialogue.amounts import Piece
from recsys.dialogue.phrases import Kind
from recsys.dialogue.wishes import Phrase


@dataclass(slots=True)
class Clause:
    """All off at the beginning of a clause."""

    refusal: Kind | None = None  # NO, NOT or NOT_VERB: what follows is refused
    refused_any: bool = False  # and something was
    flips: bool = False  # comparisons mean their opposite: "can't spend over"
    chinese_refusal: bool = False
    degree: bool = False  # after "not too": the next word is a matter of degree
    degree_word: Piece | None = None  # and this was it
    dislike: bool = False  # the refusal is one of taste: "hate"
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
