"""Charts of a report as inline SVG: drawn here, so that the page needs no script and no network.

In: plain figures. Out: SVG text. Colours are CSS variables of the page (`--p0` ... by policy), so that light, dark and
print each have their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

_LEFT, _RIGHT = 52, 150


def nice_ceiling(value: float) -> float:
    """The next round number: 1, 2, 2.5 or 5 times a power of ten; 1 for nothing at all."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def interval(colour: int, low: float, mean: float, high: float, most: float) -> Markup:
    """A bar from 0 to the mean with its interval as a whisker; the full width is `most`."""
    x = [100 * value / most for value in (low, mean, high)]
    return Markup(
        f'<svg class="interval" viewBox="0 0 100 14" preserveAspectRatio="none" role="img" '
        f'aria-label="{mean:.4f}, from {low:.4f} to {high:.4f}">'
        f"<title>{mean:.4f} (95% interval {low:.4f} to {high:.4f})</title>"
        f'<rect x="0" y="2" width="{x[1]:.2f}" height="10" rx="1" fill="var(--p{colour})" opacity=".85"/>'
        f'<path d="M{x[0]:.2f} 7H{x[2]:.2f}M{x[0]:.2f} 4V10M{x[2]:.2f} 4V10" class="whisker"/></svg>'
    )


def lines(series: Mapping[str, Sequence[float]], colours: Mapping[str, int], ticks: Sequence[str], bold: str) -> Markup:
    """Lines over equal steps, each named at its end; `ticks` name the steps below."""
    width, height, top, bottom = 900, 300, 14, 34
    highest = max((max(values) for values in series.values()), default=0)
    step = nice_ceiling(highest / 4)
    marks = max(1, math.ceil(highest / step - 1e-9))
    most = step * marks
    n = len(ticks)

    def x(at: int) -> float:
        return _LEFT + (width - _LEFT - _RIGHT) * (at / max(1, n - 1) if n > 1 else 0.5)

    def y(value: float) -> float:
        return top + (height - top - bottom) * (1 - value / most)

    out = [f'<svg class="chart" viewBox="0 0 {width} {height}" role="img">']
    for part in range(marks + 1):
        value = step * part
        out.append(
            f'<path class="grid" d="M{_LEFT} {y(value):.1f}H{width - _RIGHT}"/>'
            f'<text class="tick" x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    every = max(1, math.ceil(n / 5))
    out += [
        f'<text class="tick" x="{x(at):.1f}" y="{height - 10}" text-anchor="middle">{escape(ticks[at])}</text>'
        for at in range(0, n, every)
    ]
    ends = _apart({name: y(values[-1]) for name, values in series.items()}, 15, top + 4, height - bottom)
    for name in sorted(series, key=lambda one: one == bold):  # the bold one on top
        values, colour = series[name], f"var(--p{colours[name]})"
        path = " ".join(f"{'L' if at else 'M'}{x(at):.1f} {y(value):.1f}" for at, value in enumerate(values))
        wide = 3 if name == bold else 1.6
        out.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{wide}" stroke-linejoin="round"/>')
        for at, value in enumerate(values):
            out.append(
                f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="{wide + 0.6:.1f}" fill="{colour}">'
                f"<title>{escape(name)}, {escape(ticks[at])}: {value:.4f}</title></circle>"
            )
        weight = ' font-weight="650"' if name == bold else ""
        out.append(
            f'<text class="label" x="{width - _RIGHT + 12}" y="{ends[name] + 4:.1f}" fill="{colour}"{weight}>'
            f"{escape(name)} {values[-1]:.4f}</text>"
        )
    return Markup("".join(out) + "</svg>")


def dots(values: Mapping[str, float], colours: Mapping[str, int], most: float, bold: str) -> Markup:
    """One line of dots from 0 to `most`, one a policy."""
    out = ['<svg class="dots" viewBox="0 0 400 20" role="img"><path class="grid" d="M0 10H400"/>']
    for name in sorted(values, key=lambda one: one == bold):
        x = 5 + 390 * min(1.0, values[name] / most)
        size = 6.5 if name == bold else 5
        out.append(
            f'<circle cx="{x:.1f}" cy="10" r="{size}" fill="var(--p{colours[name]})">'
            f"<title>{escape(name)}: {values[name]:.4f}</title></circle>"
        )
    return Markup("".join(out) + "</svg>")


def stacked(parts: Sequence[tuple[str, float, str]]) -> Markup:
    """A bar of shares (name, share of 1, CSS class for its colours) with their percentages inside, where they fit."""
    out = ['<svg class="stacked" viewBox="0 0 900 44" role="img">']
    at = 0.0
    for name, share, kind in parts:
        wide = 900 * share
        out.append(
            f'<rect x="{at:.1f}" y="0" width="{max(0.0, wide - 2):.1f}" height="44" rx="4" class="{kind}">'
            f"<title>{escape(name)}: {share:.1%}</title></rect>"
        )
        if share > 0.06:
            out.append(
                f'<text class="in-{kind}" x="{at + wide / 2:.1f}" y="28" text-anchor="middle">{share:.0%}</text>'
            )
        at += wide
    return Markup("".join(out) + "</svg>")


def timeline(cut: float, before: str, after: str) -> Markup:
    """The log as a bar: what was trained on, the cut (a share of 1), what was predicted."""
    x = 900 * cut
    return Markup(
        '<svg class="timeline" viewBox="0 0 900 46" role="img">'
        f'<rect x="0" y="4" width="{x - 2:.1f}" height="38" rx="5" fill="var(--wash)"/>'
        f'<rect x="{x + 2:.1f}" y="4" width="{900 - x - 2:.1f}" height="38" rx="5" fill="var(--p0)" opacity=".85"/>'
        f'<path d="M{x:.1f} 0V46" stroke="var(--text)" stroke-width="2" stroke-dasharray="4 3"/>'
        f'<text class="label" x="{x - 12:.1f}" y="28" text-anchor="end" fill="var(--text)">{escape(before)}</text>'
        + (f'<text class="in-hit" x="{x + (900 - x) / 2:.1f}" y="28" text-anchor="middle">{escape(after)}</text>')
        + "</svg>"
    )


def _apart(places: Mapping[str, float], least: float, top: float, bottom: float) -> dict[str, float]:
    """Places for labels near where they should be, at least so far apart, within the chart."""
    order = sorted(places, key=lambda name: places[name])
    out: dict[str, float] = {}
    last = -math.inf
    for name in order:
        last = out[name] = max(places[name], last + least, top)
    over = last - bottom
    for name in reversed(order):
        if over <= 0:
            break
        out[name] -= over
        over = max(0.0, (out[order[order.index(name) - 1]] + least - out[name]) if order.index(name) else 0.0)
    return out
