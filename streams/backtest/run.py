"""Run: a backtest from files to a report, which can be interrupted anywhere and goes on where it was.

    files -> sorted log -> train each policy -> block by block: predict, learn -> figures -> report.html, report.json

In: Options. Out: the figures, and files below `out`. What it needs on the way lies in `out/work`.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

import recsys
from recsys.backtest.items import ItemTable
from recsys.backtest.log import Log
from recsys.backtest.protocol import cut_at, successive
from schemas.items import Item
from streams.backtest.checkpoint import Checkpoints
from streams.backtest.encoder import encoder_of
from streams.backtest.errors import BacktestError
from streams.backtest.line_up import make
from streams.backtest.measure import Outcome, measure
from streams.backtest.options import POLICIES, Options
from streams.backtest.progress import Watch
from streams.backtest.reading import ItemRows, LogFiles, Summary
from streams.backtest.results import Results, predicted_places, prediction_lines
from streams.models import Models
from streams.records.files import Row, Unreadable, opened
from streams.settings import Settings

SAVE_S = 30.0
"""Least time between two checkpoints; longer where saving takes long."""
_SHARE = 0.05
VERSION = 2
"""Of the columns; other ones are made anew."""


def run(options: Options, settings: Settings, watch: Watch) -> dict[str, Any]:
    """Runs, and returns what report.json holds. Raises BacktestError, Unreadable, ModelMissing."""
    if unknown := [name for name in options.policies if name not in POLICIES]:
        raise BacktestError(f"There is no policy {', '.join(unknown)}. There are: {', '.join(POLICIES)}, or `all`.")
    if "-" in (*options.items, *options.events):
        raise BacktestError("A log from standard input could not be read again after an interruption: name files.")
    work = options.out / "work"
    if options.fresh:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    found = _items(options, settings, watch)
    files, summary = _log(options, settings, work, found, watch)
    items, models = _table(options, settings, files, found, watch)
    log = files.log()
    if not len(log):
        left_out = f" ({summary.rejected:,} rows were no events)" if summary.rejected else ""
        raise BacktestError(f"There are no events in {', '.join(options.events)}{left_out}: nothing to backtest.")
    try:
        cut = cut_at(len(log), options.split)
    except ValueError as error:
        raise BacktestError(str(error)) from None
    places = predicted_places(log, cut)
    if not len(places):
        raise BacktestError(
            f"After the cut (event {cut:,} of {len(log):,}) there is no `interaction`: nothing to predict. "
            "Give a smaller --split or more events."
        )
    outcome = _predicted(options, settings, work, log, items, models, cut, places, watch)
    report = measure(options, summary, log, items, files.users(), cut, places, outcome, watch)
    _write(options, log, items, places, outcome, report, watch)
    return report


# inputs ---------------------------------------------------------------------------------------------------------
def _items(options: Options, settings: Settings, watch: Watch) -> dict[str, Item]:
    """The catalogue by id, the last record of each; empty where none was given."""
    from collections import Counter

    from streams.replay.player import Tally
    from streams.replay.rows import Faults, items_of

    if not options.items:
        return {}
    tally = Tally(refused=Counter())
    faults = Faults(tally, watch.say)
    found = items_of(options.items, settings.max_record_bytes, faults, options.format, lambda source: None)
    faults.finish()
    if not found:
        raise BacktestError(f"There are no items in {', '.join(options.items)}. Leave out --items to take the events'.")
    return found


def _log(
    options: Options, settings: Settings, work: Path, items: dict[str, Item], watch: Watch
) -> tuple[LogFiles, Summary]:
    files = LogFiles(work / "log")
    made_of = orjson.loads(orjson.dumps(_inputs(options, settings)))
    known = files.known()
    if known is not None and known["made_of"] == made_of:
        return files, Summary(**known["summary"])
    shutil.rmtree(work)
    work.mkdir()
    rows = ItemRows({item_id: row for row, item_id in enumerate(items)}, growing=not items)
    summary = files.write(
        _rows(options, settings.max_record_bytes, watch), rows, settings.policy, settings.max_record_bytes, made_of
    )
    for line in summary.problems:
        watch.say(line)
    if summary.rejected > len(summary.problems):
        watch.say(f"... and {summary.rejected - len(summary.problems):,} more rows that are no events")
    if summary.out_of_order:
        watch.say(f"{summary.out_of_order:,} events stood before an earlier one: all are sorted by their ts.")
    if summary.repeats:
        watch.say(f"{summary.repeats:,} events repeat an event_id of their user: they are left out.")
    if summary.unknown_items:
        watch.say(f"{summary.unknown_items:,} interactions are with items that the catalogue lacks.")
    return files, summary


def _rows(options: Options, max_bytes: int, watch: Watch) -> Iterator[Row]:
    for path in options.events:
        with opened(path, options.format, max_bytes) as source:
            watch.task(f"reading {source.name}", source.size)
            last = ""
            try:
                for row in source.rows:
                    last = row.where
                    yield row
                    watch.at(source.position())
            except Unreadable as error:
                behind = f"; what can be read ends at {last}" if last else ""
                raise Unreadable(
                    f"{error}{behind}. The file is cut off or damaged: fetch it again, or unpack what is whole "
                    f"(`zcat {path} > whole.jsonl`) and give that."
                ) from None


def _table(
    options: Options, settings: Settings, files: LogFiles, found: dict[str, Item], watch: Watch
) -> tuple[ItemTable, Models]:
    items: list[Item] = list(found.values())
    if not options.items:
        items = [Item(item_id=one, title=one) for one in files.item_ids()]
    wanted = bool(options.items) and bool({"text", "full"} & set(options.policies))
    models = encoder_of(settings) if wanted else Models(None, 0, None, "cpu")
    vectors = None
    if models.encoder_id is not None:
        from streams.replay.stock import vectors_of

        def told(done: int, total: int) -> None:
            if done == 0:
                watch.task("encoding texts", total)
            watch.at(done)

        vectors = np.stack([vector for _, vector in vectors_of(settings, models, items, told)])
    return ItemTable(items, vectors), models


def _inputs(options: Options, settings: Settings) -> dict[str, Any]:
    """What the log is made of: other files or another reading of them make another log."""
    paths = [Path(path) for path in (*options.items, *options.events)]
    stats = [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns) if path.exists() else str(path) for path in paths
    ]
    return {
        "version": VERSION, "files": stats, "items": len(options.items), "format": options.format,
        "weights": settings.policy.model_dump(mode="json", include={"action_weights", "unknown_action_weight"}),
    }  # fmt: skip


def _code() -> str:
    """A digest of the core: what another version of it has trained or predicted is not taken up."""
    digest = hashlib.blake2b(digest_size=8)
    root = Path(recsys.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()


# the pass -------------------------------------------------------------------------------------------------------
def _predicted(
    options: Options, settings: Settings, work: Path, log: Log, items: ItemTable, models: Models, cut: int,
    places: np.ndarray[Any, np.dtype[np.int64]], watch: Watch,
) -> Outcome:  # fmt: skip
    made_of = [
        _inputs(options, settings), options.split, options.k, options.refresh, options.learning.value,
        settings.policy.model_dump_json(), models.encoder_id, options.epochs, _code(),
    ]  # fmt: skip
    shared = {"items": items, "encode": models.encode_query}
    checkpoints = Checkpoints(work, orjson.dumps(made_of), shared)
    clock = _Clock()
    policies = []
    for name in options.policies:
        held = checkpoints.load(f"trained-{name}")
        if held is None:
            policy = make(name, items, models.encode_query, options, settings)
            watch.task(f"training {name}", cut)
            clock.start()
            policy.train(replace(log, passed=watch.at).blocks(0, cut, 4096))
            clock(name, "train")
            held = (policy, clock.seconds[name, "train"])
            checkpoints.save(f"trained-{name}", held)
        policy, clock.seconds[name, "train"] = held
        policies.append(policy)
    results = {p.name: Results(work / "results" / p.name, len(places), options.k) for p in policies}

    start, done = cut, 0
    held = checkpoints.load("checkpoint")
    if held is not None and held[0] == [p.name for p in policies]:
        _, start, done, learning, clock.seconds = held
        policies = [learning.get(p.name, p) for p in policies]
        watch.say(f"An earlier run is taken up at event {start:,} of {len(log):,}.")
    watch.task(f"predicting by {len(policies)} policies", len(places), done)
    saved, every = time.monotonic(), SAVE_S
    clock.start()
    for block, found in successive(log, policies, start, options.k, options.refresh, options.learning, clock):
        for name, predicted in found.items():
            results[name].write(done, predicted)
        done += len(block.interactions)
        watch.at(done)
        if (now := time.monotonic()) - saved > every or block.at + len(block.events) == len(log):
            for one in results.values():
                one.flush()
            learning = {p.name: p for p in policies if not p.frozen}
            state = ([p.name for p in policies], block.at + len(block.events), done, learning, clock.seconds)
            checkpoints.save("checkpoint", state)
            saved = time.monotonic()
            every = max(SAVE_S, (saved - now) / _SHARE)
        clock.start()
    epochs = {p.name: int(p.epochs_trained) for p in policies if getattr(p, "epochs_trained", 0)}
    return Outcome(results, dict(clock.seconds), epochs)


class _Clock:
    """Adds up what each policy takes."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], float] = {}
        self._last = 0.0

    def start(self) -> None:
        self._last = time.perf_counter()

    def __call__(self, policy: str, done: str) -> None:
        now = time.perf_counter()
        self.seconds[policy, done] = self.seconds.get((policy, done), 0.0) + now - self._last
        self._last = now


# outputs --------------------------------------------------------------------------------------------------------
def _write(
    options: Options, log: Log, items: ItemTable, places: np.ndarray[Any, np.dtype[np.int64]], outcome: Outcome,
    report: dict[str, Any], watch: Watch,
) -> None:  # fmt: skip
    from streams.backtest.page import page

    if options.predictions is not None:
        several = len(outcome.results) > 1
        watch.task("writing predictions", len(places) * (len(outcome.results) + several))
        main = {options.predictions: main_policy(list(outcome.results))}
        each = {_of_policy(options.predictions, name): name for name in outcome.results} if several else {}
        for number, (path, name) in enumerate({**each, **main}.items()):
            path.parent.mkdir(parents=True, exist_ok=True)
            passed = _Offset(watch, number * len(places))
            _whole(path, prediction_lines(log, places, outcome.results[name].top, items.ids, passed))
    _whole(options.out / "report.json", [orjson.dumps(report, option=orjson.OPT_INDENT_2)])
    _whole(options.out / "report.html", [page(report).encode()])


@dataclass(frozen=True, slots=True)
class _Offset:
    """Shows one part of a task that has several."""

    watch: Watch
    before: int

    def __call__(self, at: int) -> None:
        self.watch.at(self.before + at)


def main_policy(names: Sequence[str]) -> str:
    """The policy that a backtest is about: the full system, or else the last one named."""
    return "full" if "full" in names else names[-1]


def _of_policy(path: Path, policy: str) -> Path:
    return path.with_name(f"{path.stem}-{policy}{path.suffix}")


def _whole(path: Path, pieces: Iterable[bytes]) -> None:
    """A file that is whole or not there."""
    partial = path.with_name(f"{path.name}.new")
    with partial.open("wb") as file:
        file.writelines(pieces)
    partial.rename(path)
