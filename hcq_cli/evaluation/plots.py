"""Pictures of measurements, by matplotlib where it is installed: recall against bytes, confidences, and bars."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcq_cli.errors import HcqError, needing
from hcq_cli.evaluation.calibration import Calibration
from hcq_cli.evaluation.retrieval import RecallPoint
from hcq_cli.files import atomic_path

PANELS = (("t2v", "text → video"), ("v2t", "video → text"))
RECALLS = (("R1", "R@1", "o"), ("R10", "R@10", "^"))
"""Field of `Metrics`, label, and marker of each curve."""


def require_matplotlib() -> Any:
    """Matplotlib's Figure.

    Its own class and not `pyplot`, which would look for a screen and keep every figure alive.

    Raises:
        NotFoundError: it is not installed.
    """
    with needing("matplotlib, which draws, is not installed", "plot"):
        from matplotlib.figure import Figure
    return Figure


def plot_recall(points: Sequence[RecallPoint], path: Path, title: str = "", notes: Sequence[str] = ()) -> None:
    """Draw recall at 1 and at 10 against bytes a video, both ways, and write the picture.

    Args:
        points: what to draw; those of the same name are joined by a line.
        path: its ending says the format (png, svg, pdf).
        notes: under it, a line each: what whoever is shown the picture alone should know.

    Raises:
        NotFoundError: matplotlib is not installed.
        HcqError: the format cannot be written, or the file not.
    """
    figure = require_matplotlib()(figsize=(10, 4.6), layout="constrained")
    for axes, (direction, heading) in zip(figure.subplots(1, 2, sharey=True), PANELS, strict=True):
        _draw_panel(axes, points, direction)
        axes.set_title(heading)
    figure.axes[0].set_ylabel("recall, %")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    if title:
        figure.suptitle(title)
    if notes:
        # A "$" would begin a formula. Three lines at most: a picture is no log.
        lines = [textwrap.shorten(note, 130, placeholder=" …").replace("$", r"\$") for note in notes[:3]]
        figure.supxlabel("\n".join(lines), fontsize="small", color="#a04020")
    _write(figure, path, dpi=150)


def _draw_panel(axes: Any, points: Sequence[RecallPoint], direction: str) -> None:
    for at, name in enumerate(dict.fromkeys(point.name for point in points)):
        own = sorted((point for point in points if point.name == name), key=lambda point: point.bytes_per_video)
        sizes = [point.bytes_per_video for point in own]
        for key, label, marker in RECALLS:
            values = [getattr(getattr(point.metrics, direction), key) for point in own]
            filled = f"C{at}" if key == "R1" else "none"
            axes.plot(sizes, values, marker=marker, color=f"C{at}", markerfacecolor=filled, label=f"{name}, {label}")
    sizes = sorted({point.bytes_per_video for point in points})
    # Codes take tens of bytes and floats thousands: on a linear axis all codes would lie in one spot.
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlim(sizes[0] / 1.6, sizes[-1] * 1.6)
    axes.set_ylim(0, 100)
    axes.set_xlabel("bytes a video")
    axes.grid(alpha=0.3)


def plot_calibration(found: Calibration, path: Path, title: str = "") -> None:
    """Draw how often something fits, and the first hit is right, against confidence; below, how many there are.

    Args:
        path: its ending says the format (png, svg, pdf).

    Raises:
        NotFoundError: matplotlib is not installed.
        HcqError: the format cannot be written, or the file not.
    """
    figure = require_matplotlib()(figsize=(6, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    held = [each for each in found.bins if each.questions]
    sure = [each.confidence for each in held]
    upper.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="as said")
    upper.plot(sure, [each.fits for each in held], marker="o", label="something fits")
    upper.plot(
        sure, [each.right for each in held], marker="^", markerfacecolor="none", label="the first hit is right"
    )
    upper.set(ylim=(0, 1), ylabel="share of questions", title=f"expected calibration error {found.ece:.3f}")
    upper.legend(frameon=False)
    upper.grid(alpha=0.3)
    width = found.bins[0].high - found.bins[0].low
    lower.bar([each.low for each in found.bins], [each.questions for each in found.bins], width * 0.95, align="edge")
    lower.set(xlim=(0, 1), xlabel="confidence of the first hit", ylabel="questions")
    if title:
        figure.suptitle(title)
    _write(figure, path, dpi=150)


def draw_bars(path: Path, title: str, unit: str, bars: Sequence[tuple[str, float]], line: tuple[str, float]) -> None:
    """Draw values as horizontal bars on a logarithmic scale, and one value as a line through them.

    Args:
        path: the picture; its suffix says what kind.
        title: above it.
        unit: of the values.
        bars: labels and values, all positive; the first is on top.
        line: label and value to compare with.

    Raises:
        NotFoundError: matplotlib is not installed.
        HcqError: the format cannot be written, or the file not.
    """
    figure = require_matplotlib()(figsize=(8, 1.2 + 0.4 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    # Matplotlib counts upwards, so the last bar given would be on top.
    labels, values = [label for label, _ in bars][::-1], [value for _, value in bars][::-1]
    axes.bar_label(axes.barh(labels, values, color="#4878a8"), fmt="%.2f", padding=3)
    axes.axvline(line[1], color="#c44e52", label=line[0])
    axes.set(xscale="log", xlabel=unit, title=title)
    axes.set_xlim(min(*values, line[1]) / 2, max(*values, line[1]) * 2)  # room for the labels at the bars' ends
    axes.legend()
    _write(figure, path)


def _write(figure: Any, path: Path, **options: Any) -> None:
    """Write a picture whole or not at all, in the format that its ending names."""
    ending = path.suffix.lstrip(".").lower()
    if ending not in figure.canvas.get_supported_filetypes():
        raise HcqError(f"{path}: pictures end in .png, .svg or .pdf", "--plot recall.png")
    try:
        with atomic_path(path) as temporary:
            # The temporary name has another ending, so the format must be said.
            figure.savefig(temporary, format=ending, **options)
    except OSError as error:
        raise HcqError(f"{path}: cannot be written ({error.strerror or error})", "choose another place") from error
