"""Records between files, topics and the terminal: what `items`, `events`, `tail` and `dead-letters` do."""
