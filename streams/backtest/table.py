"""The figures of a backtest as a table on the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from streams.cli.terminal import console


def show(report: dict[str, Any]) -> None:
    """Prints the cut, a line a policy, and how sure the best one's lead is."""
    out = console()
    log, k = report["log"], report["k"]
    cut = log["cut"]
    out.print(
        f"{log['events']:,} events of {log['users']:,} users on {log['items']:,} items; cut at event {cut['index']:,} "
        f"({cut['time']}, {cut['event_id']}); {log['measured']:,} events measured, {log['on_seen_items']:,} on items "
        "seen before"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("policy", f"NDCG@{k}", "95%", f"HR@{k}", f"MRR@{k}", "coverage", "ms/event"):
        table.add_column(name, justify="left" if name == "policy" else "right", no_wrap=True)
    best = max(report["policies"], key=lambda one: one["ndcg"]["mean"] or 0)
    for one in report["policies"]:
        row = [
            one["name"], f"{one['ndcg']['mean']:.4f}", f"{one['ndcg']['low']:.4f}-{one['ndcg']['high']:.4f}",
            f"{one['hr']['mean']:.4f}", f"{one['mrr']['mean']:.4f}", f"{one['coverage']:.1%}",
            f"{one['ms_per_event']:.2f}",
        ]  # fmt: skip
        table.add_row(*row, style="bold" if one is best else None)
    out.print(table)
    for one in report["differences"]:
        if one["better"] == best["name"]:
            out.print(
                f"{one['better']} - {one['worse']}: {one['mean']:+.4f} ({one['low']:+.4f} to {one['high']:+.4f}), "
                f"p = {one['p']:.4f}"
            )
