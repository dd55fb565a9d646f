"""Counterfactual: what another ranking would have earned, from a log of what this one showed, with what chance.

attribution (events -> rewards of places) -> slates (the log, the target) -> weights -> estimators -> verdict.
Pure arrays; `streams.counterfactual` reads the log. The entry is `evaluate.evaluate`.
"""
