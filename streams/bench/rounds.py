"""Rounds: two sides measured by turns, so that whatever else the machine does falls on both.

In: two callables that each measure once. Out: their figures in order. Which side goes first alternates too.
"""

from __future__ import annotations

from collections.abc import Callable


def by_turns(
    ours: Callable[[], float], baseline: Callable[[], float], rounds: int, say: Callable[[str], None]
) -> tuple[list[float], list[float]]:
    """`rounds` figures of each side."""
    mine: list[float] = []
    other: list[float] = []
    for at in range(rounds):
        sides = [(ours, mine), (baseline, other)]
        for measure, found in sides if at % 2 == 0 else reversed(sides):
            found.append(measure())
        say(f"round {at + 1} of {rounds}: {mine[-1]:,.0f} against {other[-1]:,.0f}")
    return mine, other
