"""The report's page: whole in one file, and it says what the figures say."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from streams.backtest.charts import lines, nice_ceiling, stacked
from streams.backtest.page import page, verdict


class Tags(HTMLParser):
    """Which tags are open at the end, and every attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def report(backtest, log_records, item_records):
    items = item_records()
    items[0]["title"] = 'Salt & <b>"pepper"</b> https://example.org/x'
    return backtest(log_records(600), items, policies=("popular", "trending", "full"))


def test_the_page_needs_nothing_but_itself(report):
    html = page(report)
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    for tag, name, value in tags.attributes:
        assert tag not in ("script", "iframe", "img", "object")
        assert name not in ("src", "srcset", "onclick", "onload"), f"{tag} {name}"
        if name == "href":
            assert value.startswith("data:")
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert "default-src 'none'" in html


def test_titles_are_text_and_no_markup(report):
    html = page(report)
    assert "<b>&#34;pepper" not in html.replace("Salt &amp; &lt;b&gt;", "")
    assert '<b>"pepper"' not in html


def test_the_page_shows_each_policy_with_its_figures(report):
    html = page(report)
    for one in report["policies"]:
        assert one["title"] in html
        assert f"{one['ndcg']['mean']:.4f}" in html
    assert report["log"]["cut"]["event_id"] in html
    assert f"{report['log']['cut']['index']:,}" in html


def test_the_verdict_says_when_a_lead_may_be_chance(report):
    a, b = ({**report["policies"][n], "ndcg": {"mean": m, "low": 0, "high": 1}} for n, m in ((0, 0.2), (1, 0.1)))
    for p, word in ((0.2, "may be chance"), (0.0001, "is not chance")):
        lead = {"better": a["name"], "worse": b["name"], "mean": 0.1, "low": 0.0, "high": 0.2, "p": p}
        said = verdict({**report, "differences": [lead]}, [a, b])
        assert "100% ahead" in said["headline"]
        assert word in said["sure"]


def test_one_policy_that_never_hits_still_makes_a_page(backtest, item_records):
    events = [
        {"event_id": f"e{n}", "type": "interaction", "action": "click", "user_id": "u", "item_id": f"i{n}", "ts": n}
        for n in range(30)
    ]
    report = backtest(events, item_records(), policies=("covisitation",), k=1)
    assert report["policies"][0]["ndcg"]["mean"] == 0
    assert "NDCG@1 0.0000" in page(report)


def test_charts_are_whole_svg():
    chart = lines({"a": [0.0, 0.2], "b<": [0.1, 0.2]}, {"a": 0, "b<": 1}, ["mon", "tue"], "a")
    ElementTree.fromstring(str(chart))
    assert "b&lt;" in chart
    places = [float(y) for y in re.findall(r'class="label" x="[\d.]+" y="([\d.]+)"', str(chart))]
    assert abs(places[0] - places[1]) >= 14  # labels of equal values stand apart
    ElementTree.fromstring(str(stacked([("x", 0.7, "hit"), ("y", 0.3, "lost")])))


@pytest.mark.parametrize(("value", "ceiling"), [(0, 1), (0.031, 0.05), (0.2, 0.2), (0.21, 0.25), (7, 10), (1, 1)])
def test_scales_end_at_round_numbers(value, ceiling):
    assert nice_ceiling(value) == pytest.approx(ceiling)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium to look at the page with")
def test_a_browser_shows_it_without_a_complaint(report, tmp_path: Path):
    (tmp_path / "report.html").write_text(page(report), "utf-8")
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
         "--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000", f"--screenshot={tmp_path / 'shot.png'}",
         (tmp_path / "report.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    assert (tmp_path / "shot.png").stat().st_size > 20_000
