"""The evaluation as rows that stand side by side, and as a picture: recall against bytes a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcq_cli.errors import HcqError, NotFoundError
from hcq_cli.evaluation.compression import Compressed
from hcq_cli.evaluation.retrieval import Both, Retrieval
from hcq_cli.files import atomic_path

PANELS = (("t2v", "text → video"), ("v2t", "video → text"))
RECALLS = (("R1", "R@1", "o"), ("R10", "R@10", "^"))


@dataclass(frozen=True)
class Row:
    """One way of storing the videos, and how well it retrieves.

    Args:
        name: "codes", "dense", or a post-compression method.
        bytes_per_video: it takes.
        metrics: both ways.
    """

    name: str
    bytes_per_video: int
    metrics: Both


def rows(measured: Retrieval, compressed: Sequence[Compressed] = ()) -> list[Row]:
    """The model's codes, its dense vectors, and what post-compression makes of those; HCT has no codes."""
    found = [Row("dense", measured.dense_bytes_per_video, measured.dense)]
    if measured.bytes_per_video != measured.dense_bytes_per_video:
        found.insert(0, Row("codes", measured.bytes_per_video, measured.quantized))
    return [*found, *(Row(f"dense + {c.method}", c.bytes_per_video, c.metrics) for c in compressed)]


def need_matplotlib() -> Any:
    """Matplotlib's Figure, which draws without a screen.

    Raises:
        NotFoundError: it is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NotFoundError("matplotlib, which draws, is not installed", 'pip install "hcq[plot]"') from None
    return Figure


def plot(table: Sequence[Row], path: Path, title: str = "") -> None:
    """Draw recall at 1 and at 10 against bytes a video, both ways, and write the picture.

    Args:
        table: what to draw; rows of the same name are joined by a line.
        path: its ending says the format (png, svg, pdf).
        title: over the picture.

    Raises:
        NotFoundError: matplotlib is not installed.
        HcqError: no picture of that format can be written.
    """
    figure = need_matplotlib()(figsize=(10, 4.6), layout="constrained")
    for axes, (way, heading) in zip(figure.subplots(1, 2, sharey=True), PANELS, strict=True):
        _panel(axes, table, way)
        axes.set_title(heading)
    figure.axes[0].set_ylabel("recall, %")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    if title:
        figure.suptitle(title)
    known = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in known:
        raise HcqError(f"{path}: pictures end in .png, .svg or .pdf", "--plot recall.png")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix.lstrip(".").lower())


def _panel(axes: Any, table: Sequence[Row], way: str) -> None:
    names = list(dict.fromkeys(row.name for row in table))
    for at, name in enumerate(names):
        own = sorted((row for row in table if row.name == name), key=lambda row: row.bytes_per_video)
        sizes = [row.bytes_per_video for row in own]
        for key, label, marker in RECALLS:
            values = [getattr(getattr(row.metrics, way), key) for row in own]
            filled = f"C{at}" if key == "R1" else "none"
            axes.plot(sizes, values, marker=marker, color=f"C{at}", markerfacecolor=filled, label=f"{name}, {label}")
    sizes = sorted({row.bytes_per_video for row in table})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlim(sizes[0] / 1.6, sizes[-1] * 1.6)
    axes.set_ylim(0, 100)
    axes.set_xlabel("bytes a video")
    axes.grid(alpha=0.3)
