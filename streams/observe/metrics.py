"""Every Prometheus metric of Headwater, in one table.

In: counts and seconds from the roles, which import the constants below and call `.labels(...)`, `.inc()`,
`.set()`, `.observe()`. Out: the text of `/metrics` (`streams.observe.health`), which the console gathers
from all roles. A role shows only the metrics that it keeps, so that an idle gauge of one role never hides
the value of another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest

Kind = Literal["counter", "gauge", "histogram"]
Role = Literal["worker", "learner", "encoder", "console"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the table.

    `name` as it is exposed; `unit` in words; `roles` are those whose `/metrics` shows it.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    unit: str
    roles: frozenset[str]


# a time of creation for each series doubles the text and tells nobody anything
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry(auto_describe=True)
TABLE: list[Metric] = []
PROCESS_METRICS = (
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
)
ProcessCollector(registry=REGISTRY)

# seconds: from a tenth of a millisecond (a stage of a small batch) to a minute (a backlog)
SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
AGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0, 600.0, 3600.0, 86400.0, 604800.0)
RECORDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)

M = TypeVar("M", Counter, Gauge, Histogram)


def _metric(kind: type[M], name: str, help: str, labels: tuple[str, ...], unit: str, *roles: Role, **more: Any) -> M:
    TABLE.append(Metric(name, kind._type, help, labels, unit, frozenset(roles)))  # type: ignore[arg-type]
    return kind(name, help, labels, registry=REGISTRY, **more)


# the worker: what came in and what went out -------------------------------------------------------
EVENTS = _metric(Counter, "headwater_events_total", "Events applied, by type", ("type",), "events", "worker")
RECOMMENDATIONS = _metric(
    Counter,
    "headwater_recommendations_total",
    "Recommendations delivered, by kind",
    ("kind",),
    "records",
    "worker",
)
DEAD_LETTERS = _metric(
    Counter,
    "headwater_dead_letters_total",
    "Records sent to dead letters, by reason",
    ("reason",),
    "records",
    "worker",
    "learner",
    "encoder",
)
FENCED = _metric(
    Counter,
    "headwater_fenced_total",
    "Batches that the store refused, as another worker had gone further",
    (),
    "batches",
    "worker",
)
OUTBOX_PENDING = _metric(
    Gauge,
    "headwater_outbox_pending",
    "Messages written to the outbox, not yet confirmed by Kafka",
    (),
    "messages",
    "worker",
)
BATCH_RECORDS = _metric(
    Histogram,
    "headwater_batch_records",
    "Records of one partition in one step",
    (),
    "records",
    "worker",
    buckets=RECORDS,
)
LAG_RECORDS = _metric(
    Gauge,
    "headwater_lag_records",
    "Records behind the end of the partition",
    ("partition",),
    "records",
    "worker",
)

# the worker: how long it took ---------------------------------------------------------------------
STAGE_SECONDS = _metric(
    Histogram,
    "headwater_stage_seconds",
    "Time of a batch in a stage; step.<name> are stages inside the step",
    ("stage",),
    "seconds",
    "worker",
    "learner",
    buckets=SECONDS,
)
FRESHNESS_SECONDS = _metric(
    Histogram,
    "headwater_freshness_seconds",
    "From an event's receipt to its recommendation's emission",
    (),
    "seconds",
    "worker",
    buckets=SECONDS,
)
EVENT_AGE_SECONDS = _metric(
    Histogram,
    "headwater_event_age_seconds",
    "From an event's own time to its receipt",
    (),
    "seconds",
    "worker",
    buckets=AGES,
)

# the worker: its World ----------------------------------------------------------------------------
CATALOGUE_ITEMS = _metric(
    Gauge,
    "headwater_catalogue_items",
    "Items whole (record and vector) in this worker's World",
    (),
    "items",
    "worker",
)
CATALOGUE_PENDING = _metric(
    Gauge, "headwater_catalogue_pending", "Items read that still wait for their vector", (), "items", "worker"
)
INDEX_RECALL = _metric(
    Gauge,
    "headwater_index_recall",
    "The share of an item's or a taste's nearest hundred that a search finds, measured when the index was built",
    (),
    "ratio",
    "worker",
)
WORLD_AGE_SECONDS = _metric(
    Gauge, "headwater_world_age_seconds", "Since this worker last swapped its World", (), "seconds", "worker"
)
STATISTICS_SEQUENCE = _metric(
    Gauge,
    "headwater_statistics_sequence",
    "Sequence of the statistics release in use or last published",
    (),
    "sequence",
    "worker",
    "learner",
)
WORLD_INFO = _metric(
    Gauge,
    "headwater_world_info",
    "1 for the World in use; its names are the labels",
    ("release_id", "statistics_id", "catalogue_version"),
    "flag",
    "worker",
)

# the learner --------------------------------------------------------------------------------------
LEARNER_EVENTS = _metric(
    Counter, "headwater_learner_events_total", "Events folded into statistics", (), "events", "learner"
)
LEARNER_STALENESS_SECONDS = _metric(
    Gauge,
    "headwater_learner_staleness_seconds",
    "From the last event learnt to the release that holds it",
    (),
    "seconds",
    "learner",
)
LEARNER_RELEASES = _metric(
    Counter,
    "headwater_learner_releases_total",
    "Releases published, by lane",
    ("lane",),
    "releases",
    "learner",
)
LEARNER_ACTIVE = _metric(
    Gauge,
    "headwater_learner_active",
    "1 while this learner leads, 0 while it stands by",
    (),
    "flag",
    "learner",
)

LEARNER_MEMORY_ENDED = _metric(
    Counter,
    "headwater_learner_memory_ended_total",
    "Times that memory ended in a lane: it went on in smaller steps, on the CPU, or not at all, as the log says",
    ("lane",),
    "times",
    "learner",
)
STORAGE_REFUSALS = _metric(
    Counter,
    "headwater_storage_refusals_total",
    "Releases and checkpoints that the storage did not take, by why: full, away",
    ("why",),
    "files",
    "learner",
)

LEARNER_CHOICES = _metric(
    Counter, "headwater_learner_choices_total", "Choices that the ranker learnt from", (), "choices", "learner"
)
LEARNER_REFUSED = _metric(
    Counter,
    "headwater_learner_refused_total",
    "Choices and examples that were not learnt from, by reason",
    ("reason",),
    "records",
    "learner",
)
LEARNER_LOSS = _metric(
    Gauge, "headwater_learner_loss", "Cross-entropy of choices before they were learnt from", (), "nats", "learner"
)
LEARNER_NDCG = _metric(
    Gauge,
    "headwater_learner_ndcg",
    "NDCG@10 of choices before they were learnt from, by what serves",
    (),
    "0 to 1",
    "learner",
)
LEARNER_GATE = _metric(
    Counter, "headwater_learner_gate_total", "Candidates judged, by decision", ("decision",), "candidates", "learner"
)
LEARNER_CANARY_SHARE = _metric(
    Gauge,
    "headwater_learner_canary_share",
    "Share of users that a candidate is tried on; 0 while none is",
    (),
    "0 to 1",
    "learner",
)
LEARNER_CANARY_OUTCOMES = _metric(
    Gauge,
    "headwater_learner_canary_outcomes",
    "Recommendations settled in the trial that runs or ran last, of canary and others",
    ("users",),
    "recommendations",
    "learner",
)
LEARNER_CANARY_DIFFERENCE = _metric(
    Gauge,
    "headwater_learner_canary_difference",
    "Reward a recommendation of the canary's users less that of others, likewise",
    (),
    "-1 to 1",
    "learner",
)
LEARNER_SECONDS = _metric(
    Histogram,
    "headwater_learner_seconds",
    "Time of the model lanes, by part",
    ("part",),
    "seconds",
    "learner",
    buckets=SECONDS,
)
LEARNER_MODEL_STALENESS_SECONDS = _metric(
    Gauge,
    "headwater_learner_model_staleness_seconds",
    "From the last event read to the release of models that learnt from it",
    (),
    "seconds",
    "learner",
)

# the encoder --------------------------------------------------------------------------------------
ENCODER_ENCODED = _metric(
    Counter, "headwater_encoder_encoded_total", "Texts encoded", (), "texts", "encoder", "learner"
)
ENCODER_PENDING = _metric(
    Gauge,
    "headwater_encoder_pending",
    "Items that wait for their text to be encoded",
    (),
    "items",
    "encoder",
    "learner",
)
ENCODER_SECONDS = _metric(
    Histogram,
    "headwater_encoder_seconds",
    "Time of a batch in the encoder",
    (),
    "seconds",
    "encoder",
    "learner",
    buckets=SECONDS,
)

# the console --------------------------------------------------------------------------------------
ROLE_UP = _metric(
    Gauge,
    "headwater_role_up",
    "1 for a role that answered the console, 0 for one that did not",
    ("role", "instance"),
    "flag",
    "console",
)


def exposition(role: str | None = None) -> bytes:
    """The metrics of `role` in Prometheus' text format; all of the table when `role` is None."""
    if role is None:
        return generate_latest(REGISTRY)
    names = [name for row in TABLE if role in row.roles for name in _exposed(row)]
    return generate_latest(REGISTRY.restricted_registry([*names, *PROCESS_METRICS]))


def _exposed(row: Metric) -> tuple[str, ...]:
    if row.kind == "histogram":
        return tuple(row.name + end for end in ("_bucket", "_sum", "_count"))
    return (row.name,)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Times a stage of a batch into `headwater_stage_seconds{stage=name}`, whether it succeeds or not."""
    started = time.perf_counter()
    try:
        yield
    finally:
        STAGE_SECONDS.labels(name).observe(time.perf_counter() - started)


def world_info(names: dict[str, str]) -> None:
    """Shows one World, and only that one, in `headwater_world_info`.

    `names` as in a recommendation's `world`.
    """
    WORLD_INFO.clear()
    WORLD_INFO.labels(
        names.get("release_id", "none"),
        names.get("statistics_id", "none"),
        names.get("catalogue_version", "none"),
    ).set(1)
