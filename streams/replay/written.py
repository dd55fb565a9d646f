"""Written: the recommendations of a file that `headwater replay --out` wrote, back as a recording."""

from __future__ import annotations

from pathlib import Path

from streams.records.files import opened
from streams.replay.errors import ReplayError
from streams.replay.recording import Recording

_LONGEST = 64 << 20  # bytes of a line


def read_into(recording: Recording, path: str) -> None:
    """Takes the lines of a file (.gz too). Raises ReplayError for a line that is no recommendation, Unreadable."""
    if path != "-" and not Path(path).exists():
        raise ReplayError(f"There is no file {path}. `headwater replay ... --out {path}` writes one.")
    with opened(path, "jsonl", _LONGEST) as source:
        for row in source.rows:
            try:
                recording.add_line(row.value)
            except ValueError:
                raise ReplayError(
                    f"{row.where}: no recommendation. The file should be what `headwater replay --out` wrote, or "
                    "values of the recommendations topic, one a line."
                ) from None
