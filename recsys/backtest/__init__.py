"""Backtest: what a recommender would have shown, event by event, on a log that is over. Pure: files and clocks are
`streams.backtest`'s."""
