"""A bar chart in a file, by matplotlib where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.files import atomic_path


def draw_bars(
    path: Path, title: str, unit: str, bars: Sequence[tuple[str, float]], line: float, line_label: str
) -> None:
    """Draw values as horizontal bars on a logarithmic scale, and one value as a line through them.

    Args:
        path: the picture; its suffix says what kind.
        title: above it.
        unit: of the values.
        bars: labels and values, all positive; the first is on top.
        line, line_label: the value to compare with.

    Raises:
        NotFoundError: matplotlib is not installed.
        HcqError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NotFoundError("drawing needs matplotlib", "pip install 'hcq[plot]'") from error
    figure = Figure(figsize=(8, 1.2 + 0.4 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    labels, values = [label for label, _ in bars][::-1], [value for _, value in bars][::-1]
    axes.bar_label(axes.barh(labels, values, color="#4878a8"), fmt="%.2f", padding=3)
    axes.axvline(line, color="#c44e52", label=line_label)
    axes.set(xscale="log", xlabel=unit, title=title)
    axes.set_xlim(min(*values, line) / 2, max(*values, line) * 2)  # room for the labels at the bars' ends
    axes.legend()
    try:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:].lower())
    except OSError as error:
        raise HcqError(f"{path}: cannot be written ({error.strerror or error})", "choose another place") from error
