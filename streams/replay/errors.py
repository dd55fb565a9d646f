"""What can stop a replay. Each message says what is missing or wrong, where, and what to do.

ReplayError          the replay cannot be done as asked
`-- WorldGone        a World that the journal names cannot be made again
"""

from __future__ import annotations


class ReplayError(Exception):
    """The replay cannot be done as asked."""


class WorldGone(ReplayError):  # noqa: N818
    """What a World was made of is no longer there: pruned, compacted, or never in reach of this machine."""
