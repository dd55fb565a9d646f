"""`headwater demo`, from start to end: services and roles, the catalogue, shopping, the summary.

In: settings, how long, how many shoppers. Out: the exit status; figures on stdout, everything else on stderr.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from confluent_kafka import KafkaException
from redis.exceptions import RedisError
from rich.console import Console
from rich.live import Live
from rich.status import Status

from streams.demo import table
from streams.demo.catalogue import Item, load
from streams.demo.market import Market
from streams.demo.stage import Stage, StageError, stage
from streams.demo.traffic import Traffic
from streams.embedded.errors import ServiceError
from streams.kafka.clients import KafkaUnreachable
from streams.observe import logs
from streams.settings import Settings
from streams.supervisor import Stopped, stop_signals

SEED = 7
CATALOGUE_WITHIN_S = 120.0
SILENCE_S = 20.0  # without a recommendation while events are on their way
DRAIN_S = 3.0
PLAIN_EVERY_S = 5.0
FRAME_S = 0.25
HOPELESS = 3  # a role that died so often and is not there at the end has died for good
INTERRUPTED = 130


def run(settings: Settings, *, seconds: float, shoppers: int, keep: bool, as_json: bool, seed: int = SEED) -> int:
    """Runs the demo. Returns the exit status: 0, 1 where something failed, 130 if stopped while shopping."""
    console = Console(stderr=True)
    logs.configure("error", settings.log_format)  # the terminal belongs to the table; up.log holds the rest
    market: Market | None = None
    shopped = False
    try:
        with stop_signals(), Narrator(console) as narrator:
            items = load()
            market = Market(items, shoppers, seed)
            with stage(settings, narrator.say) as here:
                _load_catalogue(here, items, narrator.say)
                narrator.pause()
                figures = _shop(here, market, seconds, console)
                shopped = True
                _print(figures, as_json)
                trouble = _trouble(here, figures)
                if keep and not trouble:
                    _stay(here, figures, console)
            narrator.pause()  # a spinner catches what is printed
            print(table.last_line(figures), flush=True)
            if trouble:
                console.print(f"The demo failed: {trouble}", style="red", highlight=False, markup=False)
            return 1 if trouble else 0
    except Stopped:
        if shopped:
            print(table.last_line(figures), flush=True)
            return 0
        console.print("Stopped before the end.")
        return INTERRUPTED
    except (StageError, ServiceError, KafkaUnreachable, KafkaException, RedisError) as error:
        console.print(f"The demo failed: {error}", style="red", highlight=False, markup=False)
        return 1


class Narrator(AbstractContextManager["Narrator"]):
    """Says what the set-up is doing: a spinner on a terminal, otherwise each new step as a line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._said = ""

    def say(self, step: str) -> None:
        if step == self._said:
            return
        self._said = step
        if not self._console.is_terminal:
            self._console.print(step, highlight=False, markup=False, soft_wrap=True)
        elif self._status is None:
            self._status = self._console.status(step)
            self._status.start()
        else:
            self._status.update(step)

    def pause(self) -> None:
        """Leaves the terminal to someone else until the next word."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def __exit__(self, *_: object) -> None:
        self.pause()


def _load_catalogue(here: Stage, items: list[Item], say: Callable[[str], None]) -> None:
    """Sends the items and waits until every worker counts them."""
    from schemas.topics import TOPICS
    from schemas.wire import encode
    from streams.kafka.clients import producer
    from streams.records.send import Sender
    from streams.records.waiting import wait_for_items

    place = here.connection
    settings = place.settings(here.settings)
    sender = Sender(producer(settings), TOPICS["items"].full_name(place.namespace))
    for item in items:
        sender.send(item["item_id"].encode(), encode(item))
    tally = sender.finish()
    if tally.failed:
        raise StageError(f"{tally.failed} of {len(items)} items were not delivered: {tally.problem}")
    say(f"{len(items)} items sent; waiting until they count")
    try:
        wait_for_items(place, settings, CATALOGUE_WITHIN_S)
    except TimeoutError as error:
        raise StageError(f"{error}\n{here.said()}") from None


def _shop(here: Stage, market: Market, seconds: float, console: Console) -> dict[str, object]:
    """Lets the shoppers act for so long; returns the figures."""
    place = here.connection
    traffic = Traffic(market, place.settings(here.settings), place)
    began = time.monotonic()
    drawn = passed = 0.0
    silent = False
    watching = console.is_terminal
    screen: AbstractContextManager[Live | None] = (
        Live(console=console, auto_refresh=False, transient=True) if watching else nullcontext()
    )
    try:
        with screen as board:
            while (passed := time.monotonic() - began) < seconds:
                traffic.tick()
                if passed - drawn >= (FRAME_S if watching else PLAIN_EVERY_S):
                    drawn = passed
                    here.check()
                    if traffic.unanswered and time.monotonic() - traffic.last_answer > SILENCE_S:
                        silent = True
                        break
                    if board is not None:
                        board.update(table.live(market, traffic, passed, seconds), refresh=True)
                    else:
                        console.print(table.line(market, traffic, passed), highlight=False, soft_wrap=True)
            traffic.drain(DRAIN_S)
        if watching:
            console.print(table.live(market, traffic, passed, seconds))
    finally:
        traffic.close()
    return table.summary(market, traffic, passed) | {"silent": silent}


def _trouble(here: Stage, figures: dict[str, object]) -> str:
    """Why the run is not a success; empty if it is."""
    hopeless = sorted(name for name, deaths in here.deaths().items() if deaths >= HOPELESS)
    if hopeless:
        return f"{', '.join(hopeless)} kept dying.\n{here.said()}"
    if not figures["recommendations"]:
        return f"no recommendation came back for {figures['events']} events.\n{here.said()}"
    if figures["silent"]:
        return f"no recommendation came for {SILENCE_S:.0f} s.\n{here.said()}"
    return ""


def _print(figures: dict[str, object], as_json: bool) -> None:
    print(json.dumps(figures, ensure_ascii=False) if as_json else table.words(figures), flush=True)


def _stay(here: Stage, figures: dict[str, object], console: Console) -> None:
    """Says how to reach what runs, and waits until it is stopped."""
    line = here.line
    console.print(
        f"""Everything still runs:
  console    {line["console"]}
  Kafka      {line["kafka"]}   (namespace {line["namespace"]})
  Redis      {line["redis"]}
To use it from another terminal: export HEADWATER_DATA_DIR={here.settings.data_dir}
  headwater tail recommendations
  headwater chat --user me
Ctrl-C stops it.""",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    while True:
        here.check()
        time.sleep(0.5)
