"""Policies of a backtest: baselines, and the full system. Each is a few lines over `recsys.backtest.ranking`.

All have the verbs of `recsys.backtest.protocol.BacktestPolicy`; `streams.backtest.line_up` makes them by name.
"""
