"""What can go wrong in a run of benchmarks.

BenchFailed         what was to be measured did not happen; the message says what did
|-- WorkerFailed    a worker ended, or never got ready (`processes`)
`-- Stuck           a worker made no progress (`wave`)
"""


class BenchFailed(RuntimeError):  # noqa: N818
    """A benchmark could not be finished."""
