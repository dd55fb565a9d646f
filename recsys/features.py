"""Features: what the ranker knows of a candidate, in one table.

In: a block of queries with their gathered candidates. Out: float32[B, C, len(FEATURES)]. Every feature is scaled to
about -1..1, so that the prior weights below can be read side by side; `weight` is that prior, sensible before any
training, and the starting point of the learner. Features without a prior weight wait for the learner: mostly the same
counts on a log scale, on which a softmax can raise them to any power. `group` is the reason a feature gives
(`recsys.explain`).
"""

from __future__ import annotations

from typing import NamedTuple

SCHEMA_VERSION = 2


class Feature(NamedTuple):
    """One row of the feature table."""

    name: str
    meaning: str
    unit: str
    origin: str
    group: str
    weight: float


_SHARE = "log share of the most popular"
_LOG = "log1p(weight / 0.02) / 12"

# fmt: off
FEATURES = (
    Feature("covisitation", "chosen by others together with what the user chose", "log1p of decayed weight / 4",
            "statistics x evidence", "together", 1.6),
    Feature("covisitation_last", "chosen by others right around the user's last item", "log1p of weight / 4",
            "statistics x evidence", "together", 0.8),
    Feature("covisitation_log", "as covisitation, on a log scale", "log1p(weight / 0.05) / 8",
            "statistics x evidence", "together", 0.0),
    Feature("covisitation_last_log", "as covisitation_last, on a log scale", "log1p(weight / 0.05) / 8",
            "statistics x evidence", "together", 0.0),
    Feature("covisitation_share", "share of what goes together with each of the user's items, summed",
            "log1p(share / 0.0001) / 8", "statistics x evidence", "together", 0.0),
    Feature("covisitation_lift", "company beyond what both items' popularity explains (cosine), summed",
            "log1p(cosine / 0.001) / 6", "statistics x evidence", "together", 0.0),
    Feature("sequence", "likely to be next after what the user chose, beyond its popularity", "log odds / 8",
            "sequence model x evidence", "next", 0.0),
    Feature("sequence_bias", "likelier than its popularity says, whoever asks", "log odds / 4",
            "sequence model", "next", 0.0),
    Feature("similarity", "text near to what the user chose", "cosine", "item vectors x evidence", "similar", 2.0),
    Feature("session_similarity", "text near to what the user chose in this session", "cosine",
            "item vectors x evidence", "similar", 1.0),
    Feature("similarity_last", "text near to the user's last item", "cosine",
            "item vectors x evidence", "similar", 0.0),
    Feature("similarity_best", "text near to the nearest of the user's latest items", "cosine",
            "item vectors x evidence", "similar", 0.0),
    Feature("similarity_recent", "text near to the user's latest items, the newest first",
            "sum of cosine / (1 + age) / 2", "item vectors x evidence", "similar", 0.0),
    Feature("words", "text near to what the user said", "cosine", "item vectors x texts", "words", 1.6),
    Feature("lexical", "words of the user's in the item", "BM25 / (BM25 + 4)", "lexical index x texts", "words", 2.0),
    Feature("popularity_day", "chosen by many today", _SHARE, "statistics", "popular", 0.35),
    Feature("popularity_week", "chosen by many this week", _SHARE, "statistics", "popular", 0.45),
    Feature("popularity_month", "chosen by many this month", _SHARE, "statistics", "popular", 0.4),
    Feature("popularity_quarter", "chosen by many this quarter", _SHARE, "statistics", "popular", 0.15),
    Feature("popularity_year", "chosen by many this year", _SHARE, "statistics", "popular", 0.15),
    Feature("popularity_ever", "chosen by many ever", _SHARE, "statistics", "popular", 0.0),
    Feature("popularity_day_log", "chosen today", _LOG, "statistics", "popular", 0.0),
    Feature("popularity_week_log", "chosen this week", _LOG, "statistics", "popular", 0.0),
    Feature("popularity_month_log", "chosen this month", _LOG, "statistics", "popular", 0.0),
    Feature("popularity_quarter_log", "chosen this quarter", _LOG, "statistics", "popular", 0.0),
    Feature("popularity_year_log", "chosen this year", _LOG, "statistics", "popular", 0.0),
    Feature("popularity_ever_log", "chosen ever", _LOG, "statistics", "popular", 0.0),
    Feature("youth", "first chosen not long ago", "1 - log1p(days) / 9; 0 if never chosen", "statistics", "young", 0.0),
    Feature("fresh", "first chosen within weeks", "2^(-days / 20); 0 if never chosen", "statistics", "young", 0.0),
    Feature("untouched", "nobody has chosen it yet", "0 or 1", "statistics", "young", 0.0),
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
CONTEXT = (
    ("always", "1"),
    ("stranger", "the user has no evidence"),
    ("newcomer", "one or two items of evidence"),
    ("regular", "ten items of evidence or more"),
    ("hot", "the last event was within a day"),
    ("returning", "the last event was over 60 days ago"),
)
"""What the ranker knows of the moment: each line 0 or 1. A feature's weight is the sum of its weights over the lines
that hold, so a learnt ranking leans on other things for a stranger than for a regular; the prior is `always` alone."""
# fmt: on
INDEX = {feature.name: at for at, feature in enumerate(FEATURES)}
GROUPS = tuple(dict.fromkeys(feature.group for feature in FEATURES))


def side_by_side(*names: str) -> slice:
    """The columns of features that stand next to each other in this order. Raises ValueError where they do not."""
    first = INDEX[names[0]]
    if [INDEX[name] for name in names] != list(range(first, first + len(names))):
        raise ValueError(f"{', '.join(names)} do not stand side by side in FEATURES")
    return slice(first, first + len(names))
