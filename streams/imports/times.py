"""Times as tables write them -> milliseconds since the epoch.

A unit (s, ms, us, ns), `iso`, or a strptime pattern; `auto` decides once, by the first value: text that is no number
is ISO 8601, and a number's size tells its unit (below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds).
A time without an offset is UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

FACTORS = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
_WHOLE = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
UNITS = ("auto", *FACTORS, "iso")


def reader_of(unit: str) -> Callable[[Any], int]:
    """A function from a cell to ms. It raises ValueError with what was expected.

    `unit`: one of `UNITS`, or a pattern with % for strptime.
    """
    if unit == "auto":
        return _Auto()
    if "%" in unit:
        return lambda cell: _ms(datetime.strptime(str(cell).strip(), unit)) if not _timed(cell) else _of_date(cell)
    if unit == "iso":
        return _iso
    if unit not in FACTORS:
        raise ValueError(f"{unit}: no unit of time. There are {', '.join(UNITS)}, or a pattern such as %d/%m/%Y")
    many, one = _WHOLE[unit]
    factor = FACTORS[unit]

    def number(cell: Any) -> int:
        try:
            return int(cell) * many // one if not isinstance(cell, float) else int(cell * factor)
        except (ValueError, TypeError, OverflowError):
            pass
        if _timed(cell):
            return _of_date(cell)
        try:
            return int(float(cell) * factor)
        except (ValueError, TypeError, OverflowError):
            raise ValueError(f"expected a time in {unit}, found {_shown(cell)}") from None

    return number


class _Auto:
    """Decides by the first value that it can read, and says in `unit` how it did."""

    def __init__(self) -> None:
        self.unit = ""
        self._read: Callable[[Any], int] | None = None

    def __call__(self, cell: Any) -> int:
        if self._read is None:
            unit = guessed(cell)
            ms = reader_of(unit)(cell)
            self.unit, self._read = unit, reader_of(unit)
            return ms
        return self._read(cell)


def guessed(cell: Any) -> str:
    """The unit that `cell` is most likely in. Raises ValueError for a cell that is empty."""
    if _timed(cell):
        return "iso"
    if cell is None or not str(cell).strip():
        raise ValueError("expected a time, found nothing")
    try:
        size = abs(float(cell))
    except ValueError:
        return "iso"
    return "s" if size < 1e11 else "ms" if size < 1e14 else "us" if size < 1e17 else "ns"


def _iso(cell: Any) -> int:
    if _timed(cell):
        return _of_date(cell)
    try:
        return _ms(datetime.fromisoformat(str(cell).strip()))
    except ValueError:
        raise ValueError(f"expected a time such as 2026-11-05T10:00:00Z, found {_shown(cell)}") from None


def _timed(cell: Any) -> bool:
    return isinstance(cell, date)  # datetime is one too


def _of_date(cell: Any) -> int:
    return _ms(cell if isinstance(cell, datetime) else datetime(cell.year, cell.month, cell.day))


def _ms(stamp: datetime) -> int:
    aware = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def _shown(cell: Any) -> str:
    text = str(cell)
    return repr(text if len(text) < 40 else text[:37] + "...")
