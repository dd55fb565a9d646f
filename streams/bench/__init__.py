"""Benchmarks: each measures the house beside a baseline of its own in the same run, and says how they compare."""
