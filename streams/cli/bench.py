"""`headwater bench`: how fast this machine runs the house, each figure beside a baseline of the same run."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    app.command("bench")(bench)


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="state, ranking, latency, workers, replay, users, learn, gpu, encode; default: all.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes: shows that a benchmark works, not how fast.")
    ] = False,
) -> None:  # fmt: skip
    """Measure, each time beside a baseline: by turns, in rounds, with the ratio's median, least and most.

    Starts a Kafka and a Redis of its own on free ports over a temporary folder in HEADWATER_DATA_DIR; those that the
    settings name are not touched. All of it takes about a quarter of an hour; leave the machine alone meanwhile.

    Example: `headwater bench state ranking`, or `headwater bench --quick --json latency | jq .benchmarks[0].figures`
    """
    import logging

    from streams.cli.services import _settings
    from streams.threads import pin_threads

    settings = _settings()
    pin_threads(settings)
    from confluent_kafka import KafkaException
    from redis.exceptions import RedisError

    from streams.bench.errors import BenchFailed
    from streams.bench.run import BENCHMARKS, run
    from streams.bench.table import show, show_machine
    from streams.cli.terminal import console, note, stop
    from streams.embedded.errors import ServiceError
    from streams.models import ModelMissing
    from streams.observe import logs
    from streams.supervisor import Stopped, stop_signals

    wanted = list(dict.fromkeys(names or BENCHMARKS))
    if unknown := [name for name in wanted if name not in BENCHMARKS]:
        stop(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(BENCHMARKS)}.")
    logs.configure("warning", settings.log_format, role="bench")
    logging.getLogger("headwater.kafka").setLevel(logging.CRITICAL)
    out = console()

    def found(result: Any) -> None:
        if not as_json:
            show(out, result)

    with stop_signals():
        try:
            report = run(settings, wanted, quick=quick, say=note, show=found)
        except Stopped:
            note("stopped")
            raise typer.Exit(130) from None
        except (ServiceError, ModelMissing, BenchFailed, KafkaException, RedisError) as error:
            stop(str(error))
    if as_json:
        print(json.dumps(report))
    else:
        show_machine(out, report["machine"], quick)
