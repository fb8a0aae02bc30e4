"""A workspace's report -> one page: `hcq report`. Curves are drawn as SVG, in the page itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hcq_cli.printable import printable, size_text
from hcq_cli.web.cards import STATIC, templates

if TYPE_CHECKING:
    from hcq_cli.evaluation.retrieval import RecallPoint

WIDTH, HEIGHT = 640, 200
MOST_POINTS = 500


@dataclass(frozen=True)
class Curve:
    """Values over epochs, drawn.

    Args:
        name: what they are.
        points: of an SVG polyline in a box of `WIDTH` by `HEIGHT`.
        low, high: the values at its lower and upper edge.
        last: the newest value.
    """

    name: str
    points: str
    low: float
    high: float
    last: float


@dataclass(frozen=True)
class Table:
    """What the template's macro `table` draws.

    Args:
        heads: of its columns.
        rows: a text for each column; printable.
    """

    heads: list[str]
    rows: list[list[str]]


def report_page(found: Any, epochs: Sequence[dict[str, Any]], costs: Sequence[dict[str, float]]) -> str:
    """The page of a report.

    Args:
        found: the `hcq_cli.api.reporting.Report`.
        epochs: of the training.
        costs: of larger collections.
    """
    curves = [
        curve
        for name, path in (("loss", ["loss"]), ("R@1, text to video, %", ["validation", "t2v", "R1"]))
        if (curve := curve_of(name, [_value(epoch, path) for epoch in epochs])) is not None
    ]
    page = templates().get_template("report.html")
    style = (STATIC / "style.css").read_text("utf-8")
    recall = recall_table(found.evaluated.points) if found.evaluated is not None else None
    return page.render(
        report=found,
        formats=[[printable(name), f"{count:,}"] for name, count in found.formats.items()],
        experts=_experts(found.experts),
        recall=recall,
        costs=[_cost(each) for each in costs],
        curves=curves,
        width=WIDTH,
        height=HEIGHT,
        style=style,
        printable=printable,
    )


def recall_table(points: Sequence[RecallPoint]) -> Table:
    """Recall against bytes, in percent."""
    heads = ["vectors", "bytes a video", "median rank", *[f"text to video R@{k}" for k in (1, 5, 10)]]
    rows = []
    for point in points:
        there, back = point.metrics.t2v, point.metrics.v2t
        measured = (there.MedR, there.R1, there.R5, there.R10, back.R1, back.R10)
        rows.append([printable(point.name), f"{point.bytes_per_video:,}", *[f"{value:.1f}" for value in measured]])
    return Table([*heads, *[f"video to text R@{k}" for k in (1, 10)]], rows)


def _experts(counts: dict[str, dict[str, int]]) -> Table:
    """How many videos each expert found something in, and why nothing in the others."""
    states = list(next(iter(counts.values()), {}))
    rows = [[printable(name), *[f"{found[state]:,}" for state in states]] for name, found in counts.items()]
    return Table(["expert", *[str(state).replace("_", " ") for state in states]], rows)


def _cost(of: dict[str, float]) -> list[str]:
    """A row on what a larger collection takes."""
    scan_s = of["scan_s"]
    scan = f"{1000 * scan_s:.3g} ms" if scan_s < 1 else f"{scan_s:.3g} s"
    return [f"{of['videos']:,}", size_text(of["feature_bytes"]), size_text(of["code_bytes"]), scan]


def curve_of(
    name: str, values: Sequence[float | None], low: float | None = None, high: float | None = None
) -> Curve | None:
    """The curve through values, some of which may be missing; None where there are fewer than two.

    Args:
        name: what they are.
        values: from left to right.
        low, high: at the lower and upper edge; default: the least and the greatest of them.
    """
    known = [(at, value) for at, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return None
    known = known[:: -(-len(known) // MOST_POINTS)]
    low = min(value for _, value in known) if low is None else low
    high = max(value for _, value in known) if high is None else high
    across, up = known[-1][0] - known[0][0] or 1, high - low or 1.0
    points = " ".join(
        f"{(at - known[0][0]) / across * WIDTH:.1f},{(high - value) / up * HEIGHT:.1f}" for at, value in known
    )
    return Curve(name, points, low, high, known[-1][1])


def _value(epoch: dict[str, Any], path: Sequence[str]) -> float | None:
    found: Any = epoch
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return float(found) if isinstance(found, int | float) and abs(found) < 1e30 else None
