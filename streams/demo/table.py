"""The demo on the terminal: a live table where someone watches, a plain line every few seconds elsewhere.

In: the market and its traffic. Out: Rich renderables, a line, and at the end the summary as words or a dict.
"""

from __future__ import annotations

import math
import time
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streams.demo.learning import LANES, Loop
from streams.demo.market import Exchange, Market, Shown
from streams.demo.measure import WARM_UP
from streams.demo.traffic import Traffic

BAR = 24  # columns of a full bar
_LANE_WORDS = {"statistics": "counts", "ranker": "ranker", "sequence": "sequence model"}


def live(market: Market, traffic: Traffic, passed: float, seconds: float) -> RenderableType:
    """The table at one moment; `passed` of `seconds` of shopping are over."""
    events, answers = traffic.rates()
    p50, p99 = traffic.times.whole()
    _, p99_now = traffic.times.now(time.monotonic())
    flow = Table.grid(padding=(0, 3))
    flow.add_row("in", f"[bold]{traffic.events:,}[/] events", f"[bold]{events:.0f}[/]/s")
    flow.add_row("out", f"[bold]{traffic.recommendations:,}[/] recommendations", f"[bold]{answers:.0f}[/]/s")
    flow.add_row("event to recommendation", f"p50 [bold]{_ms(p50)}[/]   p99 [bold]{_ms(p99)}[/]", f"now {_ms(p99_now)}")
    flow.add_row(
        "shoppers", f"{market.present} of {len(market.shoppers)} in the shop", f"{market.tally.shifts} changed taste"
    )
    parts: list[RenderableType] = [flow, _lanes(traffic.loop), _hits(market)]
    if market.shown:
        parts += [Text(), _ranking(market.shown[-1])]
    chats = [said[-1] for said in market.exchanges.values() if said]
    parts += [Text()] * bool(chats) + [_exchange(chat) for chat in chats]
    title = f"Headwater: {len(market.features.item_ids)} items, {passed:.0f} of {seconds:.0f} s"
    return Panel(Group(*parts), title=title, box=box.ROUNDED, padding=(0, 1))


def _lanes(loop: Loop) -> RenderableType:
    """What recommendations have learnt from: a line a lane, its release and its staleness."""
    lanes = Table.grid(padding=(0, 3))
    lanes.add_row("\nlearnt", "[dim]\nrelease[/]", "[dim]\nstaleness[/]", "[dim]\nreleases so far[/]")
    for lane in LANES:
        age = loop.staleness(lane)
        release = loop.in_use.get(lane, "-")
        old = "-" if age is None else f"[bold]{age:.1f} s[/]"
        lanes.add_row(f"  {_LANE_WORDS[lane]}", release, old, f"{loop.swaps[lane]}")
    return lanes


def _hits(market: Market) -> RenderableType:
    score = market.tally.all
    if not score.trials:
        return Text(f"\nhit rate: counted once the shoppers have clicked {WARM_UP} times", style="dim")
    ours, popular = score.rates()
    bars = Table.grid(padding=(0, 2))
    bars.add_row("\nhit rate of the top 10", "", f"\n[dim]{score.trials:,} rankings looked at, both lists[/]")
    bars.add_row("  Headwater", f"[bold green]{ours:.1%}[/]", f"[green]{_bar(ours)}[/]")
    bars.add_row("  most popular", f"[bold]{popular:.1%}[/]", f"[yellow]{_bar(popular)}[/]")
    return bars


def _bar(share: float) -> str:
    return "━" * max(1, round(BAR * share))


def _ranking(shown: Shown) -> RenderableType:
    lines = [Text(f"for {shown.user_id}, after a {_deed(shown.after)}", style="bold")]
    for place, (title, reason) in enumerate(shown.lines[:2], 1):
        clicked = title in shown.clicked
        lines.append(Text(f" {place}  {title}{'   clicked' if clicked else ''}", style="green" if clicked else ""))
        lines.append(Text(f"    {reason}", style="dim"))
    return _cropped(lines)


def _cropped(lines: list[Text]) -> RenderableType:
    """One line each, whatever the width."""
    for text in lines:
        text.no_wrap, text.overflow = True, "ellipsis"
    return Group(*lines)


def _deed(kind: str) -> str:
    return {"interaction": "click or view", "request": "search"}.get(kind, kind)


def _exchange(exchange: Exchange) -> RenderableType:
    lines = [
        Text.assemble((f"{exchange.user_id}  ", "bold"), (f"“{exchange.said}”", "cyan")),
        Text(f"   {exchange.reply or '(no reply)'}"),
        *(Text(f"   · {title}", style="dim") for title in exchange.titles[:1]),
    ]
    return _cropped(lines)


def line(market: Market, traffic: Traffic, passed: float) -> str:
    """The same in one line, for logs."""
    events, answers = traffic.rates()
    p50, p99 = traffic.times.whole()
    ours, popular = market.tally.all.rates()
    return (
        f"{passed:4.0f} s  {traffic.events:,} events ({events:.0f}/s)  {traffic.recommendations:,} recommendations "
        f"({answers:.0f}/s)  p50 {_ms(p50)}  p99 {_ms(p99)}  hit rate {ours:.1%} (popular {popular:.1%})  "
        f"learnt: {traffic.loop.line()}"
    )


def summary(market: Market, traffic: Traffic, seconds: float) -> dict[str, Any]:
    """All figures of a run as plain data. Times in ms, hit rates from 0 to 1, null where nothing was counted."""
    tally = market.tally
    p50, p99 = traffic.times.whole()
    return {
        "events": traffic.events,
        "recommendations": traffic.recommendations,
        "seconds": round(seconds, 1),
        "events_per_second": round(traffic.events / max(seconds, 1e-9), 1),
        "recommendations_per_second": round(traffic.recommendations / max(seconds, 1e-9), 1),
        "event_to_recommendation_ms": {"p50": _figure(p50), "p99": _figure(p99)},
        "unanswered": traffic.unanswered,
        "undelivered": traffic.undelivered,
        "hit_rate": {
            name: {
                "rankings": score.trials,
                "headwater": round(score.rates()[0], 4) if score.trials else None,
                "popularity": round(score.rates()[1], 4) if score.trials else None,
            }
            for name, score in (("all", tally.all), ("without_a_wish", tally.unprompted))
        },
        "learning": traffic.loop.figures(),
        "conditions_said": {"items_offered": tally.offers, "items_that_keep_them": tally.offers_kept},
        "items": len(market.features.item_ids),
        "shoppers": len(market.shoppers),
        "taste_changes": tally.shifts,
        "visits": tally.arrivals,
        "impatient": tally.impatient,
        "events_by_kind": dict(sorted(tally.events.items())),
        "chats": [
            {"user_id": one.user_id, "language": language, "said": one.said, "reply": one.reply, "items": one.titles}
            for language in ("en", "zh")
            for one in market.exchanges[language]
        ],
    }


def words(figures: dict[str, Any]) -> str:
    """The summary for people; all lines but the last one of the demo."""
    hits, times = figures["hit_rate"], figures["event_to_recommendation_ms"]
    lines = [
        f"{figures['seconds']} s of shopping, {figures['shoppers']} shoppers, {figures['items']} items, "
        f"{figures['taste_changes']} changes of taste",
        f"  {figures['events_per_second']:.0f} events/s in, {figures['recommendations_per_second']:.0f} "
        "recommendations/s out",
        f"  event to recommendation: p50 {_ms(times['p50'])}, p99 {_ms(times['p99'])}",
    ]
    for name, said in (("all", "hit rate of the top 10"), ("without_a_wish", "of these, with no wish in force")):
        hit = hits[name]
        if hit["rankings"]:
            lines.append(
                f"  {said}: {hit['headwater']:.1%}, most popular {hit['popularity']:.1%} "
                f"(the same shoppers and moments, {hit['rankings']:,} rankings)"
            )
    for lane, learnt in figures["learning"].items():
        if learnt["releases_served"]:
            lines.append(
                f"  {_LANE_WORDS[lane]}: {learnt['releases_served']} releases served, the last events they had learnt "
                f"from {learnt['staleness_s']} s old"
            )
    said = figures["conditions_said"]
    if said["items_offered"]:
        share = said["items_that_keep_them"] / said["items_offered"]
        lines.append(f"  items offered after a wish that keep its conditions: {share:.1%} of {said['items_offered']:,}")
    for chat in {chat["language"]: chat for chat in figures["chats"]}.values():  # the last of each language
        lines += [f"  “{chat['said']}”", f"      {chat['reply'] or '(no reply)'}"]
        lines += [f"      · {title}" for title in chat["items"][:2]]
    return "\n".join(lines)


def last_line(figures: dict[str, Any]) -> str:
    return f"{figures['events']} events in, {figures['recommendations']} recommendations out"


def _ms(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.0f} ms"


def _figure(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)
