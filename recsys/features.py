"""Features: what the ranker knows of a candidate, in one table.

In: a block of queries with their gathered candidates. Out: float32[B, C, len(FEATURES)]. Every feature is scaled to
about -1..1, so that the prior weights below can be read side by side; `weight` is that prior, sensible before any
training, and the starting point of the learner. `group` is the reason a feature gives (`recsys.explain`).
"""

from __future__ import annotations

from typing import NamedTuple

SCHEMA_VERSION = 1


class Feature(NamedTuple):
    """One row of the feature table."""

    name: str
    meaning: str
    unit: str
    origin: str
    group: str
    weight: float


_SHARE = "log share of the most popular"

# fmt: off
FEATURES = (
    Feature("covisitation", "chosen by others together with what the user chose", "log1p of decayed weight / 4",
            "statistics x evidence", "together", 1.6),
    Feature("covisitation_last", "chosen by others right around the user's last item", "log1p of weight / 4",
            "statistics x evidence", "together", 0.8),
    Feature("similarity", "text near to what the user chose", "cosine", "item vectors x evidence", "similar", 2.0),
    Feature("session_similarity", "text near to what the user chose in this session", "cosine",
            "item vectors x evidence", "similar", 1.0),
    Feature("words", "text near to what the user said", "cosine", "item vectors x texts", "words", 1.6),
    Feature("lexical", "words of the user's in the item", "BM25 / (BM25 + 4)", "lexical index x texts", "words", 2.0),
    Feature("popularity_day", "chosen by many today", _SHARE, "statistics", "popular", 0.35),
    Feature("popularity_week", "chosen by many this week", _SHARE, "statistics", "popular", 0.45),
    Feature("popularity_month", "chosen by many this month", _SHARE, "statistics", "popular", 0.4),
    Feature("popularity_quarter", "chosen by many this quarter", _SHARE, "statistics", "popular", 0.15),
    Feature("popularity_year", "chosen by many this year", _SHARE, "statistics", "popular", 0.15),
    Feature("newness", "published lately", "half-life 14 days", "catalogue", "new", 0.15),
    Feature("category", "share of the user's evidence in its categories", "share, negative where disliked",
            "catalogue x evidence", "category", 1.3),
    Feature("brand", "share of the user's evidence with its brand", "share, negative where disliked",
            "catalogue x evidence", "brand", 0.5),
    Feature("price_fit", "as dear within its category as what the user chooses", "1 - distance in deviations / 2",
            "catalogue x evidence", "price", 0.25),
    Feature("shown", "shown before without an answer", "-log2(1 + times) / 4", "impressions", "shown", 0.6),
    Feature("available", "can be had", "1", "catalogue", "available", 0.01),
)
# fmt: on
INDEX = {feature.name: at for at, feature in enumerate(FEATURES)}
GROUPS = tuple(dict.fromkeys(feature.group for feature in FEATURES))
