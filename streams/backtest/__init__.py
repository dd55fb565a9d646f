"""Backtests at the edge: logs from files, a run with progress and checkpoints, predictions and a report."""
