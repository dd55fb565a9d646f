"""Faults: what could not be read, told by file and line, and counted.

In: every stage of an import reports here. Out: lines on standard error (the first `SHOWN`, then only the count), and
the totals that end up in the summary. With `strict` the first malformed row raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from streams.records.files import Unreadable

SHOWN = 20
"""Malformed rows told one by one."""


@dataclass(slots=True)
class Faults:
    """`say` gets each line; `truncated` holds the files that broke off, with where."""

    say: Callable[[str], None]
    strict: bool = False
    malformed: Counter[str] = field(default_factory=Counter)  # by file
    latin1: Counter[str] = field(default_factory=Counter)  # lines of a file that are not UTF-8
    truncated: list[str] = field(default_factory=list)

    def row(self, name: str, line: int, problem: str) -> None:
        """A row that is left out. Raises Unreadable if `strict`."""
        said = f"{name}:{line}: {problem}"
        if self.strict:
            raise Unreadable(f"{said}. Nothing was written; without --strict such rows are counted and left out.")
        self.malformed[name] += 1
        total = self.malformed.total()
        if total <= SHOWN:
            self.say(said)
        if total == SHOWN:
            self.say("further malformed rows are only counted")

    def not_utf8(self, name: str, line: int) -> None:
        """A line read as Latin-1 since it is not UTF-8."""
        if not self.latin1[name]:
            self.say(f"{name}:{line}: not UTF-8; this line and others like it are read as Latin-1")
        self.latin1[name] += 1

    def broke_off(self, name: str, line: int, why: str) -> None:
        """The file ends too early: the lines before `line` are kept, that one is not."""
        said = f"{name}: broken after line {line - 1:,} ({why}); what comes before it is kept"
        self.truncated.append(said)
        self.say(said)
