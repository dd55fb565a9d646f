"""`headwater backtest`: policies side by side on a log that is over, event by event, with a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from streams.cli.records import FileFormat
from streams.cli.terminal import note, stop


def register(app: typer.Typer) -> None:
    app.command()(backtest)


def backtest(
    items: Annotated[
        list[str] | None,
        typer.Option(
            "--items", metavar="FILE",
            help="The catalogue: JSONL (.gz too), CSV, Parquet; may be repeated. Left out: what the events name.",
        ),
    ] = None,
    events: Annotated[
        list[str] | None,
        typer.Option("--events", metavar="FILE", help="The log, in any order; may be repeated."),
    ] = None,
    split: Annotated[float, typer.Option(help="Share of the events that is trained on.")] = 0.9,
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="Length of a list.")] = 10,
    policies: Annotated[
        str,
        typer.Option(
            metavar="P,Q,...",
            help="popular, trending, covisitation, ease, text, sasrec, gru4rec, full; or `all`.",
        ),
    ] = "popular,trending,covisitation,full",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the report goes.")] = Path("backtest"),
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", metavar="FILE",
            help="Write predicted lists, a JSON line an event: of `full` or else the last policy; of several also in "
            "FILE-<policy> too.",
        ),
    ] = None,
    refresh: Annotated[
        int, typer.Option(min=1, help="Events between two updates of what is learnt of all users.")
    ] = 64,
    freeze: Annotated[bool, typer.Option("--freeze", help="Learn nothing after the cut.")] = False,
    freeze_models: Annotated[
        bool, typer.Option("--freeze-models", help="After the cut only statistics go on being counted.")
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Most epochs of a sequence model.")] = 40,
    format: Annotated[FileFormat | None, typer.Option(help="What the files hold.")] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="On a log of simulated shoppers, made for the occasion.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over, whatever an interrupted run left in DIR.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:  # fmt: skip
    """Measure recommenders on a log: predict each event before it is fed, the whole catalogue ranked.

    Events are sorted by ts; those behind the split are predicted one by one. An interrupted run goes on where it was
    when the command is given again. DIR/report.html says what was found, DIR/report.json holds the same.

    Example: `headwater backtest --demo`, or `headwater backtest --items items.jsonl --events events.jsonl --out report`
    """
    from streams.cli.services import _settings
    from streams.threads import pin_threads

    settings = _settings()
    pin_threads(settings)
    import gc

    from recsys.backtest.protocol import Learning
    from streams.backtest.errors import BacktestError
    from streams.backtest.options import POLICIES, Options
    from streams.backtest.progress import watching
    from streams.backtest.run import run
    from streams.models import ModelMissing
    from streams.observe import logs
    from streams.records.files import Unreadable

    logs.configure("warning", settings.log_format)
    gc.set_threshold(50_000, 50, 100)  # as in a worker: a step makes many objects that die at once
    if freeze and freeze_models:
        stop("Give --freeze or --freeze-models, not both: the first holds statistics still as well.")
    if demo and (items or events):
        stop("--demo makes its own items and events: leave out --items and --events.")
    if not demo and not events:
        stop("Give --events (and --items), or --demo.")
    wanted = list(POLICIES) if policies == "all" else [one.strip() for one in policies.split(",") if one.strip()]
    learning = Learning.NONE if freeze else Learning.STATISTICS if freeze_models else Learning.ALL
    try:
        with watching() as watch:
            if demo:
                from streams.backtest.demo import demo_files

                items, events = demo_files(out, watch)
            options = Options(
                items or [], events or [], out, split, k, list(dict.fromkeys(wanted)), refresh, learning, predictions,
                None if format is None else format.value, epochs, fresh,
            )  # fmt: skip
            report = run(options, settings, watch)
    except (BacktestError, Unreadable, ModelMissing) as error:
        stop(str(error))
    except OSError as error:
        stop(f"{error.filename or 'a file'}: {error.strerror or error}")
    except KeyboardInterrupt:
        note("Stopped. Give the same command again to go on.")
        raise typer.Exit(130) from None
    _print(report, out, json)


def _print(report: dict[str, Any], out: Path, as_json: bool) -> None:
    if as_json:
        import orjson

        print(orjson.dumps(report).decode())
    else:
        from streams.backtest.table import show

        show(report)
    note(f"The report: {out / 'report.html'}")
