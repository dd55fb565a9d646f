"""Page: the figures of a backtest as one HTML file that needs nothing else: no script, no network.

In: what report.json holds. Out: HTML. What the figures say is worked out here in words, so that someone who sees such a
report for the first time knows in a minute who won, by how much, and how sure that is.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from streams.backtest.charts import dots, interval, lines, nice_ceiling, stacked, timeline

SURE = 0.05
"""Corrected p below which a lead is called one."""
Policy = dict[str, Any]


def page(report: dict[str, Any]) -> str:
    """The HTML of a report."""
    by_name = {one["name"]: one for one in report["policies"]}
    ranked = sorted(report["policies"], key=lambda one: -(one["ndcg"]["mean"] or 0))
    star = "full" if "full" in by_name else ranked[0]["name"]
    # the star has the first colour, whatever its place; the others theirs in order of quality
    order = [star, *(one["name"] for one in ranked if one["name"] != star)]
    colours = {name: number for number, name in enumerate(order)}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(n=lambda value: f"{value:,}", score=_score, percent=_percent, p=_p)
    template = environment.from_string(files("streams.backtest").joinpath("report.html").read_text("utf-8"))
    most = nice_ceiling(max((one["ndcg"]["high"] or 0) for one in ranked))
    return template.render(
        report=report, log=report["log"], k=report["k"], ranked=ranked, colours=colours, star=star, by_name=by_name,
        verdict=verdict(report, ranked), leads=_leads(report, ranked[0]["name"]),
        bars={one["name"]: _bar(one, colours[one["name"]], most) for one in ranked},
        trail=_trail(report["log"]), over_time=_over_time(report, colours, star), slices=_slices(report, colours, star),
        losses=[_losses(name, found, by_name[name]["title"], report["k"]) for name, found in report["stages"].items()],
        learning=_LEARNING[report["log"]["learning"]],
    )  # fmt: skip


_LEARNING = {
    "all": "Everything goes on learning after the cut.",
    "statistics": "After the cut statistics go on being counted; models stand still.",
    "none": "Nothing is learnt after the cut.",
}


def verdict(report: dict[str, Any], ranked: list[Policy]) -> dict[str, str]:
    """The outcome in words: `headline`, `plainly`, `sure`."""
    best, k = ranked[0], report["k"]
    hits = 100 * (best["hr"]["mean"] or 0)
    headline = f"{best['title']} comes first"
    plainly = f"In {hits:.1f} of 100 cases what someone chose next was among the {k} items it would have shown"
    if len(ranked) < 2:
        return {
            "headline": f"{best['title']}: NDCG@{k} {_score(best['ndcg']['mean'])}",
            "plainly": f"{plainly}.",
            "sure": "",
        }
    second = ranked[1]
    mine, theirs = best["ndcg"]["mean"] or 0, second["ndcg"]["mean"] or 0
    if theirs > 0:
        headline += f", {100 * (mine / theirs - 1):.0f}% ahead of {second['title']}"
    plainly += f"; by {second['title']} in {100 * (second['hr']['mean'] or 0):.1f}."
    lead = next((d for d in report["differences"] if {d["better"], d["worse"]} == {best["name"], second["name"]}), None)
    sure = ""
    if lead is not None and lead["p"] < SURE:
        sure = f"That lead is not chance ({_p(lead['p'])}, corrected for the number of comparisons)."
    elif lead is not None:
        sure = f"That lead may be chance ({_p(lead['p'])}): on another stretch of this log the two could change places."
    return {"headline": headline, "plainly": plainly, "sure": sure}


def _leads(report: dict[str, Any], best: str) -> list[dict[str, Any]]:
    """The best policy against each other one."""
    return [
        {**one, "sure": one["p"] < SURE}
        for one in report["differences"]
        if best in (one["better"], one["worse"]) and one["better"] == best
    ]


def _bar(one: Policy, colour: int, most: float) -> str:
    found = one["ndcg"]
    return interval(colour, found["low"] or 0, found["mean"] or 0, found["high"] or 0, most)


def _trail(log: dict[str, Any]) -> str:
    index, events = log["cut"]["index"], log["events"]
    before = f"{index:,} events to train on"
    after = f"{events - index:,}"
    return timeline(min(0.96, index / events), before, after)


def _over_time(report: dict[str, Any], colours: dict[str, int], star: str) -> str:
    tenths = report["over_time"]
    series = {name: [tenth["policies"][name] or 0.0 for tenth in tenths] for name in colours}
    return lines(series, colours, [tenth["from"] for tenth in tenths], star)


def _slices(report: dict[str, Any], colours: dict[str, int], star: str) -> list[dict[str, Any]]:
    """Each slice with its dots and, for every policy, its figure."""
    found = report["slices"]
    most = nice_ceiling(max((_mean(one, name) for one in found for name in colours), default=0))
    out = []
    for one in found:
        means = {name: _mean(one, name) for name in colours}
        out.append(
            {
                **one,
                "means": means,
                "best": max(means, key=lambda n: means[n]) if any(means.values()) else None,
                "dots": dots(means, colours, most, star),
            }
        )
    return out


def _mean(part: dict[str, Any], name: str) -> float:
    return float(part["policies"][name]["ndcg"]["mean"] or 0)


def _losses(name: str, found: dict[str, Any], title: str, k: int) -> dict[str, Any]:
    """Where what was chosen got lost on its way into the list."""
    candidates, slate = found.get("candidates", 0.0), found.get("slate", 0.0)
    parts = [
        (f"shown among the {k}", slate, "hit"),
        (f"a candidate, ranked below the {k}", max(0.0, candidates - slate), "ranked-low"),
        ("no candidate", max(0.0, 1 - candidates), "lost"),
    ]
    retrievers = sorted(
        ((stage.removeprefix("by "), share) for stage, share in found.items() if stage.startswith("by ") and share > 0),
        key=lambda one: -one[1],
    )
    return {
        "title": title, "events": found["events"], "parts": parts, "bar": stacked(parts), "candidates": candidates,
        "retrievers": retrievers, "most": max((share for _, share in retrievers), default=1.0),
    }  # fmt: skip


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}%"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
