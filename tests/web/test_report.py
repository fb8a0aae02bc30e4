"""The page of a report, and its curves."""

from __future__ import annotations

from pathlib import Path

from hcq_cli.api.reporting import Report
from hcq_cli.web.report import HEIGHT, WIDTH, curve_of, report_page


def test_a_curve_goes_from_edge_to_edge_and_skips_what_is_missing() -> None:
    curve = curve_of("loss", [4.0, None, 2.0, 3.0])
    assert curve is not None and (curve.low, curve.high, curve.last) == (2.0, 4.0, 3.0)
    assert curve.points == f"0.0,0.0 {WIDTH * 2 / 3:.1f},{HEIGHT}.0 {WIDTH}.0,{HEIGHT / 2}"
    assert curve_of("loss", [1.0]) is None and curve_of("flat", [1.0, 1.0]) is not None


def test_whatever_names_and_reasons_say_is_text() -> None:
    bad = '"><script>alert(1)</script>\x1b[2J\u202e\udcff'
    found = Report(Path("w"), videos=1, formats={bad: 1}, experts={bad: {"tokens": 1}}, failures={bad: [bad] * 200})
    page = report_page(found, [{"loss": 2.0}, {"loss": 1.0}, {"loss": "x"}], found.costs())
    page.encode()
    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page
    assert "<polyline" in page and page.count("<li>") == 101
