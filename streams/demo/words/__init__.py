"""Word lists of the demo's catalogue, in English and Chinese. Every title, brand and name in them is
invented.

A list is a block of text, one entry a line, the two languages parted by a bar: easy to read, easy to extend.
"""

from __future__ import annotations


def pairs(block: str) -> list[tuple[str, str]]:
    """`english | chinese` lines to pairs; blank lines are skipped."""
    rows = [line.split("|") for line in block.strip().splitlines() if line.strip()]
    return [(english.strip(), chinese.strip()) for english, chinese in rows]
