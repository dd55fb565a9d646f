"""Where Users live between batches: one contract, a Redis that keeps it, and a dictionary that keeps it for tests."""
