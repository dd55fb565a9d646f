"""Lines: bytes of a source -> lines of text with their numbers.

UTF-8, with a BOM or without; UTF-16 where a BOM says so; a line that is not UTF-8 is read as Latin-1 (which never
fails) and counted. A line over `MAX_LINE` is a malformed row, and is skipped without being held in memory.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from streams.imports.faults import Faults
from streams.imports.sources import Source, Truncated

MAX_LINE = 8 << 20
"""Bytes; a longer line is no record."""


def lines_of(source: Source, faults: Faults) -> Iterator[tuple[int, str]]:
    """(line number from 1, text with its line end) of every whole line."""
    for first, lines in blocks_of(source, faults):
        yield from enumerate(lines, first)


def first_line(source: Source) -> str:
    """The first line that is not empty, to see what a file holds; "" if there is none."""
    return next((line for _, line in lines_of(source, Faults(say=lambda _: None)) if line.strip()), "")


def blocks_of(source: Source, faults: Faults) -> Iterator[tuple[int, list[str]]]:
    """The same in blocks: (number of the first line, lines). A line that is too long is left out, and ends a block."""
    number = 1
    for block, complete in _whole_lines(_utf8(source)):
        if not complete:
            faults.row(source.name, number, f"(line): expected at most {MAX_LINE:,} bytes")
            number += 1
            continue
        if isinstance(block, Truncated):
            faults.broke_off(source.name, number, str(block))
            return
        lines = _decoded(block, source.name, number, faults)
        yield number, lines
        number += len(lines)


def _utf8(source: Source) -> Iterator[bytes]:
    """Chunks without a BOM; UTF-16 turned into UTF-8."""
    chunks = source.chunks()
    first = next(chunks, b"")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        yield decoder.decode(first).encode()
        for chunk in chunks:
            yield decoder.decode(chunk).encode()
        return
    yield first.removeprefix(codecs.BOM_UTF8)
    yield from chunks


def _whole_lines(chunks: Iterator[bytes]) -> Iterator[tuple[bytes | Truncated, bool]]:
    """(bytes of whole lines, True); (b"", False) for a line that is too long; at last (Truncated, True) if it broke."""
    rest, skipping = b"", False
    try:
        for chunk in chunks:
            end = chunk.rfind(b"\n") + 1
            if not end:
                rest = b"" if skipping else rest + chunk
                if len(rest) > MAX_LINE:
                    rest, skipping = b"", True
                    yield b"", False
                continue
            if skipping:
                start = chunk.find(b"\n") + 1
                block, skipping = chunk[start:end], False
            else:
                block = rest + chunk[:end]
            rest = chunk[end:]
            if block:
                yield block, True
    except Truncated as broken:  # the line in hand is not whole
        yield broken, True
        return
    if rest:
        yield rest, True


def _decoded(block: bytes, name: str, number: int, faults: Faults) -> list[str]:
    try:
        lines = block.decode().split("\n")
    except UnicodeDecodeError:
        lines = []
        for line in block.split(b"\n"):
            try:
                lines.append(line.decode())
            except UnicodeDecodeError:
                faults.not_utf8(name, number + len(lines))
                lines.append(line.decode("latin-1"))
    last = lines.pop()
    out = [f"{line}\n" for line in lines]
    if last:
        out.append(last)
    return out
