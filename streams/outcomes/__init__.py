"""Outcomes: recommendations and what followed them, read from files or topics, and what that says.

sources (files or topics) -> gather (arrays, rewards) -> compare (another policy) or arms (an experiment) -> tables
"""
