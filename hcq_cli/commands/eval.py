"""`hcq eval`: how well the codes retrieve; the dense vectors and post-compression beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hcq_cli as api
from hcq_cli.commands.shared import LOOKING, CheckpointOption, FeaturesOption, Session, TorchDeviceOption, command
from hcq_cli.console import Console

if TYPE_CHECKING:
    from hcq_cli.api.evaluation import Evaluation

EXAMPLES = [
    "hcq eval",
    "hcq eval --ckpt runs/a --split val --json",
    "hcq eval --compress pq,opq --bytes 32,64 --plot recall.png",
    "hcq eval --calibration sure.png",
    "hcq eval --html eval.html",
]
SPLITS = ("train", "val", "test", "all")

CaptionsFile = Annotated[
    Path | None, typer.Option("--captions", metavar="FILE", help="Default: those the checkpoint was trained on.")
]
Split = Annotated[
    str | None, typer.Option(metavar="|".join(SPLITS), help="Default: test, or all where nothing is marked test.")
]
Compress = Annotated[
    str | None,
    typer.Option(
        "--compress",
        metavar="lsh,itq,pq,opq,lsq",
        help="Compress the dense vectors afterwards by these methods, fitted on the training split, at equal bytes.",
    ),
]
Sizes = Annotated[
    str | None, typer.Option("--bytes", metavar="LIST", help="Bytes a video for --compress. Default: the model's.")
]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw recall against bytes a video.")]
CalibrationPlot = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="FILE",
        help="Draw how often something fits against the first hit's confidence, each caption asked with its video "
        "there and without.",
    ),
]
HtmlFile = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write a page: recall, each caption with its rank and what stood first; of more than 400 captions the "
        "worst, the best and some between.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add `hcq eval` to the command line."""
    command(app, "eval", panel=LOOKING, examples=EXAMPLES)(evaluate)


def evaluate(
    session: Session,
    ckpt: CheckpointOption = None,
    captions: CaptionsFile = None,
    features: FeaturesOption = None,
    split: Split = None,
    compress: Compress = None,
    sizes: Sizes = None,
    plot: Plot = None,
    calibration: CalibrationPlot = None,
    html: HtmlFile = None,
    device: TorchDeviceOption = "cpu",
) -> None:
    """Recall of every caption's video and of every video's captions, by table look-up over the uint8 codes.

    Beside it the dense vectors, and what other methods make of those at the same bytes.
    """
    done = api.evaluate(
        session.workspace,
        checkpoint=ckpt,
        captions=captions,
        features=features,
        split=split,
        compress=compress,
        sizes=sizes,
        plot=plot,
        calibration=calibration,
        html=html,
        device=device,
        progress=session.console,
    )
    session.console.result(_document(done, plot, html), lambda: _print(session.console, done))


def _document(done: Evaluation, plot: Path | None, html: Path | None) -> dict[str, Any]:
    measured = done.measured
    return {
        **measured.quantized.to_dict(),
        "dense": measured.dense.to_dict(),
        "bytes_per_video": measured.bytes_per_video,
        "dense_bytes_per_video": measured.dense_bytes_per_video,
        "videos": measured.videos,
        "texts": measured.texts,
        "split": done.split,
        "model": done.kind,
        "plot": str(plot) if plot is not None else None,
        "html": str(html) if html is not None else None,
        "compress": [row.to_dict() for row in done.compressed],
        **({"calibration": done.calibration.to_dict()} if done.calibration else {}),
        "warnings": done.warnings,
    }


def _print(console: Console, done: Evaluation) -> None:
    recalls = ("R@1", "R@5", "R@10", "MedR", "GM")
    columns = ("vectors", "bytes", *(f"t→v {recalls[0]}", *recalls[1:]), *(f"v→t {recalls[0]}", *recalls[1:]))
    lines = []
    for row in done.points:
        figures = [
            round(value, 1)
            for way in (row.metrics.t2v, row.metrics.v2t)
            for value in (way.R1, way.R5, way.R10, way.MedR, way.GM)
        ]
        lines.append((row.name, row.bytes_per_video, *figures))
    console.table(columns, lines, done.title)
    if done.calibration is not None:
        title = f"confidence: expected calibration error {done.calibration.ece:.3f}"
        bins = [each for each in done.calibration.bins if each.questions]
        shares = [[f"{share:.2f}" for share in (each.confidence, each.fits, each.right)] for each in bins]
        rows = [(each.questions, *share) for each, share in zip(bins, shares, strict=True)]
        console.table(("questions", "confidence", "something fits", "first hit right"), rows, title)
