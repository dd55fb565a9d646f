"""What can be wrong with a backtest from the outside."""

from __future__ import annotations


class BacktestError(Exception):
    """It cannot be run as asked. Says what is wrong, where, and what to do."""
